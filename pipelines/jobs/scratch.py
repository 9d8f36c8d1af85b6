"""What jobs have on disk while they run: scratch, kept pieces, staged files; and its removal."""

import json
import logging
import shutil
import time
from pathlib import Path

from cluster.errors import StorageError
from cluster.fetched import sweep_fetched
from cluster.grants import current_roots
from cluster.home import Home, write_private
from cluster.kept import Kept
from cluster.object_paths import is_object_uri
from cluster.settings import Settings
from cluster.staging import remove_staged
from cluster.uploading import sweep_staged

_STAGING = "staging.json"
_DAY_S = 86_400.0
_UPLOAD_DAYS = 7.0  # that no upload takes
_log = logging.getLogger("mediaray.scratch")


def kept_work(settings: Settings) -> Kept:
    """What finished units made, for other jobs to take over."""
    return Kept(Home(settings.home).kept)


def scratch_of(settings: Settings, job_id: str) -> Path:
    """The folder of a job's units."""
    return settings.home / "scratch" / job_id


def notes_of(settings: Settings, job_id: str) -> Path:
    """The folder of what a job's drivers note."""
    return Home(settings.home).notes / job_id


def tag_of(job_id: str) -> str:
    """What the names of the files begin with that a job stages."""
    return f"{job_id}-"


def clean_up(settings: Settings, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None:
    """Remove a job's scratch, what it staged beside ``targets`` or in them, and what is kept under ``keys``.

    With ``artifacts`` also its own folder of them.
    What can't be removed (a disk that became read-only) stays: the job ends all the same.
    """
    paths = [Path(target) for target in targets if not is_object_uri(target)]
    folders = {folder for path in paths for folder in (path, path.parent)}
    folders |= _noted_staging(notes_of(settings, job_id))
    for folder in (scratch_of(settings, job_id), notes_of(settings, job_id)):
        shutil.rmtree(folder, ignore_errors=True)
    kept_work(settings).discard(keys)
    for folder in folders:
        try:
            remove_staged(folder, tag_of(job_id))
        except OSError as error:
            _log.warning("what job %s staged in %s can't be removed: %s", job_id, folder, error.strerror)
    if artifacts:
        shutil.rmtree(settings.home / "artifacts" / job_id, ignore_errors=True)


def note_staging(notes: Path, folders: set[Path]) -> None:
    """Note where a join is about to stage: should it not come to an end, that is to be removed."""
    notes.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(notes / _STAGING, json.dumps(sorted(map(str, folders))))


def _noted_staging(notes: Path) -> set[Path]:
    try:
        return set(map(Path, json.loads((notes / _STAGING).read_text())))
    except (OSError, ValueError):
        return set()


def sweep_kept(settings: Settings) -> None:
    """Forget what was kept for retries that didn't come, what was fetched and isn't used any more, killed uploads."""
    kept_work(settings).sweep(settings.kept_days * _DAY_S)
    sweep_fetched(Home(settings.home).fetched, settings.kept_days * _DAY_S)
    if (objects := current_roots(settings).objects) is not None:
        try:
            sweep_staged(objects, time.time() - _UPLOAD_DAYS * _DAY_S)
        except StorageError as error:
            _log.warning("what killed uploads left can't be removed: %s", error.message)


def sweep_scratch(settings: Settings, active: set[str]) -> None:
    """Remove the scratch of jobs that aren't active any more."""
    for root in (Home(settings.home).scratch, Home(settings.home).notes):
        for folder in root.iterdir() if root.is_dir() else ():
            if folder.name not in active:
                shutil.rmtree(folder, ignore_errors=True)
