"""Batches as a driver asks for them: one that fails is halved down to the row that is to blame."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import StorageError
from pipelines.bulk.collection import RESULTS
from pipelines.bulk.streaming import ROWS, Batching, BatchMapper
from pipelines.bulk.tables import AT, Table
from pipelines.jobs.errors import UnitDroppedError, told_error
from pipelines.jobs.models import Needs, Unit
from pipelines.jobs.orders import UnitReport

ROWS_ASKED = pa.table({"identity": ["a", "b", "c", "d"]})


class Dispatcher:
    """Has a batch done, unless ``goes_wrong`` tells how it went."""

    fence = 7

    def __init__(
        self, table: Table, goes_wrong: Callable[[Sequence[str]], UnitReport | None], each_s: float | None = None
    ) -> None:
        self._table = table
        self._goes_wrong = goes_wrong
        self._each_s = each_s
        self.asked: list[list[str]] = []
        self.expected_s: list[float] = []

    def do(self, batch: Unit) -> UnitReport:
        keys = [row["identity"] for row in batch.payload[ROWS]]
        self.asked.append(keys)
        self.expected_s.append(batch.needs.seconds)
        report = self._goes_wrong(keys)
        if report is None:
            rows = [{"identity": key, "state": "done", AT: datetime.now(UTC)} for key in keys]
            self._table.append(batch.name, pa.Table.from_pylist(rows, RESULTS))
        return report or UnitReport("done", took_s=self._each_s and self._each_s * len(keys))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table", RESULTS, "identity")


def mapper(table: Table, dispatcher: Any) -> BatchMapper:
    return BatchMapper(Batching(table, "identity", 4, Needs(), "failed", {}), dispatcher, datetime.now(UTC), 2)


def test_a_batch_that_fails_is_halved_down_to_the_row_that_is_to_blame(table):
    crash = UnitReport("failed", told_error("child_crashed", "It crashed."))
    dispatcher = Dispatcher(table, lambda keys: crash if "c" in keys else None)
    told = mapper(table, dispatcher)(ROWS_ASKED).to_pylist()
    assert dispatcher.asked == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]
    assert {row["identity"]: row["code"] for row in told} == {"a": None, "b": None, "c": "child_crashed", "d": None}


def test_what_was_packed_with_other_batches_is_told_all_the_same(table):
    batching = Batching(table, "identity", 4, Needs(), "failed", {})
    for keys in (["a", "b"], ["c"]):
        mapper(table, Dispatcher(table, lambda _: None))(pa.table({"identity": keys}))
    table.pack()
    told = batching.told("batch-that-was-packed", ["a", "c"])["identity"].to_pylist()
    assert sorted(told) == ["a", "c"]


def test_a_full_disk_is_no_row_s_fault(table):
    full = UnitReport("failed", told_error("disk_full", "No space left."))
    dispatcher = Dispatcher(table, lambda _: full)
    with pytest.raises(StorageError) as ended:
        mapper(table, dispatcher)(ROWS_ASKED)
    assert ended.value.code == "disk_full"
    assert len(dispatcher.asked) == 1
    assert not len(table.read())


@pytest.mark.parametrize("code", ["storage_unavailable", "output_not_writable"])
def test_what_is_wrong_with_a_place_is_told_of_all_rows_at_once_and_kept_of_none(table, tmp_path, code):
    away = UnitReport("failed", told_error(code, "It doesn't answer."))
    dispatcher, aside = Dispatcher(table, lambda _: away), Table(tmp_path / "aside", RESULTS, "identity")
    batching = Batching(table, "identity", 4, Needs(), "failed", {}, aside)
    told = BatchMapper(batching, dispatcher, datetime.now(UTC), 2)(ROWS_ASKED).to_pylist()
    assert dispatcher.asked == [["a", "b", "c", "d"]]
    assert {row["identity"]: row["code"] for row in told} == dict.fromkeys("abcd", code)
    assert (len(table.read()), len(aside.read())) == (0, 4)


def test_a_driver_that_was_taken_away_asks_no_more(table):
    dispatcher = Dispatcher(table, lambda _: UnitReport("dropped"))
    with pytest.raises(UnitDroppedError):
        mapper(table, dispatcher)(ROWS_ASKED)
    assert len(dispatcher.asked) == 1


def test_batches_grow_to_some_seconds_where_rows_are_faster_than_estimated(table):
    dispatcher = Dispatcher(table, lambda _: None, each_s=0.1)
    keys = [f"{number:03d}" for number in range(120)]
    told = mapper(table, dispatcher)(pa.table({"identity": keys}))
    sizes = [len(each) for each in dispatcher.asked]
    assert sizes[0] == 4
    assert sizes[-2] >= 20
    assert [key for each in dispatcher.asked for key in each] == keys
    assert sorted(told["identity"].to_pylist()) == keys
    assert dispatcher.expected_s[-2] == pytest.approx(3.0, rel=0.3)


def test_what_a_process_had_done_that_was_killed_isn_t_done_again(table, monkeypatch):
    began = datetime.now(UTC)
    first = mapper(table, Dispatcher(table, lambda _: None))
    first(pa.table({"identity": ["a", "b"]}))
    monkeypatch.setattr("pipelines.bulk.streaming._started_anew", lambda: True)
    dispatcher = Dispatcher(table, lambda _: None)
    again = BatchMapper(Batching(table, "identity", 4, Needs(), "failed", {}), dispatcher, began, 2)
    assert sorted(again(ROWS_ASKED)["identity"].to_pylist()) == ["a", "b", "c", "d"]
    assert dispatcher.asked == [["c", "d"]]
    assert again(pa.table({"identity": ["a"]})).to_pylist() == [{"identity": "a", "state": "done", "code": None}]
    assert len(dispatcher.asked) == 1
