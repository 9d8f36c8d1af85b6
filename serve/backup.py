"""Backups: what of a home goes into one, and how it comes back; with a server that runs, and without.

Job state first, then collections: what a job of the backup has committed is in the collections of the backup.
"""

import contextlib
import fcntl
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from cluster.backup_file import BackupReader, BackupWriter, is_harmless, new_backup, opened_backup
from cluster.disk import flush_folder, free_space
from cluster.errors import StartupError, StorageError
from cluster.home import Home, write_private
from cluster.kept_backup import KEPT, add_kept, check_kept, restore_kept
from cluster.ray_cluster import short_folder
from cluster.redis_server import jobs_url_at_rest, running_jobs_url
from cluster.settings import Settings
from pipelines.bulk.catalogue_backup import (
    COLLECTIONS,
    TRASH,
    add_catalogues,
    check_catalogues,
    holds_catalogues,
    link_catalogues,
    restore_catalogues,
)
from pipelines.jobs.state_backup import JOBS, LATER, LOG, copy_state
from pipelines.jobs.state_restore import SavedState, check_state, holds_state, restore_state, wipe_state

_PROFILES, _GRANTS = "profiles", "grants.json"
_PROFILE = re.compile(r"profiles/[^/]+\.toml")
_MARGIN = 1.25  # the store's own file is larger than the records in it
NAME = re.compile(r"mediaray-(\d{8}T\d{6}Z)\.zip")
_STAMP = "%Y%m%dT%H%M%SZ"
Tell = Callable[[str, int, int], None]  # what is dealt with, how much of it is done, and of how much; 0: unknown


@dataclass(frozen=True)
class Backup:
    """What a backup holds. ``jobs`` by state; ``active`` of them aren't finished. ``pieces`` of work that are kept."""

    path: str
    size_bytes: int
    made_at: str
    build: str
    jobs: Mapping[str, int]
    active: int
    events: int
    collections: int
    pieces: int


@dataclass(frozen=True)
class Restored:
    """What was restored. ``replaced``: the folder where what was there before is kept."""

    backup: Backup
    replaced: str | None


def name_for(now: datetime) -> str:
    """What a backup is called that nobody named."""
    return f"mediaray-{now.strftime(_STAMP)}.zip"


def time_of(name: str) -> datetime | None:
    """When a backup was begun, by such a name; None: it has another."""
    named = NAME.fullmatch(name)
    return datetime.strptime(named[1], _STAMP).replace(tzinfo=UTC) if named else None


def back_up(settings: Settings, home: Home, target: Path, tell: Tell, *, overwrite: bool, units: bool) -> Backup:
    """Write a backup of a home; ``units``: with finished pieces of work.

    Raises:
        StorageError: ``output_exists``, ``output_not_writable``, ``disk_full``; ``backup_busy``: another is being made;
            ``home_not_whole``; ``store_unavailable``, ``store_busy``, ``collection_busy``.
        StartupError: the private Redis doesn't start.
    """
    if home.restoring.exists():
        told = f"A restore into {home.path} was broken off. Do it again: mediaray restore FILE --replace"
        raise StorageError("home_not_whole", told)
    with _jobs_url(settings, home) as url:
        return _back_up(url, home, target, tell, overwrite=overwrite, units=units)


def _back_up(url: str, home: Home, target: Path, tell: Tell, *, overwrite: bool, units: bool) -> Backup:
    found: list[SavedState] = []

    def check(reader: BackupReader) -> None:
        found.append(_check(reader, partial(tell, "reading it back")))

    with _alone(home) as linked, new_backup(target, version("mediaray"), check, overwrite=overwrite) as writer:
        copy_state(url, writer, partial(tell, "jobs"))
        link_catalogues(home.path, linked)
        add_catalogues(linked, writer, _counting(partial(tell, "collections"), 0))
        _add_own(home, writer)
        if units:
            add_kept(home.kept, linked, writer, _counting(partial(tell, "pieces of work"), 0))
    with opened_backup(target) as reader:
        return _told(reader, found[0])


def verify(path: Path, tell: Tell) -> Backup:
    """Read all of a backup; what it holds. Raises StorageError: ``backup_…``, ``source_not_found``."""
    with opened_backup(path) as reader:
        return _told(reader, _check(reader, partial(tell, "reading")))


def restore(settings: Settings, home: Home, path: Path, tell: Tell, *, replace: bool) -> Restored:
    """Bring a backup back into a home without jobs and collections, on which no server runs.

    ``replace``: also where there are some; they are kept in a folder, as a backup and as they were.

    Raises:
        StorageError: ``backup_…``, ``source_not_found``; ``server_running``, ``home_not_empty``, ``disk_full``.
        StartupError: the store doesn't start, or isn't durable.
    """
    with opened_backup(path) as reader:
        told = _told(reader, _check(reader, partial(tell, "reading")))
        _refuse_without_room(home, reader)
        with _held(home), short_folder() as folder, jobs_url_at_rest(settings, home, folder) as url:
            replaced = None
            if home.restoring.exists() or holds_state(url) or holds_catalogues(home.path):
                if not replace:
                    raise _not_empty(home)
                replaced = _saved_aside(url, home, tell)
            write_private(home.restoring, str(path))
            flush_folder(home.path)
            if replaced:
                _move_collections(home, replaced)
            wipe_state(url)
            for each in home.scratch.iterdir():  # of jobs that are planned anew
                shutil.rmtree(each, ignore_errors=True)
            restore_state(url, reader, partial(tell, "jobs"))
            restore_catalogues(home.path, reader, _counting(partial(tell, "collections"), reader.manifest.size_bytes))
            restore_kept(home.kept, reader, _counting(partial(tell, "pieces of work"), reader.manifest.size_bytes))
            _restore_own(home, reader)
        home.restoring.unlink()
        flush_folder(home.path)
    return Restored(told, str(replaced) if replaced else None)


