"""Read a source's bytes at any place, without libav."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.media.source import Source, open_file, size_of


@dataclass(frozen=True)
class FileBytes:
    """``limit`` is how far a walk through it goes: all of it, or as far as is quick."""

    file: io.RawIOBase
    size: int
    limit: int

    def read(self, begin: int, count: int) -> bytes:
        """Fewer than ``count`` bytes at the end of the file; none behind it. A disk's fault is an ``OSError``."""
        if begin >= self.size:
            return b""
        self.file.seek(begin)
        return self.file.read(count) or b""

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
    with open_file(source) as file:
        size = size_of(source)
        yield FileBytes(file, size, size if limit is None else min(size, limit))
