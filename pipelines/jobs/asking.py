"""Asking what may not answer: a store, or a share that hangs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cluster.errors import StorageError

T = TypeVar("T")
_AT_ONCE = 8


class Asking:
    """Threads of their own, which what doesn't answer holds, and nothing that has no use for it."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=name)

    async def ask(self, look: Callable[[], T], told: str, limit_s: float) -> T:
        """What ``look`` gives or raises.

        Raises:
            StorageError: ``storage_unavailable``: it gives nothing for so long. ``told`` says who didn't answer.
        """
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except TimeoutError as error:
            message = f"{told} didn't answer within {limit_s:.0f} s. Try again later."
            raise StorageError("storage_unavailable", message) from error
