"""A collection's folder: its tasks by their notes, and who may write what."""

import time
from contextlib import ExitStack

import pytest
from unit.pipelines.bulk.shelves import PROBE, shelf

from cluster.errors import StorageError
from pipelines.bulk.collection import Collection


@pytest.fixture
def collection(tmp_path) -> Collection:
    return shelf(tmp_path)


@pytest.mark.parametrize("torn", ["", '{"operation": "pro', '{"operation": 7}', "[]"])
def test_a_damaged_note_hides_its_task_until_it_is_done_again(collection, torn):
    (collection.folder / "results" / PROBE.key / "task.json").write_text(torn)
    assert [task.operation for task in collection.tasks()] == ["image-analyze"]
    assert len(collection.results(PROBE).read()) == 3
    assert PROBE in collection.tasks()


@pytest.mark.parametrize("job", ["", "job-2"])
def test_two_jobs_don_t_write_the_same(collection, job):
    with collection.alone("files", "job-1"), pytest.raises(StorageError) as refused, collection.alone("files", job):
        pass
    assert refused.value.code == "collection_busy"


def test_a_driver_waits_for_the_end_of_the_one_before_it(collection, monkeypatch):
    predecessor = ExitStack()
    predecessor.enter_context(collection.alone("files", "job-1"))
    waited = []
    monkeypatch.setattr(time, "sleep", lambda _: waited.append(predecessor.close()))
    with collection.alone("files", "job-1"):
        assert len(waited) == 1
