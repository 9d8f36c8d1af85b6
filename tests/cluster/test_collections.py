"""Collections on a real Ray: imported, processed, resumed after a kill, and free the second time."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from PIL import Image

from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.streaming import THROUGH_RAY, Batching
from pipelines.bulk.tables import Table
from pipelines.bulk.tasks import Task, task_of
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Needs

GOOD, BROKEN = 40, 2
THUMBNAILS: dict[str, Any] = {"task": "image-thumbnails", "task_params": {"sizes": ["48"]}}
TASK = task_of("image-thumbnails", {"sizes": ["48"]})


def picture(path: Path, seed: int) -> None:
    """A small one whose content no other has, written an hour ago: one that is being written isn't trusted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(seed).randbytes(64 * 48 * 3)
    Image.frombytes("RGB", (64, 48), noise).save(path, quality=80)
    aged(path)


def aged(path: Path) -> None:
    hour_ago_s = time.time() - 3600
    os.utime(path, (hour_ago_s, hour_ago_s))


@pytest.fixture(scope="module")
def libraries(cluster, request) -> dict[str, Path]:
    """One for each test of this module, by its name."""
    names = [
        item.name for item in request.session.items if item.path == request.path and "library" in item.fixturenames
    ]
    found = {name: cluster.folder / name[:40] for name in names}
    for folder in found.values():
        for number in range(GOOD):
            picture(folder / f"{number % 4}" / f"{number:03d}.jpg", number)
        for number in range(BROKEN):
            path = folder / f"broken-{number}.jpg"
            path.write_bytes(b"\xff\xd8\xff\xe0 no picture " + bytes([number]))
            aged(path)
    made_at = time.time()
    # What is new has ctimes of this moment: not settled, so it would be read again at each import.
    cluster.until(lambda: time.time() - made_at > 2.1)
    return found


@pytest.fixture
def library(libraries, request) -> Path:
    return libraries[request.node.name]


@pytest.fixture
def collection(cluster, request) -> Collection:
    return Collection.named(cluster.home.path, request.node.name.replace("_", "-")[:40])


def done(cluster: Any, operation: str, source: str | Path, **params: Any) -> dict[str, Any]:
    job_id = cluster.submit(operation, source, **params)
    assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
    result: dict[str, Any] = cluster.job(job_id).result
    return result


def imported(cluster: Any, library: Path, collection: Collection) -> dict[str, Any]:
    return done(cluster, "collection-import", library, into=collection.name)


def thumbnailed(cluster: Any, collection: Collection, **params: Any) -> dict[str, Any]:
    return done(cluster, "collection-process", f"collection:{collection.name}", **THUMBNAILS, **params)


def outcomes(collection: Collection, task: Task = TASK) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = collection.results(task).read().to_pylist()
    return rows


def test_good_files_are_done_and_broken_ones_are_rows_with_a_reason(cluster, library, collection):
    result = imported(cluster, library, collection)
    assert (result["files"], result["new"], result["unreadable"]) == (GOOD + BROKEN, GOOD + BROKEN, 0)
    output = str(cluster.folder / "out" / collection.name)
    result = thumbnailed(cluster, collection, output=output)
    assert (result["done"], result["failed"], result["known"], result["made"]) == (GOOD, BROKEN, 0, GOOD)
    made = sorted(Path(output).rglob("*.jpg"))
    assert [path.name for path in made[:2]] == ["000-48w.jpg", "004-48w.jpg"]
    assert Image.open(made[0]).size == (48, 36)
    told = outcomes(collection, TASK.model_copy(update={"output": output}))
    failed = [row for row in told if row["state"] == "failed"]
    assert {row["code"] for row in failed} == {"source_unreadable"}
    assert all(row["message"] and row["attempts"] == 1 for row in failed)


def test_the_second_time_nothing_is_done_but_what_changed(cluster, library, collection):
    imported(cluster, library, collection)
    thumbnailed(cluster, collection)
    before = outcomes(collection)
    again = imported(cluster, library, collection)
    assert (again["new"], again["changed"], again["missing"]) == (0, 0, 0)
    assert thumbnailed(cluster, collection)["known"] == GOOD + BROKEN
    assert outcomes(collection) == before

    picture(library / "0" / "000.jpg", seed=1000)
    (library / "1" / "001.jpg").rename(library / "1" / "renamed.jpg")
    (library / "2" / "002.jpg").unlink()
    again = imported(cluster, library, collection)
    assert (again["new"], again["changed"], again["missing"]) == (1, 1, 2)
    result = thumbnailed(cluster, collection)
    assert (result["done"], result["known"], result["files"]) == (1, GOOD + BROKEN - 2, GOOD + BROKEN - 1)


def test_fresh_does_all_of_it_anew_and_another_folder_is_filled_too(cluster, library, collection):
    imported(cluster, library, collection)
    thumbnailed(cluster, collection)
    before = {row["identity"]: row["at"] for row in outcomes(collection)}
    assert thumbnailed(cluster, collection, fresh=True)["done"] == GOOD
    assert all(row["at"] > before[row["identity"]] for row in outcomes(collection))
    output = cluster.folder / "out" / f"{collection.name}-too"
    assert thumbnailed(cluster, collection, output=str(output))["done"] == GOOD
    assert len(list(output.rglob("*.jpg"))) == GOOD


