"""An import that goes on after its driver was killed: what it tells, and how often it tries what fails."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.bulk.desk import Desk, HereAndNow, settle

from cluster import identity
from cluster.errors import StorageError
from pipelines.bulk.driving import MOST_ATTEMPTS, RUN
from pipelines.bulk.importing import seen_in
from pipelines.bulk.operations import collection_import
from pipelines.bulk.operations.collection_import import OPERATION, ImportResult
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Unit
from pipelines.jobs.workbench import Workbench


@pytest.fixture
def library(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures that nobody writes any more, each of which is a batch of its own."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    monkeypatch.setattr(collection_import, "_BATCH", 1)
    for number in range(4):
        (desk.library / f"{number}.png").write_bytes(bytes([number]) * 100)
    settle(desk.library)
    return desk.library


def run(bench: Workbench, runner: HereAndNow) -> ImportResult:
    result = OPERATION.run(bench, Unit(name=RUN), runner)
    assert isinstance(result, ImportResult)
    return result


def told(result: ImportResult) -> tuple[int, int, int, int]:
    return result.files, result.new, result.changed, result.missing


class KilledBetweenTries(HereAndNow):
    def pause(self, seconds: float) -> None:
        raise UnitDroppedError


def test_what_an_earlier_driver_of_the_job_read_is_told_as_the_job_s(desk, library):
    desk.do(OPERATION, library, into="all")
    (library / "0.png").write_bytes(b"another")
    (library / "1.png").unlink()
    (library / "4.png").write_bytes(b"new")
    (library / "5.png").write_bytes(b"new, too")
    settle(library)
    bench = desk.begin(OPERATION, library, into="all")
    with pytest.raises(UnitDroppedError):
        run(bench, HereAndNow(OPERATION, bench, most=2))
    rest = HereAndNow(OPERATION, bench)
    assert told(run(bench, rest)) == (5, 2, 3, 1)
    assert sum(rest.sizes) == 3


def test_what_an_earlier_driver_told_to_be_missing_is_told(desk, library, monkeypatch):
    desk.do(OPERATION, library, into="all")
    (library / "1.png").unlink()
    bench = desk.begin(OPERATION, library, into="all")

    def killed(*_: Any) -> None:
        raise UnitDroppedError

    with monkeypatch.context() as patched:
        patched.setattr(collection_import, "note_imported", killed)
        with pytest.raises(UnitDroppedError):
            run(bench, HereAndNow(OPERATION, bench))
    assert told(run(bench, HereAndNow(OPERATION, bench))) == (3, 0, 0, 1)
    assert told(desk.do(OPERATION, library, into="all").result) == (3, 0, 0, 0)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened; none can be: of those with an odd number the store doesn't answer."""
    opened: Counter[str] = Counter()

    def refuse(uri: str, _: object) -> Any:
        opened[Path(uri).name] += 1
        code = "storage_unavailable" if int(Path(uri).stem) % 2 else "source_unreadable"
        raise StorageError(code, "It can't be had.")

    monkeypatch.setattr(collection_import, "open_source", refuse)
    return opened


def test_no_file_is_tried_more_than_three_times_by_drivers_of_a_job(desk, library, refused):
    bench = desk.begin(OPERATION, library, into="all")
    for _ in range(2):
        with pytest.raises(UnitDroppedError):
            run(bench, KilledBetweenTries(OPERATION, bench))
    last = HereAndNow(OPERATION, bench)
    assert run(bench, last).unreadable == 4
    assert refused == {"0.png": 1, "1.png": MOST_ATTEMPTS, "2.png": 1, "3.png": MOST_ATTEMPTS}
    rows = desk.collection().files.read(("path", "state", "code")).to_pylist()
    assert {row["path"]: (row["state"], row["code"]) for row in rows}["1.png"] == ("unreadable", "storage_unavailable")


def test_the_next_job_tries_them_anew(desk, library, refused):
    for tries in (1, 2):
        desk.do(OPERATION, library, into="all")
        assert refused["0.png"] == tries


def test_what_is_imported_by_another_job_meanwhile_is_read_by_neither_twice(desk, library):
    bench = desk.begin(OPERATION, library, into="all")
    with pytest.raises(UnitDroppedError):
        run(bench, HereAndNow(OPERATION, bench, most=1))
    desk.do(OPERATION, library, into="all")
    rest = HereAndNow(OPERATION, bench)
    assert run(bench, rest).unreadable == 0
    assert rest.sizes == []


def test_a_batch_is_done_twice_with_the_same_rows(desk, library):
    bench = desk.begin(OPERATION, library, into="all")
    seen = next(seen_in(bench, desk.collection(), frozenset({"image"})))
    [row] = collection_import._listed([seen], {}).to_pylist()
    unit = Unit(name="batch", payload={"rows": [row], "into": "all", "attempts": 1})
    assert OPERATION.run(bench, unit) == OPERATION.run(bench, unit)
    assert desk.collection().files.read()["uri"].to_pylist() == [str(library / "0.png")]
