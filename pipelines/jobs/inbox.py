"""What happens, dealt with one thing at a time; and what goes on beside it, which may put more there."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Work = Coroutine[Any, Any, None]

_AT_ONCE = 100  # that are dealt with before what follows from them


class Inbox:
    """For one event loop. Work that is put here needs no lock: nothing else of it runs meanwhile."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Work] = asyncio.Queue()
        self._beside: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How much waits."""
        return self._waiting.qsize()

    def put(self, work: Work) -> None:
        self._waiting.put_nowait(work)

    def spawn(self, work: Work) -> None:
        """Start work that goes on beside. What it raises is raised where things are dealt with.

        One who leads and is deaf is worse than none.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._is_over)

    async def deal_with(self, do: Callable[[Work], Awaitable[None]], then: Callable[[], Work]) -> None:
        """Have ``do`` deal with all in turn, and with ``then`` after some of it; until something is raised."""
        while True:
            await do(await self._waiting.get())
            for _ in range(min(self._waiting.qsize(), _AT_ONCE)):
                await do(self._waiting.get_nowait())
            await do(then())

    def close(self) -> None:
        """Stop what goes on beside, and drop what waits."""
        self._closed = True
        for task in self._beside:
            task.cancel()
        while not self._waiting.empty():
            self._waiting.get_nowait().close()

    def _is_over(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._closed:
            self.put(_raising(error))


async def _raising(error: BaseException) -> None:
    raise error