def test_a_run_whose_processes_are_killed_goes_on_where_it_was(cluster, library, collection):
    imported(cluster, library, collection)
    source = f"collection:{collection.name}"
    for seed in range(2):
        task_params = {"sizes": [str(40 + seed)]}
        job_id = cluster.submit("collection-process", source, task="image-thumbnails", task_params=task_params)
        os.kill(cluster.worker_of(job_id, "run"), signal.SIGKILL)
        assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
        assert cluster.job(job_id).result["failed"] == BROKEN
        rows = collection.results(task_of("image-thumbnails", task_params)).read(("identity", "state")).to_pylist()
        assert sorted(row["state"] for row in rows) == ["done"] * GOOD + ["failed"] * BROKEN


def test_a_driver_that_was_taken_away_is_told_so(cluster, tmp_path):
    table = Table(tmp_path / "table", RESULTS, "identity")
    rows = pa.table({"identity": ["a", "b"], "uri": ["/a", "/b"]})
    batching = Batching(table, "identity", 1, Needs(), "failed", {})
    taken_away = Driver("a-job-that-isn-t-there", "run", 1)

    def drive() -> str:  # in a worker, as any driver
        try:
            list(THROUGH_RAY.stream(tmp_path / "listing.parquet", rows, batching, taken_away, 2))
        except UnitDroppedError:
            return "dropped"
        return "done"

    assert ray.get(ray.remote(drive).options(num_cpus=0).remote()) == "dropped"


def test_two_runs_of_one_task_at_once_are_refused(cluster, library, collection):
    imported(cluster, library, collection)
    with collection.alone(TASK.key):
        job_id = cluster.submit("collection-process", f"collection:{collection.name}", **THUMBNAILS)
        assert cluster.ended(job_id) == "failed"
    assert cluster.job(job_id).error.code == "collection_busy"


def test_a_file_that_changed_since_its_import_is_told(cluster, library, collection):
    imported(cluster, library, collection)
    picture(library / "0" / "000.jpg", seed=1000)
    result = thumbnailed(cluster, collection)
    assert (result["place_faults"], result["codes"]["source_outdated"]) == (1, 1)
    assert {row["code"] for row in outcomes(collection)} == {None, "source_unreadable"}


def test_the_report_of_a_run_has_each_failure(cluster, library, collection):
    imported(cluster, library, collection)
    job_id = cluster.submit("collection-process", f"collection:{collection.name}", **THUMBNAILS)
    cluster.ended(job_id)
    (report,) = cluster.job(job_id).artifacts
    rows = [json.loads(line) for line in Path(report.path).read_text().splitlines()]
    assert [Path(row["uri"]).name for row in rows] == ["broken-0.jpg", "broken-1.jpg"]


def test_an_operation_on_single_sources_is_done_with_each(cluster, clip, collection):
    folder = cluster.folder / collection.name
    folder.mkdir()
    (folder / "film.mkv").write_bytes(clip.read_bytes())
    (folder / "broken.mkv").write_bytes(b"no film")
    imported(cluster, folder, collection)
    result = done(cluster, "collection-process", f"collection:{collection.name}", task="probe")
    assert (result["done"], result["failed"]) == (1, 1)
    (row,) = [r for r in collection.results(task_of("probe", {})).read().to_pylist() if r["state"] == "done"]
    assert json.loads(row["result"])["streams"]


def test_a_collection_that_isn_t_there_is_told(cluster):
    job_id = cluster.submit("collection-process", "collection:nowhere", **THUMBNAILS)
    assert cluster.ended(job_id) == "failed"
    assert cluster.job(job_id).error.code == "collection_not_found"


def test_several_tasks_over_the_same_files_are_all_done(cluster, library, collection):
    imported(cluster, library, collection)
    source, what = f"collection:{collection.name}", ["placeholders", "checksums", "sidecars"]
    result = done(cluster, "collection-enrich", source, what=what)
    assert [(task["done"], task["failed"]) for task in result["tasks"]] == [(GOOD, BROKEN), (GOOD + BROKEN, 0)]


def test_a_cleanup_whose_process_is_killed_is_finished_and_all_of_it_comes_back(cluster, library, collection):
    for number in range(20):
        copy = library / f"copy-{number}.jpg"
        copy.write_bytes((library / f"{number % 4}" / f"{number:03d}.jpg").read_bytes())
        os.utime(copy, (time.time() - 60, time.time() - 60))
    imported(cluster, library, collection)
    source, before = f"collection:{collection.name}", contents(library)
    listed = done(cluster, "collection-cleanup", source, what=["duplicates"])
    assert (listed["action"], listed["paths"]) == ("listed", 20)
    job_id = cluster.submit("collection-cleanup", source, what=["duplicates"], dry_run=False)
    os.kill(cluster.worker_of(job_id, "run"), signal.SIGKILL)
    assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
    assert (cluster.job(job_id).result["paths"], cluster.job(job_id).result["kept"]) == (20, 0)
    assert not list(library.glob("copy-*"))
    assert done(cluster, "collection-cleanup", source, restore=True, dry_run=False)["paths"] == 20
    assert contents(library) == before


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Bytes and times of all files."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
