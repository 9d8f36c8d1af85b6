"""Archives of files that are stored as they are, so that names and sizes tell beforehand where each begins.

They can be written in any order and in several processes, and what was written stays. Heads and ends are those of the
standard library.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Protocol

_MODE = 0o644
_UNIX = 3
_EARLIEST, _LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, tzinfo=UTC)  # that a zip tells


@dataclass(frozen=True)
class Entry:
    """A file of an archive, with ``/`` in its name. Its head begins ``at`` so many bytes."""

    name: str
    size_bytes: int
    modified_us: int
    at: int = 0
    crc32: int = 0


class Format(Protocol):
    """How a kind of archive is written."""

    def head(self, entry: Entry) -> bytes:
        """What stands before the data; as long whatever ``at`` and ``crc32`` are."""

    def padding(self, size_bytes: int) -> int:
        """How many zeros follow that much data."""

    def end(self, file: IO[bytes], entries: Sequence[Entry]) -> None:
        """Write what follows the last entry, where the file is."""


class _Zip:
    """https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, with its extension for large ones where needed."""

    def head(self, entry: Entry) -> bytes:
        return self._info(entry).FileHeader()

    def padding(self, _size_bytes: int) -> int:
        return 0

    def end(self, file: IO[bytes], entries: Sequence[Entry]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for info in map(self._info, entries):
                info.FileHeader()  # it notes which version is needed to read it
                archive.infolist().append(info)

    def _info(self, entry: Entry) -> zipfile.ZipInfo:
        at = min(max(datetime.fromtimestamp(entry.modified_us / 1e6, UTC), _EARLIEST), _LATEST)
        info = zipfile.ZipInfo(entry.name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
        info.create_system, info.external_attr = _UNIX, (stat.S_IFREG | _MODE) << 16
        info.file_size = info.compress_size = entry.size_bytes
        info.CRC, info.header_offset = entry.crc32, entry.at
        return info


class _Tar:
    """As POSIX has it since 2001: names, sizes and times of any length."""

    def head(self, entry: Entry) -> bytes:
        info = tarfile.TarInfo(entry.name)
        info.size, info.mode, info.mtime = entry.size_bytes, _MODE, entry.modified_us / 1e6
        return info.tobuf(tarfile.PAX_FORMAT)

    def padding(self, size_bytes: int) -> int:
        return -size_bytes % tarfile.BLOCKSIZE

    def end(self, file: IO[bytes], _entries: Sequence[Entry]) -> None:
        file.write(bytes(2 * tarfile.BLOCKSIZE))


FORMATS: Mapping[str, Format] = {".zip": _Zip(), ".tar": _Tar()}


def laid_out(format_: Format, entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    """The entries, each where it begins, one after the other; and where the last one ends."""
    placed, at = [], 0
    for entry in entries:
        placed.append(replace(entry, at=at))
        at += len(format_.head(entry)) + entry.size_bytes + format_.padding(entry.size_bytes)
    return placed, at


def write_entry(file: IO[bytes], format_: Format, entry: Entry, chunks: Iterable[bytes]) -> int:
    """Write an entry where it belongs: its data, which is as long as it tells, then its head. The data's CRC-32."""
    file.seek(entry.at + len(format_.head(entry)))
    crc32 = 0
    for chunk in chunks:
        crc32 = zlib.crc32(chunk, crc32)
        file.write(chunk)
    file.write(bytes(format_.padding(entry.size_bytes)))
    file.seek(entry.at)
    file.write(format_.head(replace(entry, crc32=crc32)))
    return crc32
