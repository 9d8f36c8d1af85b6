"""Cleanups that are killed, cancelled, carried on and brought back; and what is removed for good."""

import json
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from unit.pipelines.bulk.desk import HereAndNow, report
from unit.pipelines.bulk.mixed import listed, mixed_library, names
from unit.pipelines.bulk.test_trash import rows_of, state_of

from pipelines.bulk import trash
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_cleanup import OPERATION, Params
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.jobs.models import Unit
from pipelines.jobs.workbench import Workbench


@pytest.fixture
def library(desk, imported) -> Path:
    return mixed_library(desk, imported)


def broken_off(desk, monkeypatch, *what: str) -> Workbench:
    """A cleanup that was cancelled after its first file went; its place."""
    return killed_at_the_second(desk, monkeypatch, os, "rename", what=what)


def killed_at_the_second(desk, monkeypatch, where: ModuleType | type, step: str, **params: Any) -> Workbench:
    """A job that ends where it takes a step for the second time; its place."""
    real, count = getattr(where, step), 0

    def taken(*given: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(*given, **named)

    bench = desk.begin(OPERATION, "collection:all", dry_run=False, **params)
    with monkeypatch.context() as patched:
        patched.setattr(where, step, taken)
        with pytest.raises(KeyboardInterrupt):
            OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    return bench


COPIES = ("broken", "duplicates", "similar")


def test_a_run_that_was_killed_is_carried_on_by_the_same_job(desk, library, monkeypatch):
    dry = listed(desk, *COPIES)
    bench = broken_off(desk, monkeypatch, *COPIES)
    result = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.paths, result.unfinished) == (len(dry), 0)
    assert not any(Path(path).exists() for path in dry)


def test_a_cleanup_that_was_cancelled_is_not_carried_on_by_the_next(desk, library, monkeypatch):
    dry = listed(desk, *COPIES)
    broken_off(desk, monkeypatch, *COPIES)
    there = [path for path in dry if Path(path).exists()]
    assert len(there) == len(dry) - 1
    outcome = desk.do(OPERATION, "collection:all", what=("missing",), dry_run=False)
    assert names({row["path"]: row["what"] for row in report(outcome, "cleanup.jsonl")}) == {"gone.png": "missing"}
    assert "Broken off while files went: 1 cleanup;" in outcome.warnings[0]
    assert [path for path in dry if Path(path).exists()] == there


def test_a_cleanup_that_was_cancelled_is_carried_on_if_that_is_asked_for(desk, library, monkeypatch):
    dry = listed(desk, *COPIES)
    broken_off(desk, monkeypatch, *COPIES)
    there = [path for path in dry if Path(path).exists()]
    assert list(listed(desk, finish=True)) == there
    assert [path for path in dry if Path(path).exists()] == there
    listed(desk, finish=True, dry_run=False)
    assert not any(Path(path).exists() for path in dry)
    assert desk.do(OPERATION, "collection:all").result.unfinished == 0


def test_a_cleanup_that_was_cancelled_is_brought_back_if_that_is_asked_for(desk, library, monkeypatch):
    before, rows = state_of(desk.library), rows_of(desk.collection())
    broken_off(desk, monkeypatch, *COPIES)
    assert len(listed(desk, restore=True, dry_run=False)) == 1
    assert (state_of(desk.library), rows_of(desk.collection())) == (before, rows)
    assert desk.do(OPERATION, "collection:all").result.unfinished == 0


def test_a_restore_that_was_killed_tells_of_all_that_came_back(desk, library, monkeypatch):
    gone = listed(desk, *COPIES, dry_run=False)
    bench = killed_at_the_second(desk, monkeypatch, trash, "move_back", restore=True)
    assert len([path for path in gone if Path(path).exists()]) == 1
    result = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.paths, result.kept) == (len(gone), 0)
    assert all(Path(path).exists() for path in gone)


def test_of_one_path_that_went_twice_what_came_back_before_a_kill_is_told(desk, library, monkeypatch):
    (library / "sub").mkdir()
    copy = library / "sub" / "3x.png"
    for _ in range(2):
        shutil.copy(library / "3.png", copy)
        desk.do(IMPORT, library, into="all")
        assert str(copy) in listed(desk, "duplicates", dry_run=False)
    bench = killed_at_the_second(desk, monkeypatch, trash.Trash, "restore", restore=True)
    assert copy.exists()
    OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    told = [json.loads(line)["path"] for line in (bench.scratch / "cleanup.jsonl").read_text().splitlines()]
    left = [json.loads(line)["path"] for line in (bench.scratch / "kept.jsonl").read_text().splitlines()]
    assert (told.count(str(copy)), left) == (1, [str(copy)])


def test_the_trash_is_emptied_only_on_request_and_by_age(desk, library):
    listed(desk, "broken", dry_run=False)
    assert listed(desk, empty_days=1, dry_run=False) == {}
    assert names(listed(desk, empty_days=0, dry_run=False)) == {"broken.png": "broken"}
    assert listed(desk, restore=True, dry_run=False) == {}
    assert [path for path in (desk.home / "trash").rglob("*") if path.is_file()] == []


def test_what_would_be_removed_for_good_or_come_back_is_only_listed_by_default(desk, library):
    listed(desk, "broken", dry_run=False)
    before = state_of(desk.home / "trash"), state_of(library)
    assert names(listed(desk, empty_days=0)) == {"broken.png": "broken"}
    assert names(listed(desk, restore=True)) == {"broken.png": "broken"}
    assert desk.do(OPERATION, "collection:all", empty_days=0).result.action == "listed"
    assert (state_of(desk.home / "trash"), state_of(library)) == before


def test_only_what_lay_in_a_folder_is_removed_for_good_or_comes_back(desk, library):
    (library / "sub").mkdir()
    shutil.copy(library / "3.png", library / "sub" / "3x.png")
    desk.do(IMPORT, library, into="all")
    assert len(listed(desk, "duplicates", dry_run=False)) == 2
    sub = str(library / "sub")
    assert names(listed(desk, restore=True, folder=sub, dry_run=False)) == {"3x.png": "duplicates"}
    assert listed(desk, empty_days=0, folder=sub, dry_run=False) == {}
    assert names(listed(desk, empty_days=0, folder=str(library), dry_run=False)) == {"1x.png": "duplicates"}


@pytest.mark.parametrize("two", [{"restore": True, "empty_days": 3}, {"finish": True, "restore": True}])
def test_two_at_once_make_no_sense(two):
    with pytest.raises(ValueError, match="one of restore, finish and empty_days"):
        Params(**two)
