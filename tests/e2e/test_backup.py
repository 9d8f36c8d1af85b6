"""Backups that the clock makes, told by the server's health."""

from pathlib import Path
from typing import Any

import pytest
from live_server import live_server, until

from serve.backup import time_of, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def health(server: Any) -> dict[str, Any]:
    told: dict[str, Any] = server.get("/v1/health").json()
    return told


def test_backups_are_made_by_the_clock_and_the_oldest_go(folder):
    wanted = {"MEDIARAY_BACKUP_EVERY_H": "0.0005", "MEDIARAY_BACKUP_KEEP": "2", "MEDIARAY_BACKUP_FOLDER": str(folder)}
    with live_server(**wanted) as server:
        seen: set[str] = set()

        def several() -> bool:
            backup = health(server)["backup"]
            seen.update([backup["last"]] if backup["last"] else [])
            return len(seen) > 3

        until(several, 120, server.story)
        assert health(server)["checks"]["backup"] == "ok"
        until(lambda: len(list(folder.iterdir())) == 2, 30, server.story)
    newest = max(folder.glob("*.zip"), key=lambda file: file.name)
    assert time_of(newest.name) is not None
    assert verify(newest, lambda *_: None).jobs == {}


def test_a_backup_that_fails_is_told(folder):
    folder.write_text("a file is in the way")
    with live_server(MEDIARAY_BACKUP_EVERY_H="24", MEDIARAY_BACKUP_FOLDER=str(folder)) as server:
        until(lambda: health(server)["checks"].get("backup") == "failed", 60, server.story)
        assert health(server)["status"] == "degraded"
        assert str(folder) in health(server)["backup"]["error"]
