"""Read a source's bytes at any place, without libav."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.media.source import Source, open_file


@dataclass(frozen=True)
class FileBytes:
    """``limit`` is how far a walk through it goes: all of it, or as far as is quick."""

    descriptor: int
    size: int
    limit: int

    def read(self, begin: int, count: int) -> bytes:
        """Fewer than ``count`` bytes at the end of the file; none behind it. A disk's fault is an ``OSError``."""
        return os.pread(self.descriptor, count, begin) if begin < self.size else b""

    def number(self, begin: int, count: int) -> int | None:
        """A big-endian unsigned integer, or ``None`` behind the end of the file."""
        data = self.read(begin, count)
        return int.from_bytes(data) if len(data) == count else None


@contextmanager
def file_bytes(source: Source, limit: int | None) -> Iterator[FileBytes]:
    """Open ``source`` with a read position of its own.

    Raises:
        SourceError: see ``open_file``.
    """
    descriptor = open_file(source)
    try:
        size = os.fstat(descriptor).st_size
        yield FileBytes(descriptor, size, size if limit is None else min(size, limit))
    finally:
        os.close(descriptor)
