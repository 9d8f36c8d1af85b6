"""What is told as broken, missing or left over: in doubt, a file and its row stay."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from unit.pipelines.bulk.desk import report, settle
from unit.pipelines.bulk.mixed import THUMBNAILS, listed, mixed_library, names
from unit.pipelines.bulk.test_duplicates import scene
from unit.pipelines.bulk.test_trash import state_of

from cluster.errors import StorageError
from pipelines.bulk.operations import collection_import
from pipelines.bulk.operations.collection_cleanup import OPERATION
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.bulk.operations.collection_process import OPERATION as PROCESS
from pipelines.bulk.tasks import Task, task_of
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


def test_artifacts_of_a_file_that_can_t_be_read_for_a_moment_are_no_orphans(desk, library, tmp_path):
    """One is named by a manifest, and its disk is away; the other one may not be opened."""
    manifest, folder = library / "list.csv", library / "sub"
    folder.mkdir()
    scene(20).save(folder / "named.png")
    scene(21).save(library / "locked.png")
    manifest.write_text("path\nsub/named.png\nlocked.png\n")
    settle(library)
    desk.do(IMPORT, manifest, into="all")
    desk.do(PROCESS, "collection:all", **THUMBNAILS)
    folder.rename(library / "elsewhere")
    locked = library / "locked.png"
    locked.rename(library / "kept.png")
    locked.mkdir()  # as one that may not be opened, for whoever runs the tests
    assert desk.do(IMPORT, manifest, into="all").result.unreadable == 2
    assert listed(desk, "orphaned") == {}
    locked.rmdir()
    (library / "kept.png").rename(locked)
    assert desk.do(IMPORT, manifest, into="all").result.unreadable == 1
    assert desk.do(PROCESS, "collection:all", **THUMBNAILS).result.done == 0


def test_artifacts_of_a_file_that_fails_while_it_is_read_are_no_orphans(desk, library, monkeypatch):
    desk.do(IMPORT, library, into="all")
    desk.do(PROCESS, "collection:all", **THUMBNAILS)
    (library / "3.png").touch()

    def refused(*_: Any) -> Any:
        raise StorageError("source_unreadable", "Input/output error.")

    with monkeypatch.context() as patched:
        patched.setattr(collection_import, "open_source", refused)
        assert desk.do(IMPORT, library, into="all").result.unreadable > 0
    assert listed(desk, "orphaned") == {}
    (library / "3.png").write_bytes(b"")
    desk.do(IMPORT, library, into="all")
    assert set(listed(desk, "orphaned").values()) == {"orphaned"}


def test_what_can_t_be_put_into_a_trash_isn_t_listed(desk, library, monkeypatch):
    def place(_: Any, _run: str, folder: Path) -> Path:
        raise StorageError("output_not_writable", f"{folder} has no place for it.")

    monkeypatch.setattr(Trash, "place", place)
    outcome = desk.do(OPERATION, "collection:all", what=("broken",))
    assert report(outcome, "cleanup.jsonl") == []
    assert "no place for it" in report(outcome, "kept.jsonl")[0]["why"]


def told_of(collection, task: Task, name: str, at: datetime, **outcome: Any) -> None:
    """Note what a task came to with a file."""
    (row,) = [row for row in collection.files.read().to_pylist() if Path(row["uri"]).name == name]
    table = collection.results(task)
    rows = [{"identity": row["identity"], "at": at, **outcome}]
    table.append(f"told-{at.timestamp()}", pa.Table.from_pylist(rows, table.schema))


FAILED = {"state": "failed", "code": "source_unreadable", "message": "Damaged."}
WELL = {"state": "done", "result": "{}"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("hour", "broken"), [(-1, {"3.png": "broken"}), (1, {})])
def test_a_file_that_an_operation_could_read_later_is_not_broken(desk, library, hour, broken):
    collection = desk.collection()
    told_of(collection, task_of("probe", {"deep": True}), "3.png", NOON, **FAILED)
    told_of(collection, task_of("probe", {}), "3.png", NOON + timedelta(hours=hour), **WELL)
    found = names(listed(desk, "broken"))
    assert {name: what for name, what in found.items() if name == "3.png"} == broken


def test_of_files_that_seem_to_hold_the_same_none_is_broken(desk, imported):
    """One of them was read. In the other one another byte may differ, which no sample tells of."""
    scene(1).save(desk.library / "a.png")
    shutil.copy2(desk.library / "a.png", desk.library / "b.png")
    collection = imported()
    told_of(collection, task_of("probe", {}), "a.png", NOON, **FAILED)
    outcome = desk.do(OPERATION, "collection:all", what=("broken",))
    assert report(outcome, "cleanup.jsonl") == []
    assert len(report(outcome, "kept.jsonl")) == 2


def test_what_another_version_made_judges_nothing_and_goes_on_request(desk, library):
    collection, task = desk.collection(), task_of("probe", {})
    told_of(collection, task, "3.png", NOON, **FAILED)
    results, artifacts = (collection.folder / kind / task.key for kind in ("results", "artifacts"))
    artifacts.mkdir()
    (artifacts / "made.jpg").write_bytes(b"made")
    for folder in (results, artifacts):
        folder.rename(folder.with_name("probe-0123456789ab"))
    assert "3.png" not in names(listed(desk, "broken", "orphaned"))
    before = state_of(collection.folder)
    assert sorted(names(listed(desk, "superseded", dry_run=False)))[-2:] == [
        "task.json",
        f"told-{NOON.timestamp()}.parquet",
    ]
    assert not list((collection.folder / "artifacts" / "probe-0123456789ab").iterdir())
    assert collection.superseded() == []
    listed(desk, restore=True, dry_run=False)
    assert {name: told for name, told in state_of(collection.folder).items() if "0123456789ab" in name} == {
        name: told for name, told in before.items() if "0123456789ab" in name
    }


def test_a_link_is_told_as_what_it_is(desk, library, imported):
    shutil.copy2(library / "1.png", library / ".not-imported.png")
    (library / "link.png").symlink_to(library / ".not-imported.png")
    imported()
    outcome = desk.do(OPERATION, "collection:all", what=("duplicates",))
    (why,) = [row["why"] for row in report(outcome, "kept.jsonl") if row["path"].endswith("link.png")]
    assert "It is a link" in why
