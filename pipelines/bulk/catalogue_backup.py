"""Collections in a backup: their tables and notes, and those of their trash. No file of the user, nor what was made of
one.

Parts of tables are never written to again, only replaced and removed; so links to those of one moment are a copy of it
that takes no room, which is written into the backup while jobs go on.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cluster.backup_file import BackupReader, BackupWriter, Tell, hold
from cluster.disk import disk_errors, flush_files, make_folder
from cluster.errors import StorageError

COLLECTIONS, TRASH = "collections", "trash"  # of the home folder, and of a backup
_MEDIA = frozenset({"artifacts", "unpacked"})  # folders of a collection
_MOVED = "moved"  # a folder of a run of the trash
_NOTES = (".parquet", ".json")
_DONE = "done"  # the mark of a run of the trash
_MEMBER = re.compile(r"(collections/[a-z0-9][a-z0-9._-]{0,62}|trash/[a-z0-9][a-z0-9._-]{0,62}/[^/]+)/.+")
_TRIES = 1000  # of seeing a folder as it was linked
_LOOKS = 2  # that are alike: one may miss a part that came and those that it was made of


def link_catalogues(home: Path, into: Path) -> None:
    """Make a copy of all catalogues in a new folder, each table as it was when some job committed to it last.

    Raises:
        StorageError: ``collection_busy``: a table changes all the time; ``disk_full``, ``output_not_writable``.
    """
    with disk_errors(into):
        for kind in (COLLECTIONS, TRASH):
            for folder in _folders(home, kind):
                _link_folder(folder, into / folder.relative_to(home))


def add_catalogues(linked: Path, writer: BackupWriter, tell: Tell) -> None:
    """Write what was linked."""
    names = [file.relative_to(linked) for file in sorted(linked.rglob("*")) if file.is_file()]
    for name in names:
        writer.file(str(name), linked / name)
        tell((linked / name).stat().st_size)
    writer.counts["collections"] = len({name.parts[1] for name in names if name.parts[0] == COLLECTIONS})


def holds_catalogues(home: Path) -> bool:
    """Whether there are collections, or files in their trash."""
    return any((home / kind).is_dir() and any((home / kind).iterdir()) for kind in (COLLECTIONS, TRASH))


def check_catalogues(reader: BackupReader) -> None:
    """Refuse names that no backup has. Raises StorageError: ``backup_refused``."""
    for name in _members(reader):
        parts = name.split("/")
        inner = parts[2:-1]
        is_note = parts[-1].endswith(_NOTES) or (parts[0] == TRASH and parts[-1] == _DONE)
        if (
            not _MEMBER.fullmatch(name)
            or not is_note
            or any(each.startswith(".") for each in parts)
            or _is_media(inner)
        ):
            raise StorageError(
                "backup_refused", f"{reader.path} holds {name[:80]!a}, which is no part of a collection's catalogue."
            )


def restore_catalogues(home: Path, reader: BackupReader, tell: Tell) -> None:
    """Bring collections back into a home without any.

    Raises:
        StorageError: ``backup_damaged``, ``disk_full``, ``output_not_writable``.
    """
    folders = set()
    with disk_errors(home):
        for name in _members(reader):
            target = home / name
            make_folder(target.parent)
            reader.copy(name, target, tell)
            folders.add(target.parent)
        for folder in folders:
            flush_files(folder)


def _members(reader: BackupReader) -> list[str]:
    return [*reader.names(COLLECTIONS), *reader.names(TRASH)]


def _is_media(inner: list[str]) -> bool:
    return bool(inner) and (inner[0] in _MEDIA or _MOVED in inner)


def _folders(home: Path, kind: str) -> Iterator[Path]:
    """Those of catalogues, with notes or parts in them."""
    for at, folders, _ in os.walk(home / kind):
        depth = len(Path(at).relative_to(home / kind).parts)
        left_out = _MEDIA if kind == COLLECTIONS and depth == 1 else {_MOVED} if kind == TRASH else set()
        folders[:] = [each for each in folders if each not in left_out and not each.startswith(".")]
        if depth:
            yield Path(at)


def _link_folder(folder: Path, into: Path) -> None:
    """Link what a folder holds at one moment: it is looked at again until it has stayed the same meanwhile."""
    into.mkdir(parents=True, mode=0o700)
    linked: dict[str, int] = {}
    alike = 0
    for _ in range(_TRIES):
        found = _found(folder)
        alike = alike + 1 if found == linked else 0
        if alike == _LOOKS:
            return
        for name in [name for name, inode in linked.items() if found.get(name) != inode]:
            (into / name).unlink()
            del linked[name]
        for name in found.keys() - linked.keys():
            with contextlib.suppress(FileNotFoundError):  # gone since: it is looked at again
                linked[name] = hold(folder / name, into / name)
    raise StorageError("collection_busy", f"{folder} changes all the time. Try again when it is less busy.")


def _found(folder: Path) -> dict[str, int]:
    """Parts and notes with their inodes; none where the folder is gone."""
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            wanted = entry.name.endswith(_NOTES) or entry.name == _DONE
            if wanted and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                found[entry.name] = entry.inode()
    return found
