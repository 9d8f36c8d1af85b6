"""What is told as broken, missing or left over: in doubt, a file and its row stay."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.bulk.desk import report
from unit.pipelines.bulk.mixed import listed, mixed_library

from cluster.errors import StorageError
from pipelines.bulk.operations.collection_cleanup import OPERATION
from pipelines.bulk.trash import Trash


@pytest.fixture
def library(desk, imported) -> Path:
    return mixed_library(desk, imported)


def moved_away(library: Path) -> None:
    """As a disk that isn't mounted: its folder is there, and empty."""
    library.rename(library.with_name("elsewhere"))
    library.mkdir()


def test_rows_of_a_disk_that_isn_t_mounted_stay(desk, library, imported):
    moved_away(library)
    imported()
    outcome = desk.do(OPERATION, "collection:all", what=("missing", "orphaned"))
    assert report(outcome, "cleanup.jsonl") == []
    assert "isn't mounted" in report(outcome, "kept.jsonl")[0]["why"]
    every = listed(desk, "missing", gone_folders=True)
    assert set(every.values()) == {"missing"}
    assert len(every) > 5


def test_what_can_t_be_put_into_a_trash_isn_t_listed(desk, library, monkeypatch):
    def place(_: Any, _run: str, folder: Path) -> Path:
        raise StorageError("output_not_writable", f"{folder} has no place for it.")

    monkeypatch.setattr(Trash, "place", place)
    outcome = desk.do(OPERATION, "collection:all", what=("broken",))
    assert report(outcome, "cleanup.jsonl") == []
    assert "no place for it" in report(outcome, "kept.jsonl")[0]["why"]


def test_a_link_is_told_as_what_it_is(desk, library, imported):
    shutil.copy2(library / "1.png", library / ".not-imported.png")
    (library / "link.png").symlink_to(library / ".not-imported.png")
    imported()
    outcome = desk.do(OPERATION, "collection:all", what=("duplicates",))
    (why,) = [row["why"] for row in report(outcome, "kept.jsonl") if row["path"].endswith("link.png")]
    assert "It is a link" in why
