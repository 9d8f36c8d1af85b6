"""The file of a backup: a zip whose manifest, written last, has the size and the digest of every member.

Members are JSON lines, and files as they were. Nothing in it is run or unpickled, and no name in it becomes a path
before it was checked. It knows no job.
"""

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from blake3 import blake3
from pydantic import BaseModel, ConfigDict

from cluster.disk import disk_errors, flush_folder
from cluster.errors import StorageError
from cluster.staging import publish

SCHEMA = 1  # of what a backup holds; one with a higher number is refused
MAKING, PART = ".mediaray-backup-", ".mediaray-part"  # what the name of an unfinished one begins and ends with
_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 256 << 20
_LINE_BYTES = 256 << 20  # of one record
_CHUNK_BYTES = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_LEVEL = 1  # records shrink to a tenth; higher levels take several times as long for a few per cent
# What reading a zip raises that is none, or is damaged.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
Tell = Callable[[int], None]  # bytes that were dealt with


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    blake3: str


class Manifest(BaseModel):
    """What a backup holds. ``counts`` are of its records, ``counters`` and ``tallies`` the store's.

    Counters go on beyond what they were where they are restored, tallies of what happened go on from there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["mediaray-backup"] = "mediaray-backup"
    schema_version: int = SCHEMA
    build: str
    made_at: datetime
    counts: Mapping[str, int]
    counters: Mapping[str, int]
    tallies: Mapping[str, int]
    members: Mapping[str, _Part]

    @property
    def size_bytes(self) -> int:
        """Of all members, as they are without compression."""
        return sum(part.size_bytes for part in self.members.values())


class BackupWriter:
    """Adds members, one after the other; ``counts``, ``counters`` and ``tallies`` are filled in as they are known."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.counts: dict[str, int] = {}
        self.counters: dict[str, int] = {}
        self.tallies: dict[str, int] = {}
        self._archive = archive
        self._members: dict[str, _Part] = {}

    @contextlib.contextmanager
    def lines(self, name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """A member of JSON lines: what is given writes one."""
        with self._member(name, zipfile.ZIP_DEFLATED) as write:
            yield lambda record: write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def file(self, name: str, source: Path) -> None:
        """A file as it is. Raises StorageError: ``source_unreadable``."""
        with self._member(name, zipfile.ZIP_STORED) as write:
            for chunk in _read(source):
                write(chunk)

    @contextlib.contextmanager
    def _member(self, name: str, compression: int) -> Iterator[Callable[[bytes], None]]:
        info = zipfile.ZipInfo(name)
        info.compress_type, info.external_attr = compression, (stat.S_IFREG | 0o600) << 16
        digest, size_bytes = blake3(), 0
        with self._archive.open(info, "w", force_zip64=True) as member:

            def write(chunk: bytes) -> None:
                nonlocal size_bytes
                digest.update(chunk)
                size_bytes += len(chunk)
                member.write(chunk)

            yield write
        self._members[name] = _Part(size_bytes=size_bytes, blake3=digest.hexdigest())

    def finish(self, build: str) -> None:
        """Write the manifest."""
        told = Manifest(
            build=build,
            made_at=datetime.now(UTC),
            counts=self.counts,
            counters=self.counters,
            tallies=self.tallies,
            members=self._members,
        )
        self._archive.writestr(_MANIFEST, told.model_dump_json(), zipfile.ZIP_DEFLATED, _LEVEL)


@contextlib.contextmanager
def new_backup(
    target: Path, build: str, check: Callable[["BackupReader"], None], *, overwrite: bool
) -> Iterator[BackupWriter]:
    """Write a backup that only its owner can read; it has its name once it is on the disk and ``check`` has read it.

    Raises:
        StorageError: ``output_exists``, ``output_not_writable``, ``disk_full``; and what ``check`` raises.
    """
    with disk_errors(target):
        if os.path.lexists(target) and not overwrite:
            raise StorageError("output_exists", f"{target} exists already. Name another file, or set --overwrite.")
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=MAKING, suffix=PART)  # mode 0600
        making = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                    writer = BackupWriter(archive)
                    yield writer
                    writer.finish(build)
                file.flush()
                os.fsync(file.fileno())
            with opened_backup(making) as reader:
                check(reader)
            publish(making, target, overwrite=overwrite, size_bytes=making.stat().st_size)
            flush_folder(target.parent)
        finally:
            making.unlink(missing_ok=True)


