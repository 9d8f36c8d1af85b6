"""A task done with each file: what is wrong with a content is kept, what is wrong with a place only told."""

import os
import shutil
import threading
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bombs import bombs
from PIL import Image
from unit.pipelines.bulk.desk import HereAndNow, report, settle

from cluster.errors import StorageError
from pipelines.bulk import file_batches, processing
from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.driving import RUN
from pipelines.bulk.name_template import names_by
from pipelines.bulk.operations.collection_process import OPERATION, ProcessResult
from pipelines.bulk.tasks import task_of
from pipelines.jobs.catalogue import Each
from pipelines.jobs.errors import UnitDroppedError, told_error
from pipelines.jobs.models import Unit
from pipelines.jobs.operations import image_thumbnails

A_DAY_IN_2026_S = 1_775_000_000
THUMBNAILS = {"task": "image-thumbnails", "task_params": {"sizes": ["16"]}}


@pytest.fixture
def library(desk) -> Path:
    """Three pictures, one of them on another disk, and one that is none."""
    for number, name in enumerate(("a.jpg", "b.jpg", "disk/c.jpg")):
        path = desk.library / name
        path.parent.mkdir(exist_ok=True)
        Image.effect_noise((32, 24), 60 + number).save(path)
    (desk.library / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    settle(desk.library)
    return desk.library


def process(desk, **params) -> ProcessResult:
    result = desk.do(OPERATION, "collection:all", **{**THUMBNAILS, **params}).result
    assert isinstance(result, ProcessResult)
    return result


def kept(desk) -> list[dict]:
    rows: list[dict] = desk.collection().results(task_of("image-thumbnails", {"sizes": ["16"]})).read().to_pylist()
    return rows


def test_a_broken_file_is_kept_as_such_and_left_alone(desk, library, imported):
    imported()
    first = process(desk)
    assert (first.done, first.failed, first.place_faults, first.codes) == (3, 1, 0, {"source_unreadable": 1})
    again = process(desk)
    assert (again.done, again.known, again.failed) == (0, 4, 1)


def test_a_disk_that_is_away_is_told_and_its_files_are_done_when_it_is_back(desk, library, imported):
    imported()
    (library / "disk").rename(desk.folder / "away")
    outcome = desk.do(OPERATION, "collection:all", **THUMBNAILS)
    assert (outcome.result.done, outcome.result.failed, outcome.result.place_faults) == (2, 2, 1)
    assert outcome.result.codes == {"source_unreadable": 1, "source_not_found": 1}
    assert sorted(row["code"] for row in report(outcome, "failed.jsonl")) == ["source_not_found", "source_unreadable"]
    assert sorted(row["state"] for row in kept(desk)) == ["done", "done", "failed"]
    (desk.folder / "away").rename(library / "disk")
    again = process(desk)
    assert (again.done, again.known, again.failed, again.place_faults) == (1, 3, 1, 0)


def test_only_failures_that_were_asked_for_are_told(desk, library, imported):
    (library / "no picture.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture either")
    settle(library)
    imported()
    assert process(desk).failed == 2
    outcome = desk.do(OPERATION, "collection:all", **THUMBNAILS, where="path = 'broken.jpg'")
    assert [row["uri"] for row in report(outcome, "failed.jsonl")] == [str(library / "broken.jpg")]


def test_a_file_that_changed_since_its_import_isn_t_kept_as_failed(desk, library, imported, monkeypatch):
    monkeypatch.setattr("cluster.identity.SETTLED_S", -1.0)  # what was written this moment has a stamp, too
    imported()
    os.utime(library / "a.jpg")
    assert process(desk).codes == {"source_unreadable": 1, "source_outdated": 1}
    assert [row["code"] for row in kept(desk) if row["state"] == "failed"] == ["source_unreadable"]


def test_a_name_that_is_taken_is_told_and_done_when_it_is_free(desk, library, imported):
    imported()
    out = library / "out"
    out.mkdir()
    (out / "a-16w.jpg").write_bytes(b"another")
    assert process(desk, output=str(out)).codes == {"source_unreadable": 1, "output_exists": 1}
    (out / "a-16w.jpg").unlink()
    again = process(desk, output=str(out))
    assert (again.done, again.known, again.failed) == (1, 3, 1)
    assert (out / "a-16w.jpg").exists()


def edit(picture: Path, seed: int) -> None:
    """Another picture in the place of one."""
    Image.effect_noise((32, 24), seed).save(picture)
    os.utime(picture, (A_DAY_IN_2026_S, A_DAY_IN_2026_S))


def test_what_was_made_of_a_picture_is_replaced_once_that_is_edited_and_made_again_when_it_is_back(
    desk, library, imported
):
    out, picture = desk.out, library / "a.jpg"
    picture.rename(desk.folder / "before.jpg")
    shutil.copy2(desk.folder / "before.jpg", picture)
    imported()
    process(desk, output=str(out))
    first = (out / "a-16w.jpg").read_bytes()
    edit(picture, 90)
    imported(library)
    again = process(desk, output=str(out))
    assert (again.done, again.codes) == (1, {"source_unreadable": 1})
    assert (out / "a-16w.jpg").read_bytes() != first
    shutil.copy2(desk.folder / "before.jpg", picture)
    imported(library)
    assert process(desk, output=str(out)).done == 1
    assert (out / "a-16w.jpg").read_bytes() == first


def test_a_driver_that_follows_one_that_had_all_done_forgets_what_was_replaced(desk, library, imported, monkeypatch):
    imported()
    process(desk, output=str(desk.out))
    edit(library / "a.jpg", 90)
    collection = imported(library)
    bench = desk.begin(OPERATION, "collection:all", **THUMBNAILS, output=str(desk.out))

    def killed(*_: object) -> None:
        raise UnitDroppedError

    with monkeypatch.context() as patch:
        patch.setattr(processing, "_forget_replaced", killed)
        with pytest.raises(UnitDroppedError):
            OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    again = HereAndNow(OPERATION, bench)
    OPERATION.run(bench, Unit(name=RUN), again)
    kept = collection.results(task_of("image-thumbnails", {"sizes": ["16"]}, str(desk.out))).read()
    assert again.sizes == []
    assert sorted(kept["identity"].to_pylist()) == sorted(collection.files.read()["identity"].to_pylist())


@pytest.mark.parametrize("longer", [b"", b"and longer"], ids=["as long", "longer"])
def test_what_somebody_changed_since_is_left_though_the_picture_is_edited(desk, library, imported, longer):
    imported()
    out = desk.out
    process(desk, output=str(out))
    theirs = (out / "a-16w.jpg").read_bytes()[::-1] + longer
    (out / "a-16w.jpg").write_bytes(theirs)
    edit(library / "a.jpg", 90)
    imported(library)
    assert process(desk, output=str(out)).codes == {"source_unreadable": 1, "output_exists": 1}
    assert (out / "a-16w.jpg").read_bytes() == theirs


def test_what_was_made_of_a_picture_that_lies_elsewhere_now_is_left(desk, library, imported):
    imported()
    out = desk.out
    process(desk, output=str(out))
    first = (out / "a-16w.jpg").read_bytes()
    (library / "a.jpg").rename(library / "moved.jpg")
    edit(library / "a.jpg", 90)
    imported(library)
    assert process(desk, output=str(out)).codes == {"source_unreadable": 1, "output_exists": 1}
    assert (out / "a-16w.jpg").read_bytes() == first


def test_a_driver_that_follows_a_killed_one_goes_on_with_the_try_that_it_came_to(desk, library, imported):
    collection = imported()
    bench = desk.begin(OPERATION, "collection:all", **THUMBNAILS)
    run: Any = OPERATION.run
    with pytest.raises(UnitDroppedError):
        run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=0))
    table = collection.results(task_of("image-thumbnails", {"sizes": ["16"]}))
    (row,) = [row for row in collection.files.read().to_pylist() if row["path"] == "a.jpg"]
    crashed = {"identity": row["identity"], "state": "failed", "code": "child_crashed", "artifacts": []}
    told = [crashed | {"attempts": 1, "at": datetime.now(UTC)}]
    table.append("batch-of-the-killed-one", pa.Table.from_pylist(told, RESULTS))
    result = run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.done, result.failed, result.known) == (3, 1, 0)
    assert {row["attempts"] for row in kept(desk) if row["identity"] == crashed["identity"]} == {2}


