"""Kept pieces of work in a backup: an entry is taken whole or not at all, and says by its key what it is."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cluster.backup_file import BackupReader, BackupWriter, Tell, hold
from cluster.disk import disk_errors, flush_files, make_folder
from cluster.errors import StorageError

KEPT = "kept"  # of the home folder, and of a backup
_ENTRY = re.compile(r"[0-9a-f]{64}")
_MEMBER = re.compile(r"kept/([0-9a-f]{2})/\1[0-9a-f]{62}/(manifest\.json|files/[^/]+)")


def add_kept(folder: Path, linked: Path, writer: BackupWriter, tell: Tell) -> None:
    """Write all entries below ``folder``; ``linked``, on the same file system, is where they can't be removed."""
    count = 0
    for entry in sorted(each for each in folder.glob("*/*") if _ENTRY.fullmatch(each.name)):
        held = linked / entry.name
        with contextlib.suppress(FileNotFoundError, shutil.Error):  # it is being discarded
            shutil.copytree(entry, held, copy_function=hold)
            for file in _files(held):
                writer.file(f"{KEPT}/{entry.parent.name}/{entry.name}/{file.relative_to(held)}", file)
                tell(file.stat().st_size)
            count += 1
        shutil.rmtree(held, ignore_errors=True)
    writer.counts["pieces"] = count


def check_kept(reader: BackupReader) -> None:
    """Refuse names that no backup has. Raises StorageError: ``backup_refused``."""
    for name in reader.names(KEPT):
        if not _MEMBER.fullmatch(name):
            raise StorageError("backup_refused", f"{reader.path} holds {name[:80]!a}, which is no piece of work.")


def restore_kept(folder: Path, reader: BackupReader, tell: Tell) -> None:
    """Bring entries back; those that are there stay. Raises StorageError: ``backup_damaged``, ``disk_full``."""
    with disk_errors(folder):
        for entry, names in _by_entry(reader):
            target = folder.parent / entry
            if target.exists():
                continue
            for name in names:
                file = folder.parent / name
                make_folder(file.parent)
                reader.copy(name, file, tell)
            for each in (target / "files", target):
                if each.is_dir():
                    flush_files(each)


def _by_entry(reader: BackupReader) -> Iterator[tuple[str, list[str]]]:
    """In order of names the manifest of an entry comes last: without it the entry doesn't count."""
    entries: dict[str, list[str]] = {}
    for name in reader.names(KEPT):
        entries.setdefault("/".join(name.split("/")[:3]), []).append(name)
    yield from entries.items()


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())
