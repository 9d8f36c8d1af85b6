"""What the driver of a bulk job does: rows that may do better are tried again, three times in all."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.bulk.collection import RESULTS
from pipelines.bulk.driving import ATTEMPTS, have_all_done
from pipelines.bulk.operations.collection_export import OPERATION as EXPORT
from pipelines.bulk.operations.collection_process import OPERATION
from pipelines.bulk.streaming import Batching, Runner
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.view import CollectionView
from pipelines.jobs.driver import Driver
from pipelines.jobs.models import Needs

KEYS = pa.table({"identity": ["a", "b", "c"]})


class Scripted(Runner):
    """``code_of`` tells with which code a row fails in a try, or None where it is done."""

    def __init__(self, code_of: Callable[[str, int], str | None]) -> None:
        self._code_of = code_of
        self.tried: list[tuple[int, list[str]]] = []
        self.pauses: list[float] = []

    def stream(
        self, _listing: Path, rows: pa.Table, batching: Batching, _driver: Driver, _slots: int
    ) -> Iterator[pa.Table]:
        attempt, keys = batching.common[ATTEMPTS], rows["identity"].to_pylist()
        self.tried.append((attempt, keys))
        codes = [self._code_of(key, attempt) for key in keys]
        told = [
            {"identity": key, "state": "failed" if code else "done", "code": code, AT: datetime.now(UTC)}
            for key, code in zip(keys, codes, strict=True)
        ]
        batching.table.append(f"try-{attempt}", pa.Table.from_pylist(told, RESULTS))
        yield batching.told(f"try-{attempt}", keys)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def drive(desk) -> Callable[..., Scripted]:
    def do(code_of: Callable[[str, int], str | None], **params: Any) -> Scripted:
        runner = Scripted(code_of)
        table = Table(desk.folder / "table", RESULTS, "identity")
        bench = desk.begin(OPERATION, "collection:all", task="image-thumbnails")
        have_all_done(bench, KEYS, Batching(table, "identity", 4, Needs(), "failed", {}), runner, **params)
        return runner

    return do


def test_a_row_whose_work_failed_is_tried_three_times_after_longer_pauses(drive):
    runner = drive(lambda key, _: "child_crashed" if key == "b" else None)
    assert runner.tried == [(1, ["a", "b", "c"]), (2, ["b"]), (3, ["b"])]
    assert runner.pauses[0] < runner.pauses[1]


def test_one_that_does_better_isn_t_tried_again(drive):
    runner = drive(lambda key, attempt: "internal" if (key, attempt) == ("c", 1) else None)
    assert runner.tried == [(1, ["a", "b", "c"]), (2, ["c"])]


def test_a_file_s_own_fault_isn_t_tried_again(drive):
    runner = drive(lambda _key, _: "source_unreadable")
    assert runner.tried == [(1, ["a", "b", "c"])]
    assert not runner.pauses


def test_rows_go_on_from_the_try_that_an_earlier_driver_came_to(drive):
    runner = drive(lambda _key, _: "child_crashed", tried={"a": 2, "c": 1})
    assert runner.tried == [(1, ["b"]), (2, ["b", "c"]), (3, ["a", "b", "c"])]


class OneByOne(Runner):
    """A batch for each row, each of which is done; ``at_once`` are told of together, as of a block."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once

    def stream(
        self, _listing: Path, rows: pa.Table, batching: Batching, _driver: Driver, _slots: int
    ) -> Iterator[pa.Table]:
        told = []
        for key in rows["identity"].to_pylist():
            done = {"identity": key, "state": "done", AT: datetime.now(UTC)}
            batching.table.append(f"batch-{key}", pa.Table.from_pylist([done], RESULTS))
            told.append(batching.told(f"batch-{key}", [key]))
            if len(told) == self._at_once:
                yield pa.concat_tables(told)
                told = []


@pytest.mark.parametrize("at_once", [1, 100])
def test_many_batches_of_few_rows_leave_few_parts(desk, at_once):
    table = Table(desk.folder / "table", RESULTS, "identity")
    bench = desk.begin(OPERATION, "collection:all", task="image-thumbnails")
    rows = pa.table({"identity": [f"{number:03d}" for number in range(300)]})
    have_all_done(bench, rows, Batching(table, "identity", 1, Needs(), "failed", {}), OneByOne(at_once))
    assert len(list((desk.folder / "table").iterdir())) < 100
    assert sorted(table.read(("identity",))["identity"].to_pylist()) == rows["identity"].to_pylist()


def test_progress_never_goes_back_over_one_and_ends_there(drive, desk):
    drive(lambda key, attempt: "internal" if (key, attempt) == ("c", 1) else None)
    assert desk.told[-1] == 1.0
    assert all(0 <= each <= 1 for each in desk.told)


@pytest.mark.parametrize("exports", [True, False])
def test_a_plan_that_a_caller_waits_for_takes_no_longer_than_a_query(desk, imported, monkeypatch, exports):
    (desk.library / "notes.txt").write_text("notes")
    imported()
    limits, real = [], CollectionView._told

    def told(view: CollectionView, statement: str, limit_s: float) -> pa.Table:
        limits.append(limit_s)
        return real(view, statement, limit_s)

    monkeypatch.setattr(CollectionView, "_told", told)
    operation, params = (EXPORT, {"output": str(desk.out)}) if exports else (OPERATION, {"task": "image-thumbnails"})
    bench = desk.begin(operation, "collection:all", where="kind = 'image'", **params)
    operation.plan(bench)
    bench.driver = Driver("", "plan", 0)
    operation.plan(bench)
    assert limits == [600.0, 30.0]
