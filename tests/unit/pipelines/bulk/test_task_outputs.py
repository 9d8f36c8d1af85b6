"""Files of a collection's task get their names whole, and what is there already is left or refused."""

from pathlib import Path
from typing import Any

import pytest

from cluster.errors import StorageError
from cluster.staging import stage
from pipelines.bulk import task_outputs
from pipelines.bulk.task_outputs import OutputFolder, flush_made, flush_names, published
from pipelines.jobs.catalogue import Made

IDENTITY = "ab" + "0" * 62


@pytest.fixture
def made(tmp_path: Path) -> Made:
    path = tmp_path / "scratch" / "0001-48w.jpg"
    path.parent.mkdir()
    path.write_bytes(b"a picture")
    return Made(path, "-48w.jpg", "image/jpeg")


def output_folder(folder: Path, *, named: bool = True, overwrite: bool = False, fence: int = 1) -> OutputFolder:
    return OutputFolder(folder / "out", named=named, overwrite=overwrite, roots=(folder,), job_id="job", fence=fence)


def put(at: OutputFolder, made: Made) -> Path:
    flush_made([made])
    (known,) = published(at, "2019/beach", IDENTITY, [made])
    flush_names([str(known["path"])])
    assert known["size_bytes"] == len(b"a picture")
    return Path(str(known["path"]))


def test_a_file_goes_below_the_named_folder_as_its_source_lies(tmp_path, made):
    target = put(output_folder(tmp_path), made)
    assert target == tmp_path / "out" / "2019" / "beach-48w.jpg"
    assert target.read_bytes() == b"a picture"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_without_a_named_folder_it_goes_by_its_content(tmp_path, made):
    assert put(output_folder(tmp_path, named=False), made) == tmp_path / "out" / "ab" / f"{IDENTITY}-48w.jpg"


def test_the_same_again_changes_nothing(tmp_path, made):
    target = put(output_folder(tmp_path), made)
    before = target.stat().st_ino
    assert put(output_folder(tmp_path), made).stat().st_ino == before


def test_a_try_that_was_killed_before_it_named_its_file_is_in_nobody_s_way(tmp_path, made):
    first, second = output_folder(tmp_path, fence=7), output_folder(tmp_path, fence=8)
    target = first.target("2019/beach", IDENTITY, made)
    left = stage(made.path, target, first.roots, "job-7")
    assert put(second, made) == target
    second.sweep([target.parent])
    assert not left.exists()


def test_another_file_of_that_name_is_left_as_it_is(tmp_path, made):
    target = tmp_path / "out" / "2019" / "beach-48w.jpg"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"another")
    with pytest.raises(StorageError) as refused:
        put(output_folder(tmp_path), made)
    assert refused.value.code == "output_exists"
    assert target.read_bytes() == b"another"
    assert put(output_folder(tmp_path, overwrite=True), made).read_bytes() == b"a picture"


@pytest.mark.parametrize("theirs", [b"another", b"a picture"])
def test_what_somebody_writes_there_while_it_is_staged_is_left(tmp_path, made, monkeypatch, theirs):
    """As another try of the same work does, which is then as good."""
    at = output_folder(tmp_path)
    target = tmp_path / "out" / "2019" / "beach-48w.jpg"

    def staged(*given: Any) -> Path:
        path = stage(*given)
        target.write_bytes(theirs)
        return path

    monkeypatch.setattr(task_outputs, "stage", staged)
    if theirs == made.path.read_bytes():
        assert put(at, made) == target
    else:
        with pytest.raises(StorageError) as refused:
            put(at, made)
        assert refused.value.code == "output_exists"
    assert target.read_bytes() == theirs
    assert list(target.parent.iterdir()) == [target]


def test_nothing_goes_outside_the_roots(tmp_path, made):
    (tmp_path / "out").symlink_to("/tmp")
    with pytest.raises(StorageError) as refused:
        put(output_folder(tmp_path), made)
    assert refused.value.code == "output_outside_roots"


@pytest.mark.parametrize("named", [True, False])
def test_what_a_killed_batch_left_half_published_is_swept(tmp_path, made, named):
    at = output_folder(tmp_path, named=named)
    target = put(at, made)
    folders = at.folders(["2019/beach"], [IDENTITY])
    assert target.parent in folders
    left = target.with_name(f".{target.name}.job-1.mediaray-part")
    others = target.with_name(f".{target.name}.another-1.mediaray-part")
    left.touch()
    others.touch()
    at.sweep(folders)
    assert sorted(target.parent.iterdir()) == sorted([target, others])