def _check(reader: BackupReader, tell: Callable[[int, int], None]) -> SavedState:
    """Read all of it. Raises StorageError: ``backup_damaged``, ``backup_refused``."""
    for name in reader.manifest.members:
        at, own = name.split("/")[0], name in (JOBS, LATER, LOG, _GRANTS)
        if not (own or _PROFILE.fullmatch(name) or at in (COLLECTIONS, TRASH, KEPT)):
            raise StorageError(
                "backup_refused", f"{reader.path} holds {name[:80]!a}, which no backup of mediaray does."
            )
    check_catalogues(reader)
    check_kept(reader)
    reader.check(_counting(tell, reader.manifest.size_bytes))
    return check_state(reader)


def _told(reader: BackupReader, state: SavedState) -> Backup:
    manifest = reader.manifest
    return Backup(
        path=str(reader.path),
        size_bytes=reader.path.stat().st_size,
        made_at=manifest.made_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        build=manifest.build,
        jobs=state.jobs,
        active=state.active,
        events=state.events,
        collections=manifest.counts.get("collections", 0),
        pieces=manifest.counts.get("pieces", 0),
    )


def _add_own(home: Home, writer: BackupWriter) -> None:
    """Profiles of the user's own, and the folders that were named: jobs need them."""
    for file in sorted(home.profiles.glob("*.toml")):
        if file.is_file() and is_harmless(file.name):
            writer.file(f"{_PROFILES}/{file.name}", file)
    if (home.path / _GRANTS).is_file():
        writer.file(_GRANTS, home.path / _GRANTS)


def _restore_own(home: Home, reader: BackupReader) -> None:
    """What the home has already stays as it is."""
    for name in (*reader.names(_PROFILES), *({_GRANTS} & reader.manifest.members.keys())):
        if not (home.path / name).exists():
            reader.copy(name, home.path / name)


def _saved_aside(url: str, home: Home, tell: Tell) -> Path:
    """Back up what is there, into a new folder beside it."""
    aside = home.path / f"replaced-{datetime.now(UTC).strftime(_STAMP)}-{time.monotonic_ns() % 10_000:04d}"
    aside.mkdir(mode=0o700)
    _back_up(url, home, aside / "backup.zip", tell, overwrite=False, units=False)
    return aside


def _move_collections(home: Home, aside: Path) -> None:
    """Keep collections as they are. From the first on the home isn't whole: the note of that has to be there."""
    for kind in (COLLECTIONS, TRASH):
        if (home.path / kind).is_dir():
            (home.path / kind).rename(aside / kind)
    home.collections.mkdir(mode=0o700)
    flush_folder(home.path)


def _refuse_without_room(home: Home, reader: BackupReader) -> None:
    needed, free = int(reader.manifest.size_bytes * _MARGIN), free_space(home.path)
    if free < needed:
        raise StorageError("disk_full", f"{needed} bytes are needed below {home.path}, and {free} are free.")


def _not_empty(home: Home) -> StorageError:
    return StorageError(
        "home_not_empty",
        f"There are jobs or collections in {home.path} already, or in its job store. Restore into another home "
        "(MEDIARAY_HOME), or set --replace: what is there is kept in a folder beside it.",
    )


@contextlib.contextmanager
def _held(home: Home) -> Iterator[None]:
    """Be alone on a home. Raises StorageError: ``server_running``."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(home.hold())
        except StartupError as error:
            raise StorageError("server_running", str(error)) from error
        home.end_leftovers()
        yield


@contextlib.contextmanager
def _jobs_url(settings: Settings, home: Home) -> Iterator[str]:
    """Where the job store is; a private one that doesn't run is started for so long."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_held(home))
        except StorageError:
            url = running_jobs_url(settings, home)
        else:
            url = held.enter_context(jobs_url_at_rest(settings, home, held.enter_context(short_folder())))
        yield url


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[Path]:
    """Be the only one who makes a backup of a home; a new folder in it. Raises StorageError: ``backup_busy``."""
    with (home.run / "backup.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError("backup_busy", f"Another backup of {home.path} is being made.") from error
        for left in home.run.glob("backup-*/"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home.run, prefix="backup-") as folder:
            yield Path(folder)


def _counting(tell: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Tells how much there is so far of what comes piece by piece."""
    done = 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        tell(done, total)

    return count
