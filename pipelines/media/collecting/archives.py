"""Unpack archives: zip and tar, also compressed. One that could do harm is refused whole: nothing is used of it.

No name of an archive becomes a path: its files are numbered.
"""

import io
import lzma
import math
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO

from pipelines.media.collecting.collecting_spec import Member, Unpacked
from pipelines.media.errors import LimitError, SourceError, SourceUnreadableError, SourceUnsupportedError
from pipelines.media.mux import write_errors
from pipelines.media.source import Source, name_of, open_file, size_of

_MOST_ENTRIES = 10_000
_MOST_RATIO = 100  # of what is unpacked to the archive
_MOST_BYTES = 64 << 30
_CHUNK_BYTES = 1 << 20
_LATEST_S = 2.0**32 - 1  # in the year 2106
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, ValueError),
)
_ENCRYPTED = 0x1  # a flag of a zip's entry
_DRIVE = re.compile(r"^[A-Za-z]:")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


@dataclass(frozen=True)
class _Entry:
    """A file of an archive; ``at`` is what the library calls it."""

    name: str
    size_bytes: int
    modified_s: float
    at: zipfile.ZipInfo | tarfile.TarInfo


def unpack(source: Source, target: Path, suffixes: tuple[str, ...] = ()) -> Unpacked:
    """Unpack the files whose names end as ``suffixes`` say, or all, into the folder ``target``, numbered.

    Hidden ones and those in hidden folders are left out. Each keeps its extension.

    Raises:
        SourceUnsupportedError: it holds links, devices, names that lead out of it, or encrypted files, or is of
            another kind than its name says.
        SourceUnreadableError: it is damaged.
        LimitError: it has too many files, or unpacks to more than a hundred times its size.
    """
    with io.BufferedReader(open_file(source)) as file:
        most_bytes = min(_MOST_BYTES, _MOST_RATIO * size_of(source))
        try:
            if name_of(source).lower().endswith((".zip", ".cbz")):
                with zipfile.ZipFile(file) as opened_zip:
                    return _unpacked(_Zip(opened_zip, name_of(source)), target, suffixes, most_bytes)
            with tarfile.open(fileobj=file, mode="r:*") as opened_tar:
                return _unpacked(_Tar(opened_tar, name_of(source)), target, suffixes, most_bytes)
        except _DAMAGED as error:
            raise SourceUnreadableError(f"{name_of(source)} can't be unpacked: {error}.") from error


class _Zip:
    """A zip, its entries checked one by one."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self.name = name

    def entries(self) -> Iterator[_Entry]:
        for info in self._archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & _ENCRYPTED:
                raise SourceUnsupportedError(f"{self.name}: {info.filename!a} is encrypted.")
            if not info.is_dir():
                if kind not in (0, stat.S_IFREG):
                    raise _harmful(self.name, info.filename, "is a link or a device")
                yield _Entry(info.filename, info.file_size, _zip_time(info.date_time), info)

    def open(self, entry: _Entry) -> IO[bytes]:
        assert isinstance(entry.at, zipfile.ZipInfo)
        return self._archive.open(entry.at)


def _zip_time(told: tuple[int, int, int, int, int, int]) -> float:
    """A time as a zip has it; some write zeros."""
    try:
        return datetime(*told, tzinfo=UTC).timestamp()
    except ValueError:
        return datetime(1980, 1, 1, tzinfo=UTC).timestamp()


def _tar_time(told: float) -> float:
    """A time as a tar has it: any number, of which file systems take few."""
    return min(max(0.0, told), _LATEST_S) if math.isfinite(told) else 0.0


class _Tar:
    """A tar, likewise."""

    def __init__(self, archive: tarfile.TarFile, name: str) -> None:
        self._archive = archive
        self.name = name

    def entries(self) -> Iterator[_Entry]:
        for info in self._archive:
            if not (info.isreg() or info.isdir()):
                raise _harmful(self.name, info.name, "is a link or a device")
            if info.isreg():
                yield _Entry(info.name, info.size, _tar_time(info.mtime), info)

    def open(self, entry: _Entry) -> IO[bytes]:
        assert isinstance(entry.at, tarfile.TarInfo)
        opened = self._archive.extractfile(entry.at)
        assert opened is not None
        return opened


def _unpacked(archive: _Zip | _Tar, target: Path, suffixes: tuple[str, ...], most_bytes: int) -> Unpacked:
    members: list[Member] = []
    told = made = others = 0
    for number, entry in enumerate(archive.entries(), start=1):
        path = _checked(archive.name, entry.name)
        told += entry.size_bytes
        if number > _MOST_ENTRIES:
            raise LimitError(f"{archive.name} holds more than {_MOST_ENTRIES} files.")
        if max(told, made) > most_bytes:
            raise _bomb(archive.name)
        if _is_hidden(path) or (suffixes and path.suffix.lower() not in suffixes):
            others += not _is_hidden(path)
            continue
        suffix = path.suffix.lower() if _SUFFIX.fullmatch(path.suffix) else ""
        file = target / f"{number:06d}{suffix}"
        made += _write(archive, entry, file, most_bytes - made)
        members.append(Member(name=path.as_posix(), file=file.name, modified_s=entry.modified_s))
    return Unpacked(members=tuple(members), others=others)


def _write(archive: _Zip | _Tar, entry: _Entry, file: Path, most_bytes: int) -> int:
    """Write a file, whatever size the archive tells of it; how many bytes."""
    size_bytes = 0
    with archive.open(entry) as data, file.open("xb") as out:
        while chunk := data.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > most_bytes:
                raise _bomb(archive.name)
            with write_errors():
                out.write(chunk)
    return size_bytes


def _checked(archive: str, name: str) -> PurePosixPath:
    """The name of an entry, if it stays below the archive."""
    text = name.encode(errors="replace").decode().replace("\\", "/")
    path = PurePosixPath(text)
    if path.is_absolute() or _DRIVE.match(text) or ".." in path.parts or "\0" in text or not path.parts:
        raise _harmful(archive, name, "leads out of the archive")
    return path


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _harmful(archive: str, name: str, why: str) -> SourceError:
    return SourceUnsupportedError(f"{archive} is not unpacked: {name[:200]!a} {why}.")


def _bomb(archive: str) -> LimitError:
    return LimitError(f"{archive} is not unpacked: it comes to more than {_MOST_RATIO} times its size, or to 64 GiB.")
