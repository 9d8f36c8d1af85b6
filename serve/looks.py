"""Looks that may block: each on a thread, and one of a name at a time, so that what hangs costs one thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_THREADS = 16  # more than there are names


class Looks:
    """Of one replica."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "look")
        self._going: dict[str, Future[Any]] = {}

    async def look(self, name: str, limit_s: float, look: Callable[[], T]) -> T:
        """What ``look`` finds; where one of that name is still going, what that one finds. Raises TimeoutError."""
        going = self._going.get(name)
        if going is None or going.done():
            going = self._going[name] = self._pool.submit(look)
        found: T = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(going)), limit_s)
        return found