class BackupReader:
    """An opened backup, whose manifest and names were checked; its members are when they are read."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.path = path
        self._archive = archive
        self.manifest = self._checked_manifest()
        self._check_members()

    def lines(self, name: str) -> Iterator[Any]:
        """The records of a member, which may be missing. Raises StorageError: ``backup_damaged``, at its end, too."""
        if name not in self.manifest.members:
            return
        digest = blake3()
        with self._opened(name) as member:
            while line := member.readline(_LINE_BYTES):
                digest.update(line)
                yield json.loads(line)
            self._check_digest(name, digest.hexdigest())

    def names(self, folder: str) -> list[str]:
        """The members below a folder, in order."""
        return sorted(name for name in self.manifest.members if name.startswith(f"{folder}/"))

    def copy(self, name: str, target: Path, tell: Tell = lambda _: None) -> None:
        """Write a member to a new file (mode 0600).

        Raises:
            StorageError: ``backup_damaged``, ``disk_full``, ``output_not_writable``.
        """
        private = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with disk_errors(target), os.fdopen(os.open(target, private, 0o600), "wb") as file:
            for chunk in self._chunks(name):
                file.write(chunk)
                tell(len(chunk))

    def check(self, tell: Tell = lambda _: None) -> None:
        """Read all of it. Raises StorageError: ``backup_damaged``."""
        for name in self.manifest.members:
            for chunk in self._chunks(name):
                tell(len(chunk))

    def _chunks(self, name: str) -> Iterator[bytes]:
        digest = blake3()
        with self._opened(name) as member:
            while chunk := member.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
            self._check_digest(name, digest.hexdigest())

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(name) as member:
                yield member
        except _BROKEN as error:
            raise self._damaged(f"{name} can't be read ({error})") from error

    def _check_digest(self, name: str, found: str) -> None:
        if found != self.manifest.members[name].blake3:
            raise self._damaged(f"{name} isn't what was written")

    def _checked_manifest(self) -> Manifest:
        try:
            info = self._archive.getinfo(_MANIFEST)
            if info.file_size > _MANIFEST_BYTES:
                raise _not_one(self.path)
            with self._archive.open(info) as member:
                told = json.loads(member.read(_MANIFEST_BYTES))
            version = told["schema_version"] if told["format"] == "mediaray-backup" else None
        except (KeyError, TypeError) as error:
            raise _not_one(self.path) from error
        except _BROKEN as error:
            raise self._damaged(f"its manifest can't be read ({error})") from error
        if isinstance(version, int) and version > SCHEMA:
            raise StorageError(
                "backup_newer",
                f"{self.path} was made by a newer mediaray ({told.get('build')}); this one reads backups up to schema "
                f"{SCHEMA}, and it has {version}. Update mediaray.",
            )
        try:
            return Manifest.model_validate(told)
        except ValueError as error:
            raise self._damaged("its manifest has another form") from error

    def _check_members(self) -> None:
        """Refuse members that aren't plain files of harmless names, and others than the manifest has."""
        infos = [info for info in self._archive.infolist() if info.filename != _MANIFEST]
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not is_harmless(info.filename) or kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
                raise StorageError(
                    "backup_refused",
                    f"{self.path} holds {info.filename[:80]!a}, which no backup of mediaray does. Nothing was read.",
                )
        found = {info.filename: info.file_size for info in infos}
        told = {name: part.size_bytes for name, part in self.manifest.members.items()}
        if found != told or len(found) != len(infos):
            raise self._damaged("its members aren't those that its manifest tells")

    def _damaged(self, what: str) -> StorageError:
        return StorageError("backup_damaged", f"{self.path} is damaged: {what}. Take another backup.")


@contextlib.contextmanager
def opened_backup(path: Path) -> Iterator[BackupReader]:
    """A backup, for reading.

    Raises:
        StorageError: ``source_not_found``, ``source_unreadable``, ``backup_invalid``: it is none; ``backup_newer``,
            ``backup_damaged``; ``backup_refused``: it holds what no backup does.
    """
    if not path.exists():
        raise StorageError("source_not_found", f"There is no file {path}.")
    if not path.is_file():
        raise _not_one(path)
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise StorageError("source_unreadable", f"{path} can't be read: {error.strerror}.") from error
    except _BROKEN as error:
        raise _not_one(path) from error
    with archive:
        yield BackupReader(archive, path)


def _not_one(path: Path) -> StorageError:
    return StorageError("backup_invalid", f"{path} is no backup of mediaray, or was cut off.")


def hold(file: str | Path, target: str | Path) -> int:
    """Link a file that is never written to again, so that it stays as long as it is copied; its inode.

    Where the file system has no links, it is copied.
    """
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with Path(file).open("rb") as source, Path(target).open("xb") as copy:
            shutil.copyfileobj(source, copy)
            return os.fstat(source.fileno()).st_ino
    return Path(target).stat().st_ino


def is_harmless(name: str) -> bool:
    """Whether it may be a member's: a relative path that leads nowhere else."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts)


def _read(source: Path) -> Iterable[bytes]:
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise StorageError("source_unreadable", f"{source} can't be read: {error.strerror}.") from error
