"""Files that were handed over open, opened once more: each reader has a read position of its own.

In its sandbox a process can't open a file again that it was handed; its host does that. The first reader has what was
handed over, whose position is nobody else's.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block before it's refused
_lock = threading.Lock()
_unread: set[int] = set()
_ask: Callable[[int], int] | None = None  # the host


def hand_over(numbers: Iterable[int], ask: Callable[[int], int]) -> None:
    """Descriptors of the call that begins; ``ask`` has one of them opened again, or raises OSError."""
    global _ask
    with _lock:
        _unread.clear()
        _unread.update(numbers)
        _ask = ask


def reopen(number: int) -> int:
    """A descriptor of the same file that shares its position with no other reader. Raises OSError."""
    with _lock:
        ask, first = _ask, number in _unread
        _unread.discard(number)
    if first:
        duplicate = os.dup(number)
        with contextlib.suppress(OSError):  # what can't be seeked is refused by whoever reads it
            os.lseek(duplicate, 0, os.SEEK_SET)
        return duplicate
    try:
        return os.open(f"/proc/self/fd/{number}", OPEN_FLAGS)
    except OSError:
        if ask is None:
            raise
        return ask(number)