def test_a_condition_that_the_job_itself_changes_is_asked_once(desk, library, imported):
    collection = imported()
    process(desk, where="path = 'a.jpg'")
    bench = desk.begin(OPERATION, "collection:all", **THUMBNAILS, fresh=True, where="image_thumbnails_state = 'done'")
    run: Any = OPERATION.run
    with pytest.raises(UnitDroppedError):
        run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=0))
    collection.results(task_of("image-thumbnails", {"sizes": ["16"]})).drop(
        collection.files.read(("identity",))["identity"].combine_chunks(), datetime.now(UTC)
    )
    result = run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.files, result.done) == (1, 1)


def test_names_don_t_depend_on_what_is_left_to_do(desk, library, imported):
    Image.effect_noise((32, 24), 80).save(library / "A.png")
    settle(library)
    imported()
    out = library / "out"
    process(desk, output=str(out), where="path = 'a.jpg'")
    process(desk, output=str(out))
    made = sorted(path.relative_to(out).as_posix().partition("-16w")[0] for path in out.rglob("*.*"))
    assert made == ["A-png", "a-jpg", "b", "disk/c"]


def test_a_row_that_is_dropped_meanwhile_fails_no_other(desk, library, imported, monkeypatch):
    collection = imported()
    out = library / "out"
    out.mkdir()

    def dropped(template: str, of: Collection, *, keys: bool) -> dict[str, str]:
        (library / "a.jpg").unlink()
        of.files.drop(pa.array([str(library / "a.jpg")]), datetime.now(UTC))
        return names_by(template, of, keys=keys)

    monkeypatch.setattr("pipelines.bulk.processing.names_by", dropped)
    result = process(desk, output=str(out), template="{stem}")
    assert (result.done, result.codes) == (2, {"source_unreadable": 1, "source_not_found": 1})
    assert len(collection.files.read()) == 3


