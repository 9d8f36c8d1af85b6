"""What is kept in a folder and can be made again: the least used goes where all takes too much room."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_FULL = 0.9  # of the limit, after room was made: it isn't made for each entry anew
_LOOK = 0.05  # of the limit: as much is kept between two looks at all that is there


class Entry(NamedTuple):
    """What is kept under a name; in order of its last use."""

    used_s: float
    size_bytes: int
    path: Path


class Bound:
    """How much entries may take, whoever keeps them: any number of processes may bound the same ones."""

    def __init__(
        self, limit_bytes: int, entries: Callable[[], Iterable[Entry]], remove: Callable[[Path], None]
    ) -> None:
        self._limit_bytes = limit_bytes
        self._entries, self._remove = entries, remove
        self._unseen_bytes = limit_bytes  # what this process kept since it looked: at first, who knows
        self._lock = threading.Lock()

    def note(self, size_bytes: int) -> None:
        """So much was kept."""
        with self._lock:
            self._unseen_bytes += size_bytes

    def make_room(self, *, besides: Path | None = None, short_bytes: int = 0) -> None:
        """Remove the least used but ``besides`` where all takes more than it may, or the disk is short of bytes.

        Looks only now and then, where the disk isn't.
        """
        with self._lock:
            if short_bytes <= 0 and self._unseen_bytes < self._limit_bytes * _LOOK:
                return
            self._unseen_bytes = 0
        entries = sorted(self._entries())
        held_bytes = sum(each.size_bytes for each in entries)
        wanted_bytes = held_bytes - max(0, short_bytes)
        if held_bytes > self._limit_bytes:
            wanted_bytes = min(wanted_bytes, int(self._limit_bytes * _FULL))
        for each in entries:
            if held_bytes <= wanted_bytes:
                break
            if each.path != besides:
                self._remove(each.path)
                held_bytes -= each.size_bytes
