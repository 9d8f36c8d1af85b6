"""A collection at a glance, and its end."""

import pytest
from unit.pipelines.bulk.shelves import ANALYSIS, PROBE, row, shelf
from unit.pipelines.bulk.test_trash import entry_of, threw

from cluster.errors import StorageError
from pipelines.bulk.collection import all_collections
from pipelines.bulk.trash import Trash
from pipelines.bulk.upkeep import identities, remove, summary


def test_a_summary_counts_files_and_what_tasks_came_to(tmp_path):
    found = summary(shelf(tmp_path))
    assert (found.name, found.files, found.size_bytes) == ("shelf", 5, 26_000)
    assert found.kinds == {"video": 2, "image": 2, "audio": 1}
    tasks = {task.columns: (task.operation, task.done, task.failed, task.codes) for task in found.tasks}
    assert tasks == {
        "probe": ("probe", 2, 1, {"media_invalid": 1}),
        "image_analyze": ("image-analyze", 1, 1, {"media_invalid": 1}),
    }


def test_files_that_are_gone_count_apart(tmp_path):
    rows = [row("a.jpg"), row("b.jpg", state="missing"), row("c.jpg", state="unreadable", identity=None)]
    found = summary(shelf(tmp_path, rows))
    assert (found.files, found.missing, found.unreadable, found.size_bytes) == (1, 1, 1, 5000)


def test_contents_are_told_once_and_those_that_could_not_be_read_not_at_all(tmp_path):
    shelf(tmp_path, [row("a.jpg", identity="1"), row("b.jpg", identity="1"), row("c.jpg", identity=None)])
    assert identities(tmp_path, "shelf") == {"1"}
    with pytest.raises(StorageError) as refused:
        identities(tmp_path, "none")
    assert refused.value.code == "collection_not_found"


def test_what_is_removed_is_gone_with_its_artifacts(tmp_path):
    collection = shelf(tmp_path)
    kept = collection.artifacts(ANALYSIS) / "aa" / "made.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"made")
    (tmp_path / "scratch").mkdir()
    remove(collection, tmp_path)
    assert all_collections(tmp_path) == []
    assert not kept.exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_job_is_at_isn_t_removed(tmp_path):
    collection = shelf(tmp_path)
    with collection.alone(PROBE.key), pytest.raises(StorageError) as refused:
        remove(collection, tmp_path)
    assert refused.value.code == "collection_busy"
    assert summary(collection).files == 5


def test_what_has_files_in_the_trash_isn_t_removed(tmp_path):
    """They would be out of reach, and those of a new collection of that name would come back with them."""
    collection = shelf(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"a")
    trash = Trash(collection, tmp_path, (tmp_path,))
    threw(trash, "run", entry_of(tmp_path / "a.jpg"))
    with pytest.raises(StorageError) as refused:
        remove(collection, tmp_path)
    assert refused.value.code == "collection_in_trash"
    trash.restore("run", lambda _: None)
    (tmp_path / "scratch").mkdir()
    remove(collection, tmp_path)
    assert all_collections(tmp_path) == []


def test_what_of_its_own_is_in_the_trash_goes_with_it(tmp_path):
    collection = shelf(tmp_path)
    kept = collection.artifacts(ANALYSIS) / "aa" / "made.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"made")
    threw(Trash(collection, tmp_path, (collection.folder,)), "run", entry_of(kept))
    (tmp_path / "scratch").mkdir()
    remove(collection, tmp_path)
    assert [path for path in (tmp_path / "trash").rglob("*") if path.is_file()] == []
