import asyncio
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import WorkerConfig
from serve.backup import name_for
from serve.scheduled_backups import _failure, _note, backup_health, due_in_s, forget_old, is_backup_old, run

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOUR_S = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    Home.create(tmp_path / "home")
    return Settings(home=tmp_path / "home", backup_every_h=24, backup_folder=tmp_path / "backups")


@pytest.fixture
def folder(settings: Settings) -> Path:
    assert settings.backup_folder is not None
    settings.backup_folder.mkdir()
    return settings.backup_folder


def made(folder: Path, *ages_h: float) -> list[Path]:
    files = [folder / name_for(NOW - timedelta(hours=age)) for age in ages_h]
    for file in files:
        file.write_bytes(b"backup")
    return files


def test_the_first_is_due_at_once(folder):
    assert due_in_s(folder, 24, NOW) == 0


def test_the_next_is_due_so_long_after_the_newest(folder):
    made(folder, 30, 1)
    assert due_in_s(folder, 24, NOW) == 23 * HOUR_S


def test_one_that_is_late_is_due_at_once(folder):
    made(folder, 30)
    assert due_in_s(folder, 24, NOW) == 0


def test_a_clock_that_was_set_back_delays_none_for_longer_than_usual(folder):
    made(folder, -1000)
    assert due_in_s(folder, 24, NOW) == 24 * HOUR_S


def test_the_newest_stay_and_what_has_another_name(folder):
    old, *kept = made(folder, 5, 3, 1)
    other = folder / "mediaray-before-upgrade.zip"
    other.write_bytes(b"mine")
    forget_old(folder, 2)
    assert not old.exists()
    assert all(each.exists() for each in (*kept, other))


def test_what_was_left_half_made_goes_once_nobody_can_be_at_it(folder):
    left, fresh = folder / ".mediaray-backup-a.mediaray-part", folder / ".mediaray-backup-b.mediaray-part"
    for file in (left, fresh):
        file.write_bytes(b"half")
    before = time.time() - 2 * 86_400
    os.utime(left, (before, before))
    forget_old(folder, 2)
    assert (left.exists(), fresh.exists()) == (False, True)


def test_health_says_nothing_where_none_are_wanted(tmp_path):
    assert backup_health(Settings(home=tmp_path), NOW) is None


def state(settings: Settings, now: datetime = NOW) -> str:
    health = backup_health(settings, now)
    assert health is not None
    return health.state


def test_health_tells_how_it_goes(settings, folder):
    assert state(settings) == "waiting"
    (file,) = made(folder, 1)
    _note(settings, folder, None)
    health = backup_health(settings, NOW)
    assert health is not None
    assert (health.state, health.last, health.last_at, health.last_size_bytes) == (
        "ok",
        str(file),
        "2026-03-04T04:06:07Z",
        6,
    )
    assert state(settings, NOW + timedelta(hours=60)) == "overdue"
    _note(settings, folder, "No space left.")
    assert (state(settings), backup_health(settings, NOW).error) == ("failed", "No space left.")  # type: ignore[union-attr]


def test_the_last_backup_is_old_after_two_intervals_whatever_the_last_attempt_came_to(settings, folder):
    assert is_backup_old(settings, NOW)  # there is none
    made(folder, 1)
    _note(settings, folder, None)
    assert not is_backup_old(settings, NOW)
    _note(settings, folder, "No space left.")
    assert not is_backup_old(settings, NOW)
    assert is_backup_old(settings, NOW + timedelta(hours=60))


def test_backups_that_are_there_already_are_noted_before_the_next_is_due(settings, folder, monkeypatch):
    """As in a home that was restored: by its own note there would be none until then."""
    made(folder, 1)

    async def stop(_: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("serve.scheduled_backups.asyncio.sleep", stop)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run(WorkerConfig(settings, "redis://jobs", "redis://cache"), Catalogue({}, {})))
    health = backup_health(settings, NOW)
    assert health is not None
    assert health.last is not None


def test_where_the_clock_makes_no_backups_none_is_old(settings):
    assert not is_backup_old(settings.model_copy(update={"backup_every_h": None}), NOW)


def test_a_damaged_note_is_none(settings, folder):
    (settings.home / "run" / "backup.json").write_text("{")
    assert state(settings) == "waiting"


@pytest.mark.parametrize(
    ("told", "exit_code", "failure"),
    [
        (json.dumps({"path": "/backups/a.zip"}).encode(), 0, None),
        (json.dumps({"error": {"code": "disk_full", "message": "No space left."}}).encode(), 1, "No space left."),
        (b"", -9, "it ended with -9"),
    ],
)
def test_what_went_wrong_is_what_the_command_said(told, exit_code, failure):
    assert _failure(told, exit_code) == failure
