"""Films of a collection are carried out unit by unit, as jobs of them would be; what is done stays done."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pytest
from clips import make_clip
from unit.pipelines.bulk.desk import Desk, settle

from cluster.errors import ChildFailedError
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_process import OPERATION, ProcessResult
from pipelines.bulk.streaming import Batching, BatchMapper, Runner
from pipelines.bulk.tasks import task_of
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import UnitDroppedError, job_error, told_error
from pipelines.jobs.models import Unit
from pipelines.jobs.orders import UnitReport
from pipelines.jobs.workbench import Workbench

PARAMS: dict[str, Any] = {"profile": "mobile-480p", "chunk_s": 1}


class Cluster(Runner):
    """Does units in the place of a job, one at a time, and notes what a store would; each driver has a fence."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._numbers = count(1)
        self.fence = 0
        self.done: dict[str, Any] = {}
        self.begun: list[str] = []
        self.forgotten: list[str] = []
        self.fails: dict[str, UnitReport] = {}
        self.most: int | None = None  # so many units, and then the driver is taken away

    def stream(
        self, _listing: Path, rows: pa.Table, batching: Batching, _driver: Driver, _slots: int
    ) -> Iterator[pa.Table]:
        self.fence += 1
        mapper = BatchMapper(batching, self, datetime.now(UTC), 2)  # type: ignore[arg-type]
        for number in range(len(rows)):
            yield mapper(rows.slice(number, 1))

    def pause(self, _seconds: float) -> None: ...

    def do(self, unit: Unit) -> UnitReport:
        with self._lock:
            if unit.name in self.done:
                return UnitReport("done")
            if self.most is not None and len(self.begun) >= self.most:
                return UnitReport("dropped")
            self.begun.append(unit.name)
            for ending, report in self.fails.items():
                if unit.name.endswith(ending):
                    return report
            scratch = self._bench.scratch.parent / f"{unit.name}.{next(self._numbers)}"
            place = self._bench.of(self._bench.params, self._bench.sources, scratch, {}, 1.0)
            place._manifests = lambda names: {name: self.done[name] for name in names}
            run: Any = OPERATION.run
            try:
                made = run(place, Unit.model_validate_json(unit.model_dump_json()))
            except Exception as error:
                return UnitReport("failed", job_error(error))
            self.done[unit.name] = {"folder": scratch.name, "manifest": made.model_dump(mode="json"), "reused": False}
            return UnitReport("done", took_s=0.1)

    def forget(self, names: list[str]) -> None:
        self.forgotten += names


@pytest.fixture
def films(desk: Desk, imported, monkeypatch) -> Collection:
    """A film, and one that is none. All that takes longer than no time takes long."""
    monkeypatch.setattr("pipelines.bulk.file_batches.LONG_S", 0.0)
    monkeypatch.setattr("cluster.identity.SETTLED_S", -1.0)  # what was written this moment has a stamp, too
    make_clip(desk.library / "film.mkv", seconds=3, width=128, height=72)
    (desk.library / "broken.mkv").write_bytes(b"no film")
    settle(desk.library)
    collection: Collection = imported()
    return collection


@pytest.fixture
def begin(desk: Desk, films: Collection) -> Any:
    def job(**params: Any) -> tuple[Workbench, Cluster]:
        given = {"task": "transcode", "task_params": PARAMS, "output": str(desk.out), **params}
        bench = desk.begin(OPERATION, "collection:all", **given)
        return bench, Cluster(bench)

    return job


def drive(bench: Workbench, cluster: Cluster) -> ProcessResult:
    run: Any = OPERATION.run
    result = run(bench, Unit(name=RUN), cluster)
    assert isinstance(result, ProcessResult)
    return result


def rows(desk: Desk) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = (
        desk.collection().results(task_of("transcode", PARAMS, str(desk.out))).read().to_pylist()
    )
    return sorted(told, key=lambda row: str(row["state"]))


def long_units(names: list[str]) -> list[str]:
    """What they are of a film."""
    return sorted(name.split("-", 2)[2] for name in names if name.startswith("long-"))


