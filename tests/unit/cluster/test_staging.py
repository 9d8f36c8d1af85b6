import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from unit.refusals import code_of

from cluster.errors import StorageError
from cluster.staging import check_target, check_target_folder, publish, remove_staged, stage


@pytest.fixture
def made(tmp_path) -> Path:
    path = tmp_path / "made"
    path.write_bytes(b"made")
    return path


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# Targets


def test_a_target_in_a_folder_that_isn_t_there_yet_is_fine(root):
    check_target(root / "new/deep/out.mkv", [root], overwrite=False)


@pytest.mark.parametrize(
    ("name", "overwrite", "code"),
    [
        ("film.mkv", False, "output_exists"),
        ("folder", True, "output_exists"),
        ("nowhere", False, "output_exists"),
        ("../out.mkv", False, "output_outside_roots"),
        ("door/out.mkv", False, "output_outside_roots"),
        ("film.mkv/out.mkv", False, "output_not_writable"),
    ],
)
def test_a_target_that_can_t_be_written_says_why(film, root, tmp_path, name, overwrite, code):
    (root / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "door").symlink_to(tmp_path / "elsewhere")
    (root / "nowhere").symlink_to(root / "gone")
    target = Path(os.path.normpath(root / name))
    assert code_of(check_target, target, [root], overwrite=overwrite) == code


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("film.mkv", "output_exists", "{root}/film.mkv is a file"),
        ("../out", "output_outside_roots", "{root}/../out is outside the folders this server may write"),
        ("door", "output_outside_roots", "{root}/door is, or lies behind, a link that leads outside the folders"),
        ("door/deep", "output_outside_roots", "{root}/door/deep is, or lies behind, a link that leads outside"),
        ("film.mkv/out", "output_not_writable", "{root}/film.mkv is not a folder"),
    ],
)
def test_a_folder_that_can_t_be_filled_is_told_by_its_own_name(film, root, tmp_path, name, code, told):
    (tmp_path / "elsewhere").mkdir()
    (root / "door").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError) as refused:
        check_target_folder(Path(os.path.normpath(root / name)), [root])
    assert refused.value.code == code
    assert refused.value.message.startswith(os.path.normpath(told.format(root=root)))


def test_a_folder_that_isn_t_there_yet_may_be_filled(root):
    check_target_folder(root / "new/deep", [root])
    check_target_folder(root, [root])


def test_an_existing_file_may_be_overwritten_when_asked(film, root):
    check_target(film, [root], overwrite=True)


# Publishing


def published(root: Path, made: Path, name: str = "out.mkv", *, overwrite: bool = False) -> Path:
    target = root / name
    staged = stage(made, target, [root], "job-1")
    assert not target.exists() or overwrite
    publish(staged, target, overwrite=overwrite, size_bytes=4)
    return target


def test_a_published_file_has_its_name_and_leaves_nothing_beside_it(root, made):
    assert published(root, made).read_bytes() == b"made"
    assert names_in(root) == ["out.mkv"]


def test_a_link_that_leads_nowhere_is_not_replaced(root, made):
    staged = stage(made, root / "out.mkv", [root], "job-1")
    (root / "out.mkv").symlink_to(root / "gone")
    assert code_of(publish, staged, root / "out.mkv", overwrite=False, size_bytes=4) == "output_exists"


def test_a_folder_that_is_a_link_to_nowhere_is_refused(root):
    (root / "nowhere").symlink_to(root / "gone")
    assert code_of(check_target, root / "nowhere/out.mkv", [root], overwrite=False) == "output_not_writable"


def test_a_staged_file_is_hidden_beside_its_target(root, made):
    staged = stage(made, root / "new/out.mkv", [root], "job-1")
    assert staged.parent == root / "new"
    assert staged.name.startswith(".")


@pytest.fixture
def flushed(monkeypatch):
    """What was brought to the disk, in order."""
    paths: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_new_folders_are_flushed_with_the_names_they_have_above(root, made, flushed):
    stage(made, root / "2019/june/out.mkv", [root], "job-1")
    assert flushed == [root, root / "2019"]


def test_a_copy_is_flushed_where_another_name_of_what_is_on_the_disk_needs_not_be(root, made, tmp_path, flushed):
    stage(made, root / "linked.mkv", [root], "job-1")
    assert flushed == []
    os.link(made, tmp_path / "kept")
    assert flushed == [stage(made, root / "copied.mkv", [root], "job-1")]


def test_an_output_is_the_finished_file_itself(root, made):
    assert stage(made, root / "out.mkv", [root], "job-1").samefile(made)


def test_a_file_that_others_have_too_is_copied_so_that_the_output_is_the_user_s_alone(root, made, tmp_path):
    os.link(made, tmp_path / "kept")
    staged = stage(made, root / "out.mkv", [root], "job-1")
    assert not staged.samefile(made)
    assert staged.read_bytes() == b"made"


