"""What a collection notes of the folders it was imported from, and of their being watched.

Three files of its folder. ``imported.json`` is the import's; a watch that begins takes out folders that aren't there,
so whoever changes it locks it. ``watch.json`` is the edge's, and ``watching.json`` tells how whoever watches gets on.
"""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from cluster.errors import StorageError
from cluster.home import write_private
from cluster.locations import local_path
from pipelines.bulk.collection import Collection

_IMPORTED, _WATCH, _WATCHING = "imported.json", "watch.json", "watching.json"
T = TypeVar("T", bound=BaseModel)


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Imported(_Note):
    """The folders that were imported, each with the kinds of files that were asked for the last time."""

    folders: Mapping[str, tuple[str, ...]] = {}


class Watch(_Note):
    """That a collection is watched, ``since`` when, and for whom its imports are."""

    owner: str
    since: datetime


class Watching(_Note):
    """How the watching goes. ``mounts``: file systems seen at or below each folder.

    ``away``: why nothing is imported from a folder now; ``polled``: why files are looked at in turns instead of being
    told of; ``job``: the last import; ``error``: what went wrong last, until an import succeeds.
    """

    mounts: Mapping[str, tuple[str, ...]] = {}
    away: Mapping[str, str] = {}
    polled: str | None = None
    job: str | None = None
    error: str | None = None
    error_at: datetime | None = None


class WatchSummary(BaseModel, frozen=True, extra="forbid"):
    """A watch as it is shown: see ``Watching``."""

    since: datetime
    folders: tuple[str, ...]
    away: Mapping[str, str]
    polled: str | None
    job: str | None
    error: str | None
    error_at: datetime | None


def note_imported(collection: Collection, sources: Sequence[str], kinds: Sequence[str]) -> None:
    """Add those of ``sources`` that are folders of this machine."""
    local = [str(local_path(each)) for each in sources if each.startswith(("/", "file:"))]
    wanted = {each: tuple(kinds) for each in local if Path(each).is_dir()}
    with _alone(collection):
        known = imported(collection).folders
        if (folders := {**known, **wanted}) != known:
            write_private(collection.folder / _IMPORTED, Imported(folders=folders).model_dump_json())


def imported(collection: Collection) -> Imported:
    return _read(collection.folder / _IMPORTED, Imported) or Imported()


def begin_watch(collection: Collection, owner: str) -> WatchSummary:
    """Have a collection's folders watched; one that is watched stays so as it was asked for first.

    Folders that aren't there are imported and watched no more, until somebody imports them again.

    Raises:
        StorageError: ``collection_without_folders``.
    """
    begun = watch_of(collection) is not None
    # Looked at first without the lock: on a share that hangs this doesn't come back.
    gone = {each for each in imported(collection).folders if not begun and not Path(each).is_dir()}
    with _alone(collection):
        folders = imported(collection).folders
        there = {each: kinds for each, kinds in folders.items() if each not in gone or Path(each).is_dir()}
        if there and there != folders:
            write_private(collection.folder / _IMPORTED, Imported(folders=there).model_dump_json())
    if not there:
        raise StorageError(
            "collection_without_folders",
            f"No folder that is there was imported into {collection.name}, so there is nothing to watch. "
            f"Import one: mediaray collection-import FOLDER --into {collection.name}",
        )
    if not begun:
        (collection.folder / _WATCHING).unlink(missing_ok=True)
        wanted = Watch(owner=owner, since=datetime.now(UTC))
        write_private(collection.folder / _WATCH, wanted.model_dump_json())
    found = watch_summary(collection)
    assert found is not None
    return found


def end_watch(collection: Collection) -> None:
    """Watch it no more, if it was watched."""
    for name in (_WATCH, _WATCHING):
        (collection.folder / name).unlink(missing_ok=True)


def watch_of(collection: Collection) -> Watch | None:
    return _read(collection.folder / _WATCH, Watch)


def watching(collection: Collection) -> Watching:
    return _read(collection.folder / _WATCHING, Watching) or Watching()


def note_watching(collection: Collection, now: Watching) -> None:
    """Keep how it goes, while the collection is watched."""
    if (collection.folder / _WATCH).exists():
        write_private(collection.folder / _WATCHING, now.model_dump_json())


def watch_summary(collection: Collection) -> WatchSummary | None:
    """None: it isn't watched."""
    wanted, now = watch_of(collection), watching(collection)
    if wanted is None:
        return None
    told = now.model_dump(exclude={"mounts"})
    return WatchSummary(since=wanted.since, folders=tuple(sorted(imported(collection).folders)), **told)


@contextlib.contextmanager
def _alone(collection: Collection) -> Iterator[None]:
    """Be the only one, in any process, who changes ``imported.json``; for a moment."""
    with (collection.folder / f"{_IMPORTED}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def watched(home: Path) -> dict[str, str]:
    """The collections that are watched, each with what tells whether what is wanted of it has changed."""
    found = {}
    for note in (home / "collections").glob(f"*/{_WATCH}"):
        stamps = [_stamp(note), _stamp(note.with_name(_IMPORTED))]
        found[note.parent.name] = " ".join(stamps)
    return found


def _stamp(note: Path) -> str:
    try:
        facts = note.stat()
    except FileNotFoundError:
        return ""
    return f"{facts.st_ino}:{facts.st_mtime_ns}"


def _read(note: Path, form: type[T]) -> T | None:
    """A note; None where there is none, or one that can't be read."""
    try:
        return form.model_validate_json(note.read_bytes())
    except (OSError, ValueError):
        return None