def test_without_a_folder_for_what_is_made_no_names_are_worked_out(desk, library, imported, monkeypatch):
    imported()

    def refuse(*_: object) -> None:
        raise AssertionError("all files of the collection were named")

    monkeypatch.setattr("pipelines.bulk.processing.stable_names", refuse)
    assert process(desk).done == 3


def test_what_might_do_better_a_moment_later_is_tried_three_times(desk, library, imported):
    (huge,) = [path for path in bombs(desk.folder / "bombs") if path.name == "pixels.png"]
    huge.rename(library / "huge.png")
    imported()
    result = process(desk)
    assert (result.done, result.failed, result.given_up, result.place_faults) == (3, 2, 1, 0)
    assert sorted((row["code"], row["attempts"]) for row in kept(desk) if row["state"] == "failed") == [
        *(("limit_exceeded", 3), ("source_unreadable", 1))
    ]


def test_a_batch_opens_each_of_its_files_once(desk, library, imported, monkeypatch):
    imported()
    opened: Counter[str] = Counter()
    real_open, real_batch = os.open, file_batches.do_batch

    def counted(path: Any, *given: Any, **named: Any) -> int:
        opened[os.fspath(path)] += 1
        return real_open(path, *given, **named)

    def batch(*given: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", counted)
            return real_batch(*given)

    monkeypatch.setattr("pipelines.bulk.long_files.do_batch", batch)
    assert process(desk).done == 3
    assert {opened[str(library / name)] for name in ("a.jpg", "b.jpg", "disk/c.jpg")} == {1}


def test_what_is_made_is_published_while_the_child_works_on_the_next(desk, library, imported, monkeypatch):
    """The first files wait, on their way, for the second unit to begin."""
    for number in range(16):
        Image.effect_noise((32, 24), 100 + number).save(library / f"{number:02d}.jpg")
    settle(library)
    imported()
    units, begun = count(), threading.Event()
    real_flush, real_run = file_batches.flush_made, image_thumbnails.OPERATION.run

    def flush_made(made: Any) -> None:
        assert begun.wait(20)
        real_flush(made)

    def run(at: Any, unit: Unit) -> Any:
        if next(units):
            begun.set()
        return real_run(at, unit)

    monkeypatch.setattr(file_batches, "flush_made", flush_made)
    object.__setattr__(task_of("image-thumbnails", {}).declared, "run", run)
    try:
        assert process(desk).done == 19
    finally:
        object.__setattr__(task_of("image-thumbnails", {}).declared, "run", real_run)


def test_a_store_that_is_away_is_no_file_s_fault_however_often_it_was_tried(desk, library, imported, monkeypatch):
    imported()

    def away(_operation: Any, _bench: Any, _params: Any, sources: Any, _most_s: float) -> Any:
        error = told_error("storage_unavailable", "The store doesn't answer.")
        yield [Each(source, error=error) for source in sources]

    with monkeypatch.context() as patch:
        patch.setattr(file_batches, "parts_of", away)
        result = process(desk)
    assert (result.codes, result.place_faults, result.given_up) == ({"storage_unavailable": 4}, 4, 4)
    again = process(desk)
    assert (again.done, again.known, again.codes) == (3, 0, {"source_unreadable": 1})


def test_a_full_disk_ends_the_job_and_is_no_file_s_fault(desk, library, imported, monkeypatch):
    imported()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        with pytest.raises(StorageError) as ended:
            process(desk)
    assert ended.value.code == "disk_full"
    assert process(desk).done == 3