def test_a_file_is_replaced_when_asked(root, made, film):
    assert published(root, made, "film.mkv", overwrite=True).read_bytes() == b"made"


def test_a_file_that_came_meanwhile_is_not_replaced(root, made):
    staged = stage(made, root / "out.mkv", [root], "job-1")
    (root / "out.mkv").write_bytes(b"other")
    assert code_of(publish, staged, root / "out.mkv", overwrite=False, size_bytes=4) == "output_exists"
    assert (root / "out.mkv").read_bytes() == b"other"


@pytest.mark.parametrize("overwrite", [True, False])
def test_publishing_twice_is_harmless(root, made, overwrite):
    target = root / "out.mkv"
    staged = stage(made, target, [root], "job-1")
    publish(staged, target, overwrite=overwrite, size_bytes=4)
    publish(staged, target, overwrite=overwrite, size_bytes=4)
    assert target.read_bytes() == b"made"


def test_publishing_that_was_killed_half_way_is_finished(root, made):
    target = root / "out.mkv"
    staged = stage(made, target, [root], "job-1")
    os.link(staged, target)
    publish(staged, target, overwrite=False, size_bytes=4)
    assert names_in(root) == ["out.mkv"]


def test_a_staged_file_that_is_gone_is_told(root, made):
    staged = stage(made, root / "out.mkv", [root], "job-1")
    staged.unlink()
    assert code_of(publish, staged, root / "out.mkv", overwrite=False, size_bytes=4) == "output_lost"


@pytest.mark.parametrize("overwrite", [True, False])
def test_two_that_publish_at_once_both_succeed(root, made, monkeypatch, overwrite):
    """The other one is done between our look and our rename."""
    target = root / "out.mkv"
    staged = stage(made, target, [root], "job-1")
    link, replace = os.link, Path.replace

    def other_first(*_: object) -> None:
        monkeypatch.setattr(os, "link", link)
        monkeypatch.setattr(Path, "replace", replace)
        publish(staged, target, overwrite=overwrite, size_bytes=4)
        raise FileNotFoundError(errno.ENOENT, "No such file", str(staged))

    monkeypatch.setattr(os, "link", other_first)
    monkeypatch.setattr(Path, "replace", other_first)
    publish(staged, target, overwrite=overwrite, size_bytes=4)
    assert names_in(root) == ["out.mkv"]


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_file_system_without_hard_links_is_published_to(root, made, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    assert published(root, made).read_bytes() == b"made"
    assert names_in(root) == ["out.mkv"]


def test_without_hard_links_too_a_file_that_came_meanwhile_is_not_replaced(root, made, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    staged = stage(made, root / "out.mkv", [root], "job-1")
    (root / "out.mkv").write_bytes(b"other")
    assert code_of(publish, staged, root / "out.mkv", overwrite=False, size_bytes=4) == "output_exists"
    assert (root / "out.mkv").read_bytes() == b"other"


def test_what_a_job_staged_in_a_folder_is_removed_and_nothing_else(root, made):
    stage(made, root / "stills/1.jpg", [root], "job-1")
    stage(made, root / "stills/2.jpg", [root], "other-1")
    remove_staged(root / "stills", "job-")
    assert len(names_in(root / "stills")) == 1


def test_a_file_that_can_t_be_linked_is_copied(root, made, monkeypatch):
    def other_device(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", other_device)
        staged = stage(made, root / "out.mkv", [root], "job-1")
    assert staged.read_bytes() == b"made"
    assert staged.stat().st_ino != made.stat().st_ino


def test_a_folder_swapped_for_a_symlink_meanwhile_is_refused(root, made, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / "sub").symlink_to(tmp_path / "elsewhere")
    assert code_of(stage, made, root / "sub/out.mkv", [root], "job-1") == "output_outside_roots"
    assert names_in(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["film [2024]*?.mkv", "a" * 251 + ".mkv", "é" * 125 + ".mkv"])
def test_any_name_can_be_staged_removed_and_published(root, made, name):
    stage(made, root / name, [root], "job-1")
    stage(made, root / name, [root], "other-1")
    remove_staged(root, "job-")
    (left,) = root.iterdir()
    publish(left, root / name, overwrite=False, size_bytes=4)
    assert names_in(root) == [name]


def test_two_long_names_don_t_share_a_staged_name(root, made):
    one, two = (stage(made, root / ("a" * 250 + end), [root], "job-1") for end in "xy")
    assert one != two


def test_removing_from_a_folder_that_isn_t_there_is_no_error(root):
    remove_staged(root / "none", "job-")


# A full disk


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A root on a disk with no room, and the folder it is."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if mounted:
        (folder / "filler").write_bytes(b"x" * (60 << 10))
    else:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(shutil, "copyfile", full)
        monkeypatch.setattr(os, "link", full)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told(full_disk, tmp_path):
    made = tmp_path / "made"
    made.write_bytes(b"x" * (32 << 10))
    assert code_of(stage, made, full_disk / "out.mkv", [full_disk], "job-1") == "disk_full"
