import errno
import os
from pathlib import Path

import pytest
from unit.refusals import code_of

from cluster.errors import StorageError
from cluster.files import check_folder, files_below, open_file


def opened(uri: str, *roots: Path) -> bytes:
    with open_file(uri, roots) as source:
        return os.pread(source.descriptor, 100, 0)


def test_all_is_read_however_little_comes_at_once(film, root, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: real(descriptor, min(count, 3), offset))
    with open_file(str(film), [root]) as source:
        assert (source.read(4, 0), source.read(2, 1)) == (b"film", b"il")


def test_a_source_that_became_shorter_is_told_where_it_is_read(film, root):
    with open_file(str(film), [root]) as source:
        os.truncate(film, 2)
        assert source.read(2, 0) == b"fi"
        assert code_of(source.read, 4, 0) == "source_changed"


def test_a_source_that_can_t_be_read_is_told(film, root, monkeypatch):
    def broken(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with open_file(str(film), [root]) as source:
        monkeypatch.setattr(os, "pread", broken)
        assert code_of(source.read, 4, 0) == "source_unreadable"
        assert code_of(source.identity) == "source_unreadable"


def test_a_source_whose_content_can_t_be_read_any_more_is_told(film, root, monkeypatch):
    def broken(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with open_file(str(film), [root]) as source:
        source.identity()
        film.rename(film.with_name("renamed.mkv"))
        monkeypatch.setattr(os, "pread", broken)
        assert code_of(source.is_other) == "source_unreadable"


def test_a_source_under_a_root_is_opened(film, root):
    with open_file(str(film), [root]) as source:
        assert (source.path, source.size_bytes) == (film, 4)
        assert os.pread(source.descriptor, 9, 0) == b"film"


def test_the_descriptor_is_closed_afterwards(film, root):
    with open_file(str(film), [root]) as source:
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
