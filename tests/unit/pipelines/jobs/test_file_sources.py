"""Which files sources in object storage are."""

from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer

from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, Roots
from pipelines.jobs.file_sources import PICTURES, entries_of

HERE = f"s3://{BUCKET}/photos/"


@pytest.fixture
def roots(s3: ObjectServer, tmp_path: Path) -> Roots:
    for key in ("photos/2019/a.jpg", "photos/2019/a.png", "photos/b.webp", "photos/raw.nef", "photos/made/c.jpg"):
        s3.put(key, b"content")
    return Roots((tmp_path,), (), ObjectAccess((object_path(HERE),), (), s3.addresses, tmp_path / "fetched", 1 << 30))


def test_a_folder_of_objects_is_a_tree_of_entries(roots):
    entries, left_out = entries_of([HERE], roots, object_path(f"{HERE}made"), PICTURES)
    assert [(entry.source.removeprefix(HERE), entry.name) for entry in entries] == [
        ("2019/a.jpg", "2019/a-jpg"),
        ("2019/a.png", "2019/a-png"),
        ("b.webp", "b"),
    ]
    assert all("raw.nef" in each for each in left_out)


def test_files_and_objects_go_together(roots, tmp_path):
    (tmp_path / "d.jpg").write_bytes(b"content")
    entries, _ = entries_of([f"{HERE}b.webp", str(tmp_path / "d.jpg"), str(tmp_path)], roots, None, PICTURES)
    assert [entry.source for entry in entries] == [f"{HERE}b.webp", *[str(tmp_path / "d.jpg")] * 2]
    assert [entry.name for entry in entries] == ["b", "d-jpg", "d-jpg-2"]


def test_a_folder_without_any_is_told(roots):
    with pytest.raises(StorageError) as told:
        entries_of([f"{HERE}2020/"], roots, None, PICTURES)
    assert told.value.code == "source_empty"


def test_a_folder_outside_the_roots_is_not_listed(roots, s3):
    s3.requests.clear()
    with pytest.raises(StorageError) as told:
        entries_of([f"s3://{BUCKET}/"], roots, None, PICTURES)
    assert told.value.code == "source_outside_roots"
    assert s3.requests == []


def test_names_are_such_as_the_output_s_kind_takes(roots, tmp_path):
    for name in ("50%20off.jpg", "50_20off.jpg"):
        (tmp_path / name).write_bytes(b"content")
    for output, names in [
        (None, ["50%20off", "50_20off"]),
        (tmp_path / "out", ["50%20off", "50_20off"]),
        (object_path(f"{HERE}out"), ["50_20off", "50_20off-2"]),
    ]:
        entries, _ = entries_of([str(tmp_path)], roots, output, PICTURES)
        assert [entry.name for entry in entries] == names
