"""Tasks: what results are kept under, and when they are done anew."""

import pytest

from pipelines.bulk.tasks import Task, task_of
from pipelines.jobs import libraries


@pytest.fixture
def newer(monkeypatch):
    def library(name: str) -> None:
        installed = libraries._version
        monkeypatch.setattr(libraries, "_version", lambda other: "999" if other == name else installed(other))

    return library


def test_a_key_tells_operation_parameters_and_place():
    tasks = [
        task_of("probe", {}),
        task_of("probe", {"deep": True}),
        task_of("validate", {}),
        task_of("image-thumbnails", {"sizes": ["16"]}),
        task_of("image-thumbnails", {"sizes": ["16"]}, "/out"),
        Task(operation="sidecar"),
    ]
    assert len({task.key for task in tasks}) == len(tasks)
    assert task_of("probe", {"deep": False}).key == tasks[0].key


@pytest.mark.parametrize(
    ("library", "operation", "anew"),
    [
        ("av", "probe", True),
        ("av", "quality", True),
        ("av", "image-analyze", False),
        ("pillow", "image-analyze", True),
        ("pillow", "probe", False),
        ("pyvips-binary", "quality", False),
        ("av", "checksum", False),
        ("mediaray", "probe", False),
    ],
)
def test_what_another_version_of_a_library_does_is_done_anew_and_nothing_else(newer, library, operation, anew):
    before = task_of(operation, {}).key
    newer(library)
    assert (task_of(operation, {}).key != before) == anew