def test_a_film_is_done_unit_by_unit_and_published_whole(desk, begin):
    bench, cluster = begin()
    result = drive(bench, cluster)
    assert (result.done, result.failed, result.made) == (1, 1, 1)
    assert [name for name in long_units(cluster.begun) if name.startswith("chunk")] == [
        *("chunk-0000", "chunk-0001", "chunk-0002")
    ]
    done, failed = rows(desk)
    assert [Path(each["path"]) for each in done["artifacts"]] == [desk.out / "film.mp4"]
    assert failed["code"] == "not_media"
    with av.open(str(desk.out / "film.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 75
    assert sorted(cluster.forgotten) == sorted(name for name in cluster.begun if name.startswith("long-"))
    scratch = {path.name.partition("-")[0] for path in bench.scratch.parent.iterdir()}
    assert "long" not in scratch, "what its units made is gone"


def test_how_far_a_film_is_counts_before_it_is_done(desk, begin):
    bench, cluster = begin(where="path = 'film.mkv'")
    cluster.most = 4  # its plan, and three units
    with pytest.raises(UnitDroppedError):
        drive(bench, cluster)
    notes = list((bench.notes / "plans" / "under-way").iterdir())
    assert [0 < float(note.read_text()) < 1 for note in notes] == [True]


def test_a_driver_that_follows_a_killed_one_does_no_unit_again(desk, begin):
    bench, cluster = begin(where="path = 'film.mkv'")
    cluster.most = 4
    with pytest.raises(UnitDroppedError):
        drive(bench, cluster)
    cluster.most = None
    assert drive(bench, cluster).done == 1
    assert set(Counter(long_units(cluster.begun)).values()) == {1}


def test_a_film_of_which_a_unit_fails_again_and_again_is_tried_three_times(desk, begin):
    bench, cluster = begin(where="path = 'film.mkv'")
    cluster.fails["chunk-0001"] = UnitReport("failed", told_error("encode_failed", "No."))
    result = drive(bench, cluster)
    assert (result.done, result.failed, result.given_up) == (0, 1, 1)
    (failed,) = rows(desk)
    assert (failed["code"], failed["attempts"]) == ("encode_failed", 3)
    assert Counter(long_units(cluster.begun))["chunk-0001"] == 3
    assert not any(path.name.startswith("long-") for path in bench.scratch.parent.iterdir())


def test_a_film_that_changed_while_it_was_worked_on_is_a_fault_of_its_place(desk, begin):
    bench, cluster = begin(where="path = 'film.mkv'")
    cluster.fails["chunk-0001"] = UnitReport("failed", told_error("source_unreadable", "It looks damaged."))
    real = cluster.do

    def do(unit: Unit) -> UnitReport:
        if unit.name.endswith("chunk-0001"):
            (desk.library / "film.mkv").write_bytes(b"another")
        return real(unit)

    cluster.do = do  # type: ignore[method-assign]
    result = drive(bench, cluster)
    assert (result.failed, result.place_faults, result.codes) == (1, 1, {"source_outdated": 1})


def test_a_film_whose_pieces_can_t_be_joined_is_done_by_the_other_plan(desk, begin, monkeypatch):
    def refuse(*_: object) -> None:
        raise ChildFailedError("output_invalid", "Its pieces don't fit.", {})

    monkeypatch.setattr("pipelines.jobs.operations.transcode._joined", refuse)
    bench, cluster = begin(where="path = 'film.mkv'")
    assert drive(bench, cluster).done == 1
    assert [name.rpartition("-")[2] for name in cluster.begun][-3:] == ["finish", "film", "finish"]
    assert (desk.out / "film.mp4").exists()


def test_a_full_disk_ends_the_job_and_is_no_film_s_fault(desk, begin):
    bench, cluster = begin(where="path = 'film.mkv'")
    cluster.fails["chunk-0001"] = UnitReport("failed", told_error("disk_full", "No space left."))
    with pytest.raises(Exception, match="No space left"):
        drive(bench, cluster)
    assert rows(desk) == []
