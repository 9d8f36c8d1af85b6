"""Small files that can be made again, kept by key on disk; the least used go when they take too much room."""

import contextlib
import os
import threading
import uuid
from collections.abc import Set
from pathlib import Path

_FULL = 0.9  # of the limit, after room was made: it isn't made for each file anew


class FileCache:
    """Entries in a folder, named by their keys. Any number of processes may use it at once."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None  # what this process takes it to hold
        self.forgets = 0  # of this process; what was begun before one isn't kept after it

    def find(self, key: str) -> Path | None:
        """The file kept under ``key``, whose age counts anew; None where there is none."""
        path = self._path(key)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def place(self) -> Path:
        """A name to write a new entry to, which ``keep`` then takes."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._folder / f".{uuid.uuid4().hex}"

    def keep(self, key: str, made: Path, forgets: int) -> Path | None:
        """Take a finished file in, whole or not at all; None if something was forgotten since it was begun."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        with made.open("rb") as file:  # or a power cut may leave the name without its content
            os.fsync(file.fileno())
            size_bytes = os.fstat(file.fileno()).st_size
        with self._lock:
            if forgets != self.forgets:
                return None
            made.replace(path)
            if self._bytes is None:
                self._bytes = sum(each for _, each, _ in self._entries())
            else:
                self._bytes += size_bytes
            if self._bytes > self._limit_bytes:
                self._make_room(path)
        return path

    def forget(self, beginnings: Set[str]) -> None:
        """Remove the entries whose keys begin with one of these; all, where the empty one is among them."""
        with self._lock:
            self.forgets += 1
        lengths = {len(each) for each in beginnings}
        for path in self._folder.glob("*/*"):
            if any(path.name[:length] in beginnings for length in lengths):
                path.unlink(missing_ok=True)
        with self._lock:
            self._bytes = None

    def _make_room(self, kept: Path) -> None:
        entries = sorted(entry for entry in self._entries() if entry[2] != kept)
        held = kept.stat().st_size + sum(size_bytes for _, size_bytes, _ in entries)
        for _, size_bytes, path in entries:
            if held <= self._limit_bytes * _FULL:
                break
            path.unlink(missing_ok=True)
            held -= size_bytes
        self._bytes = held

    def _entries(self) -> list[tuple[float, int, Path]]:
        """When each was used last, its size and its path; what was begun and not kept counts too."""
        found = []
        for path in (*self._folder.glob("*/*"), *self._folder.glob(".*")):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            raise ValueError("not a key")
        return self._folder / key[:2] / key
