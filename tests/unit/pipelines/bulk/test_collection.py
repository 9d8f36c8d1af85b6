"""A collection's folder: its tasks by their notes, and who may write what."""

import pytest
from unit.pipelines.bulk.shelves import PROBE, shelf

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
