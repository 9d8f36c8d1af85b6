"""Backups made by the clock, beside the dispatcher: each by a process of its own, and the oldest ones go."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from cluster.backup_file import MAKING, PART
from cluster.home import Home, write_private
from cluster.settings import Settings
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import WorkerConfig
from serve.backup import time_of
from serve.views import BackupHealth

_AGAIN_S = 900.0  # after one that failed
_LEFT_S = 86_400.0  # an unfinished file that is older is of nobody who is at it
_NICE = 19
_log = logging.getLogger("mediaray.backup")


class _Note(BaseModel):
    """The last backup that there is, and why the last attempt failed, if it did."""

    model_config = ConfigDict(frozen=True)

    last: str | None = None
    last_at: datetime | None = None
    last_size_bytes: int | None = None
    error: str | None = None


async def run(config: WorkerConfig, _catalogue: Catalogue) -> None:
    """Make backups as the settings say, until it is cancelled."""
    settings = config.settings
    if settings.backup_every_h is None:
        await asyncio.Event().wait()
        return
    folder = folder_of(settings)
    # In threads: a share that hangs stops nobody else here. The folder may have backups that nobody has noted.
    await asyncio.to_thread(lambda: _note(settings, folder, _noted(settings).error))
    while True:
        due_s = await asyncio.to_thread(due_in_s, folder, settings.backup_every_h, datetime.now(UTC))
        await asyncio.sleep(due_s)
        error = await _make(settings, folder)
        await asyncio.to_thread(_note, settings, folder, error)
        if error is None:
            await asyncio.to_thread(forget_old, folder, settings.backup_keep)
        else:
            _log.warning("the backup failed: %s", error)
            await asyncio.sleep(min(_AGAIN_S, settings.backup_every_h * 3600))


def folder_of(settings: Settings) -> Path:
    """Where backups go that the clock makes."""
    return settings.backup_folder or settings.home / "backups"


def due_in_s(folder: Path, every_h: float, now: datetime) -> float:
    """When the next one is due: at once, where there is none, or none of late."""
    made = _made(folder)
    since_s = (now - made[-1][0]).total_seconds() if made else float("inf")
    return min(max(0.0, every_h * 3600 - since_s), every_h * 3600)  # by a clock that was set back no later than this


def forget_old(folder: Path, keep: int) -> None:
    """Remove all but the newest, and what was left half-made; nothing of another name."""
    for _, file in _made(folder)[:-keep]:
        file.unlink(missing_ok=True)
    for file in folder.glob(f"{MAKING}*{PART}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _LEFT_S:
                file.unlink()


def backup_health(settings: Settings, now: datetime) -> BackupHealth | None:
    """How it goes; None where none are wanted. Reads nothing but a note: the folder may be on a share that hangs."""
    if settings.backup_every_h is None:
        return None
    note = _noted(settings)
    overdue = note.last_at is not None and _is_old(note.last_at, settings.backup_every_h, now)
    state = "failed" if note.error else "overdue" if overdue else "waiting" if note.last_at is None else "ok"
    told = note.model_dump(mode="json")
    return BackupHealth(state=state, folder=str(folder_of(settings)), every_h=settings.backup_every_h, **told)


def is_backup_old(settings: Settings, now: datetime) -> bool:
    """Whether the clock should have made a newer one, or any: what MediarayBackupOld is about."""
    if settings.backup_every_h is None:
        return False
    last_at = _noted(settings).last_at
    return last_at is None or _is_old(last_at, settings.backup_every_h, now)


def _is_old(last_at: datetime, every_h: float, now: datetime) -> bool:
    return (now - last_at).total_seconds() > 2 * every_h * 3600 + _AGAIN_S


def _noted(settings: Settings) -> _Note:
    with contextlib.suppress(OSError, ValueError):
        return _Note.model_validate_json(_note_file(settings).read_text())
    return _Note()


def _note(settings: Settings, folder: Path, error: str | None) -> None:
    made = _made(folder)
    last_at, last = made[-1] if made else (None, None)
    size_bytes = last.stat().st_size if last else None
    told = _Note(last=str(last) if last else None, last_at=last_at, last_size_bytes=size_bytes, error=error)
    write_private(_note_file(settings), told.model_dump_json())


def _made(folder: Path) -> list[tuple[datetime, Path]]:
    """The backups there are that nobody named, the oldest first."""
    return sorted((at, file) for file in folder.glob("*.zip") if (at := time_of(file.name)) is not None)


async def _make(settings: Settings, folder: Path) -> str | None:
    """Make one, as the command does; what went wrong, if anything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDIARAY_")}
    environment["MEDIARAY_HOME"] = str(settings.home)
    if settings.redis_url is not None:
        environment["MEDIARAY_REDIS_URL"] = settings.redis_url.get_secret_value()
    python = [sys.executable, "-I", "-m"]
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
        process = await asyncio.create_subprocess_exec(
            *[*python, "cluster.tether", str(os.getpid()), *python, "serve.cli.app", "backup", str(folder), "--json"],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=settings.home,
            env=environment,
        )
    except OSError as error:
        return f"{folder}: {error.strerror}"
    with contextlib.suppress(psutil.Error):
        psutil.Process(process.pid).nice(_NICE)
    try:
        told, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    return _failure(told, process.returncode)


def _failure(told: bytes, exit_code: int | None) -> str | None:
    document: Any = {}
    with contextlib.suppress(ValueError):
        document = json.loads(told)
    if exit_code == 0:
        return None
    return str(document.get("error", {}).get("message") or f"it ended with {exit_code}")


def _note_file(settings: Settings) -> Path:
    return Home(settings.home).run / "backup.json"
