"""Small files that can be made again, kept by key on disk; the least used go when they take too much room."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator, Set
from pathlib import Path

from cluster.disk import flush
from cluster.eviction import Bound, Entry

_MAKING = "making"  # a folder of what is not whole yet


class FileCache:
    """Entries in a folder, named by their keys. Any number of processes may use it at once."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.making = folder / _MAKING
        self._folder = folder
        self._bound = Bound(limit_bytes, self._entries, lambda path: path.unlink(missing_ok=True))

    @property
    def forgets(self) -> bytes:
        """A word that is another after each ``forget`` of any process: what was begun before isn't kept after it."""
        try:
            return self._word_file.read_bytes()
        except FileNotFoundError:
            return b""

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
        self.making.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.making / uuid.uuid4().hex

    def keep(self, key: str, made: Path, forgets: bytes) -> Path | None:
        """Take a finished file in, whole or not at all; None if something was forgotten since it was begun."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        flush(made)  # or a power cut may leave the name without its content
        size_bytes = made.stat().st_size
        with self._word(fcntl.LOCK_SH):
            if forgets != self.forgets:
                return None
            made.replace(path)
        self._bound.note(size_bytes)
        self._bound.make_room(besides=path)
        return path

    def forget(self, beginnings: Set[str]) -> None:
        """Remove the entries whose keys begin with one of these; all, where the empty one is among them."""
        with self._word(fcntl.LOCK_EX) as file:
            os.pwrite(file, uuid.uuid4().hex.encode(), 0)
        lengths = {len(each) for each in beginnings}
        for path in self._folder.glob("*/*"):
            if path.parent != self.making and any(path.name[:length] in beginnings for length in lengths):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _word(self, how: int) -> Iterator[int]:
        """The file of the word, locked among all processes: nothing is kept while the word is drawn anew."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(self._word_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, how)
            yield file
        finally:
            os.close(file)

    @property
    def _word_file(self) -> Path:
        return self._folder / "forgets"

    def _entries(self) -> list[Entry]:
        """What was begun and not kept counts too."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append(Entry(facts.st_mtime, facts.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            raise ValueError("not a key")
        return self._folder / key[:2] / key
