"""Files that jobs read: opened without symlink tricks, listed without hidden ones, all under the roots.

What was opened is checked, not what was named, so nothing changes between the check and the use.
"""

import contextlib
import os
import stat
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cluster.descriptors import SourceDescriptor
from cluster.errors import StorageError
from cluster.identity import Identity, identify, is_other, listed_stamp_of, stamp_of
from cluster.locations import local_path
from cluster.object_paths import ObjectPath
from cluster.roots import check_path_below


@dataclass(frozen=True)
class OpenFile:
    """An open regular file under the roots, and what the file system noted of it then."""

    descriptor: int
    path: Path
    facts: os.stat_result
    failure: None = None  # a part that can't be had is what the child itself meets

    @property
    def size_bytes(self) -> int:
        return self.facts.st_size

    @property
    def modified_ns(self) -> int:
        return self.facts.st_mtime_ns

    @cached_property
    def _content(self) -> Identity:
        with self._read_errors():
            return identify(self.descriptor)

    def identity(self) -> Identity:
        """As it was when it was first asked for; then ``is_other`` knows a rename from an edit.

        Raises:
            StorageError: ``source_unreadable``.
        """
        return self._content

    def stamp(self) -> Identity:
        return stamp_of(self.facts)

    def listed_stamp(self) -> Identity:
        """As collections keep it, and tell it without opening it, too."""
        return listed_stamp_of(self.facts)

    def read(self, count: int, offset: int) -> bytes:
        """``count`` bytes from ``offset`` on.

        Raises:
            StorageError: ``source_changed``: it has less by now; ``source_unreadable``.
        """
        read = bytearray()
        self.identity()  # before the rest: reading it all may take hours
        with self._read_errors():
            while len(read) < count:  # a call may give fewer: at most 2 GiB, and over a network less
                part = os.pread(self.descriptor, count - len(read), offset + len(read))
                if not part:
                    raise source_changed(self.path)
                read += part
        return bytes(read)

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError("source_unreadable", f"{self.path} can't be read: {error.strerror}.") from error

    def for_child(self) -> SourceDescriptor:
        return SourceDescriptor(self.descriptor, self.path.name)

    def is_other(self) -> bool:
        """Whether it was written to since it was opened. Raises as ``identity``."""
        with self._read_errors():
            return is_other(self.descriptor, self.facts, vars(self).get("_content"))


def source_changed(path: Path | ObjectPath) -> StorageError:
    """To be raised of a source that ``is_other``."""
    return StorageError(
        "source_changed", f"{path} changed while it was read; wait until it is complete and submit again."
    )


@contextlib.contextmanager
def open_file(uri: str, roots: Sequence[Path]) -> Iterator[OpenFile]:
    """Open a file for reading.

    Raises:
        StorageError: ``source_not_found``, ``source_outside_roots``, ``source_not_a_file``, ``source_empty``.
    """
    path = local_path(uri)
    check_path_below(path, path, roots, "source_outside_roots")  # before it's touched: no news of what lies elsewhere
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError("source_not_found", f"There is no file {path}.") from None
    except OSError as error:
        raise StorageError("source_unreadable", f"{path} can't be opened: {error.strerror}.") from error
    try:
        check_path_below(_opened_path(descriptor), path, roots, "source_outside_roots")
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder; name a file" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
            raise StorageError("source_not_a_file", f"{path} is {kind}.")
        if facts.st_size == 0:
            raise StorageError("source_empty", f"{path} is empty (0 bytes).")
        yield OpenFile(descriptor, path, facts)
    finally:
        os.close(descriptor)


def _opened_path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def check_folder(uri: str, roots: Sequence[Path]) -> Path:
    """The folder that ``uri`` names.

    Raises:
        StorageError: ``source_not_found``, ``source_outside_roots``.
    """
    path = local_path(uri)
    check_path_below(path, path, roots, "source_outside_roots")
    check_path_below(path.resolve(), path, roots, "source_outside_roots")
    if not path.is_dir():
        raise StorageError("source_not_found", f"There is no folder {path}.")
    return path


@dataclass(frozen=True)
class Found:
    """``files`` in order of their names; ``left_out`` are printable names of what can't be read or named."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def files_below(folder: Path, suffixes: Container[str], *, without: Path | None = None, most: int) -> Found:
    """Files in ``folder`` and below whose names end as ``suffixes`` say.

    Hidden files and folders are left out, links to folders, and what lies in ``without``.

    Raises:
        StorageError: ``source_too_many``: more than ``most``.
    """
    files: list[Path] = []
    left_out: list[str] = []

    def unreadable(error: OSError) -> None:
        left_out.append(f"{error.filename} ({error.strerror})")

    aside = without.resolve() if without else None
    for at, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(at)
        folders[:] = sorted(each for each in folders if not each.startswith(".") and (here / each).resolve() != aside)
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
                continue
            if not _is_text(str(here / name)):
                left_out.append(f"{str(here / name)!a} (its name isn't UTF-8)")
                continue
            files.append(here / name)
            if len(files) > most:
                raise StorageError("source_too_many", f"{folder} holds more than {most} of them. Name subfolders.")
    return Found(tuple(files), tuple(left_out))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
