"""Objects' bytes on this disk: each version in a sparse file, of which that is there which has been asked for.

An entry is a folder: ``data``, as long as the object, and ``marks``, a byte for each block of it that is there. Any
number of processes use one at once: two may fetch a block twice, and write the same. A block is marked once it is known
that the version was still the object's when it had been fetched; until then who fetched it alone reads it. Entries of
an earlier boot aren't used: a power cut may have kept a mark and lost its block.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cluster.disk import free_space
from cluster.errors import StorageError
from cluster.eviction import Bound, Entry
from cluster.objects import PART_BYTES, OpenedObject

BLOCK_BYTES = 64 << 10
SPARE_BYTES = 256 << 20  # of the disk, which others write to
_MISSING, _THERE = b"\0", b"\1"

Runs = tuple[tuple[int, int], ...]  # of blocks: the first, and that behind the last


class FetchedObject:
    """One version of an object, its bytes brought as they are asked for. ``close`` it."""

    def __init__(self, source: OpenedObject, folder: Path, limit_bytes: int) -> None:
        self._source = source
        self._size = source.version.size_bytes
        self._blocks = -(-self._size // BLOCK_BYTES)
        self._entry = folder / _key(source)
        self._bound = _bound(folder, limit_bytes)
        self._stopped = False
        self._ours = bytearray(self._blocks)  # as the marks, of what was fetched here
        self._unconfirmed: list[tuple[int, int]] = []
        self._closing = threading.Lock()
        with self._disk_errors():
            self._bound.make_room()
            self._data, marks = self._open()
            try:
                with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                    os.utime(self._entry)  # its age counts anew
                self._marks = mmap.mmap(marks, self._blocks)
            finally:
                os.close(marks)

    def close(self) -> None:
        with self._closing:
            self._marks.close()
        os.close(self._data)

    def stop(self) -> None:
        """Fetch no more: a ``bring`` on another thread raises StorageError."""
        self._stopped = True

    def descriptor(self) -> int:
        """A new one of the sparse file, for reading; what isn't there yet reads as zeros."""
        with self._disk_errors():
            return os.open(f"/proc/self/fd/{self._data}", os.O_RDONLY | os.O_CLOEXEC)

    def bring(self, begin: int, end: int) -> tuple[int, int]:
        """Have the bytes from ``begin`` to ``end`` there, as far as the object has them; what is there around them.

        Raises:
            StorageError: the object can't be read; ``disk_full``; ``storage_unavailable``, also where the disk fails.
        """
        first, last = begin // BLOCK_BYTES, min(-(-end // BLOCK_BYTES), self._blocks)
        at = first
        while (at := self._missing(at, last)) < last:
            if self._stopped:
                raise StorageError("source_unreadable", f"{self._source.version.path} isn't wanted any more.")
            until = min(self._there(at, last), at + PART_BYTES // BLOCK_BYTES)
            self._fetch(at, until)
        return first * BLOCK_BYTES, min(self._missing(last, self._blocks) * BLOCK_BYTES, self._size)

    def read(self, count: int, offset: int) -> bytes:
        """Some bytes, brought first. Raises as ``bring``."""
        self.bring(offset, offset + count)
        with self._disk_errors():
            return os.pread(self._data, count, offset)

    def unconfirmed(self) -> Runs:
        """What was fetched here and isn't known to be of the version."""
        return tuple(self._unconfirmed)

    def confirm(self, runs: Runs) -> None:
        """These, the first that are ``unconfirmed``, are of the version: the object was looked at after them."""
        with self._closing:
            if self._marks.closed:
                return
            for first, last in runs:
                self._marks[first:last] = _THERE * (last - first)
            del self._unconfirmed[: len(runs)]

    def forget(self) -> None:
        """Remove the entry: it may have bytes of another version."""
        _remove(self._entry)

    def _missing(self, at: int, last: int) -> int:
        """The first block from ``at`` on that isn't there; ``last`` where all before it are."""
        while at < last and (at := self._marks.find(_MISSING, at, last)) >= 0:
            if not self._ours[at]:
                return at
            at = _found(self._ours.find(_MISSING, at, last), last)
        return last

    def _there(self, at: int, last: int) -> int:
        """The first that is, likewise."""
        return min(_found(self._marks.find(_THERE, at, last), last), _found(self._ours.find(_THERE, at, last), last))

    def _fetch(self, first: int, last: int) -> None:
        offset = first * BLOCK_BYTES
        with self._disk_errors():
            self._check_room((last - first) * BLOCK_BYTES)
        part = memoryview(self._source.read(min(last * BLOCK_BYTES, self._size) - offset, offset))
        with self._disk_errors():
            while part:
                written = os.pwrite(self._data, part, offset)
                part, offset = part[written:], offset + written
        self._ours[first:last] = _THERE * (last - first)
        self._unconfirmed.append((first, last))
        self._bound.note((last - first) * BLOCK_BYTES)

    def _check_room(self, wanted_bytes: int) -> None:
        """Make room, where there is little, by all but this entry, which is in use."""
        folder = self._entry.parent
        short_bytes = wanted_bytes + SPARE_BYTES - free_space(folder)
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._entry)  # so that no other process takes it for unused
        self._bound.make_room(besides=self._entry, short_bytes=short_bytes)
        if short_bytes > 0 and wanted_bytes + SPARE_BYTES > free_space(folder):
            raise self._full()

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """What goes wrong on this disk is told as that: the source is at no fault."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from error
            raise StorageError(
                "storage_unavailable",
                f"What is fetched of {self._source.version.path} can't be kept on this disk: {error.strerror}.",
            ) from error

    def _full(self) -> StorageError:
        return StorageError("disk_full", f"No space left to fetch {self._source.version.path}. Make room.")

    def _open(self) -> tuple[int, int]:
        """Data and marks of one entry, also where it is removed or made at this moment."""
        while True:
            with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
                at = os.open(self._entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, at)
                data = os.open("data", os.O_RDWR | os.O_CLOEXEC, dir_fd=at)
                try:
                    return data, os.open("marks", os.O_RDWR | os.O_CLOEXEC, dir_fd=at)
                except FileNotFoundError:
                    os.close(data)
                    raise
            self._make()

    def _make(self) -> None:
        making = self._entry.with_name(f".{uuid.uuid4().hex}")
        try:
            making.mkdir(parents=True, mode=0o700)
            with (making / "data").open("wb") as file:
                file.truncate(self._size)
            with (making / "marks").open("wb") as file:  # to be written through memory, where no error is told
                os.posix_fallocate(file.fileno(), 0, self._blocks)
            making.rename(self._entry)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def _found(at: int, last: int) -> int:
    return at if at >= 0 else last


def sweep_fetched(folder: Path, older_than_s: float) -> None:
    """Forget what wasn't used for so long. Who has it open keeps it until the end."""
    before = time.time() - older_than_s
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < before:
                _remove(entry)


def held_bytes(folder: Path) -> int:
    """What all takes."""
    return sum(each.size_bytes for each in _held(folder))


@cache
def _bound(folder: Path, limit_bytes: int) -> Bound:
    """One for all of this process."""
    return Bound(limit_bytes, lambda: _held(folder), _remove)


def _held(folder: Path) -> list[Entry]:
    """Entries by what they take on the disk."""
    held = []
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            held.append(Entry(entry.stat().st_mtime, (entry / "data").stat().st_blocks * 512, entry))
    return held


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _remove(entry: Path) -> None:
    """Take its name away first: nobody opens half of an entry."""
    gone = entry.with_name(f".{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _key(source: OpenedObject) -> str:
    version = source.version
    parts = (_boot(), str(version.path), str(version.size_bytes), version.tag)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
