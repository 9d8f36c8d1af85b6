import errno
import os
import subprocess
from pathlib import Path

import pytest

from cluster import storage
from cluster.errors import StorageError
from cluster.storage import (
    check_folder,
    check_target,
    check_target_folder,
    files_below,
    free_space,
    local_path,
    open_source,
    publish,
    remove_staged,
    stage,
)


@pytest.fixture
def film(root) -> Path:
    path = root / "film.mkv"
    path.write_bytes(b"film")
    return path


@pytest.fixture
def made(tmp_path) -> Path:
    path = tmp_path / "made"
    path.write_bytes(b"made")
    return path


def code_of(call, *arguments, **named) -> str:
    with pytest.raises(StorageError) as refused:
        call(*arguments, **named)
    return refused.value.code


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def opened(uri: str, *roots: Path) -> bytes:
    with open_source(uri, roots) as source:
        return os.pread(source.descriptor, 100, 0)


# Names


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/films/a.mkv", "/films/a.mkv"),
        ("/films/../a.mkv", "/a.mkv"),
        ("/films/a%20b.mkv", "/films/a%20b.mkv"),
        ("file:///films/a%20b.mkv", "/films/a b.mkv"),
        ("file://localhost/films/a.mkv", "/films/a.mkv"),
        ("file:/films/a.mkv", "/films/a.mkv"),
        ("file:///films/%C3%A9.mkv", "/films/é.mkv"),
        ("/" + "é" * 127, "/" + "é" * 127),
    ],
)
def test_paths_and_file_uris_name_files(uri, expected):
    assert local_path(uri) == Path(expected)


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("", "source_invalid"),
        ("a.mkv", "source_invalid"),
        ("file:a.mkv", "source_invalid"),
        ("file:", "source_invalid"),
        ("/a\0b", "source_invalid"),
        ("file:///a%00b", "source_invalid"),
        ("http://[", "source_invalid"),
        ("/\ud800", "source_invalid"),
        ("/" + "a" * 256, "source_invalid"),
        ("/a" * 3000, "source_invalid"),
        ("file://server/a.mkv", "scheme_unsupported"),
        ("https://example.org/a.mkv", "scheme_unsupported"),
        ("s3://bucket/a.mkv", "scheme_unsupported"),
    ],
)
def test_everything_else_is_refused(uri, code):
    assert code_of(local_path, uri) == code


# Sources


def test_all_is_read_however_little_comes_at_once(film, root, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: real(descriptor, min(count, 3), offset))
    with open_source(str(film), [root]) as source:
        assert (source.read(4, 0), source.read(2, 1)) == (b"film", b"il")


def test_a_source_that_became_shorter_is_told_where_it_is_read(film, root):
    with open_source(str(film), [root]) as source:
        os.truncate(film, 2)
        assert source.read(2, 0) == b"fi"
        assert code_of(source.read, 4, 0) == "source_changed"


def test_a_source_that_can_t_be_read_is_told(film, root, monkeypatch):
    def broken(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with open_source(str(film), [root]) as source:
        monkeypatch.setattr(os, "pread", broken)
        assert code_of(source.read, 4, 0) == "source_unreadable"


def test_a_source_under_a_root_is_opened(film, root):
    with open_source(str(film), [root]) as source:
        assert (source.path, source.size_bytes) == (film, 4)
        assert os.pread(source.descriptor, 9, 0) == b"film"


def test_the_descriptor_is_closed_afterwards(film, root):
    with open_source(str(film), [root]) as source:
        pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source.descriptor)


def test_a_file_uri_with_a_space_is_opened(root):
    (root / "a b.mkv").write_bytes(b"x")
    assert opened(f"file://{root}/a%20b.mkv", root) == b"x"


def test_a_root_may_be_a_symlink(film, root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert opened(f"{tmp_path}/alias/film.mkv", tmp_path / "alias") == b"film"


@pytest.mark.parametrize("name", ["link", "door/secret"])
def test_a_symlink_out_of_the_roots_is_refused(root, tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "outside/secret")
    (root / "door").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match=f"{name} is, or lies behind, a link that leads outside") as refused:
        opened(f"{root}/{name}", root)
    assert refused.value.code == "source_outside_roots"


def test_what_lies_outside_isn_t_told(root, tmp_path):
    (tmp_path / "there").write_bytes(b"x")
    assert code_of(opened, f"{tmp_path}/there", root) == code_of(opened, f"{tmp_path}/not-there", root)


def test_a_folder_whose_name_begins_like_a_root_is_outside(root, tmp_path):
    (tmp_path / "films2").mkdir()
    (tmp_path / "films2/a").write_bytes(b"x")
    assert code_of(opened, f"{tmp_path}/films2/a", root) == "source_outside_roots"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("none.mkv", "source_not_found"),
        ("film.mkv/none", "source_not_found"),
        ("dangling", "source_not_found"),
        ("folder", "source_not_a_file"),
        ("fifo", "source_not_a_file"),
        ("empty", "source_empty"),
        ("circle", "source_unreadable"),
    ],
)
def test_a_source_that_can_t_be_read_says_why(film, root, name, code):
    (root / "folder").mkdir()
    os.mkfifo(root / "fifo")
    (root / "empty").touch()
    (root / "dangling").symlink_to(root / "nothing")
    (root / "circle").symlink_to(root / "circle")
    assert code_of(opened, f"{root}/{name}", root) == code


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


def test_free_space_is_told_for_a_folder_that_isn_t_there_yet(tmp_path):
    assert free_space(tmp_path / "new/folder") > 0


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

        monkeypatch.setattr(storage.shutil, "copyfile", full)
        monkeypatch.setattr(os, "link", full)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told(full_disk, tmp_path):
    made = tmp_path / "made"
    made.write_bytes(b"x" * (32 << 10))
    assert code_of(stage, made, full_disk / "out.mkv", [full_disk], "job-1") == "disk_full"


# Folders


@pytest.fixture
def tree(root):
    for name in ("b.jpg", "a.PNG", "c.txt", ".d.jpg", "sub/e.jpg", ".hidden/f.jpg", "made/g.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_files_below_a_folder_in_order_without_hidden_ones(tree):
    found = files_below(tree, {".jpg", ".png"}, without=tree / "made", most=3)
    assert [str(path.relative_to(tree)) for path in found.files] == ["a.PNG", "b.jpg", "sub/e.jpg"]


def test_links_to_folders_are_not_followed(tree, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/h.jpg").write_bytes(b"x")
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    assert "h.jpg" not in [path.name for path in files_below(tree, {".jpg"}, most=9).files]


def test_a_folder_outside_the_roots_or_none_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert code_of(check_folder, str(tmp_path / "elsewhere"), [root]) == "source_outside_roots"
    assert code_of(check_folder, str(root / "link"), [root]) == "source_outside_roots"
    assert code_of(check_folder, str(root / "none"), [root]) == "source_not_found"
    assert check_folder(str(root), [root]) == root


def test_too_many_files_are_refused_and_names_that_are_no_text_left_out(tree):
    assert code_of(files_below, tree, {".jpg"}, most=2) == "source_too_many"
    (tree / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    found = files_below(tree, {".jpg"}, most=9)
    assert len(found.files) == 3
    assert len(found.left_out) == 1
    assert "caf" in found.left_out[0]
    found.left_out[0].encode()
