"""Read a file whose bytes aren't all there yet: the host brings what is asked for over a socket.

A wish is two 8-byte numbers, where a part begins and where it ends; the answer is what is there now, or twice 0 where
it can't be had.
"""

import errno
import io
import os
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_RANGE = struct.Struct(">QQ")
_turns: dict[int, threading.Lock] = {}  # by socket


class RangeReader(io.RawIOBase):
    """A seekable file: of the one behind ``number``, what is read is brought first. OSError where it can't be had."""

    name = "fd:"  # as libav calls a descriptor: nothing is told by an extension

    def __init__(self, number: int, ranges: int) -> None:
        self._number, self._ranges = number, ranges
        self._size = os.fstat(number).st_size
        self._at = 0
        self._there = (0, 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """As many bytes as there is room for, or as follow; 0 at the end."""
        room, begin = memoryview(buffer), self._at
        end = min(begin + len(room), self._size)
        while self._at < end:
            if not self._there[0] <= self._at < self._there[1]:
                self._there = bring(self._ranges, self._at, end)
            self._at += os.preadv(self._number, [room[self._at - begin : min(end, self._there[1]) - begin]], self._at)
        return self._at - begin

    def readall(self) -> bytes:
        return self.read(self._size - self._at) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at


def bring(ranges: int, begin: int, end: int) -> tuple[int, int]:
    """Have a part there; what is there around it. Raises OSError where it can't be had."""
    with _turns.setdefault(ranges, threading.Lock()):  # an answer is for who asked last: one at a time
        os.write(ranges, _RANGE.pack(begin, end))
        answer = os.read(ranges, _RANGE.size)
    there: tuple[int, int] = _RANGE.unpack(answer) if len(answer) == _RANGE.size else (0, 0)
    if not there[0] <= begin < there[1]:
        raise OSError(errno.EIO, f"bytes {begin} to {end} can't be had")
    return there
