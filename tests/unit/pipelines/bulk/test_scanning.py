"""Scanning: what is found by names and facts, in an order of names, with what can't be read told."""

import os
from pathlib import Path

import pytest

from cluster.errors import StorageError
from pipelines.bulk.scanning import Seen, kind_of, scan

ALL = frozenset({"video", "audio", "image", "other"})


def seen(folder: Path, kinds: frozenset[str] = ALL) -> list[Seen]:
    return list(scan([str(folder)], (folder.parent,), kinds=kinds))


def make(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.mkv", "sub/c.flac", "sub/deep/d.PNG", "notes.txt", ".hidden.jpg", ".trash/e.jpg"):
        make(tmp_path / "library" / name)
    return tmp_path / "library"


def test_files_are_found_in_folders_below_but_nothing_hidden(library):
    assert [each.path for each in seen(library)] == ["a.mkv", "b.jpg", "notes.txt", "sub/c.flac", "sub/deep/d.PNG"]


def test_a_kind_is_told_by_the_name(library):
    assert {each.path: each.kind for each in seen(library)} == {
        "a.mkv": "video",
        "b.jpg": "image",
        "notes.txt": "other",
        "sub/c.flac": "audio",
        "sub/deep/d.PNG": "image",
    }
    assert [each.path for each in seen(library, frozenset({"audio"}))] == ["sub/c.flac"]
    assert kind_of("archive.tar.gz") == "other"


def test_a_file_is_told_with_what_the_file_system_notes(library):
    film = next(each for each in seen(library) if each.path == "a.mkv")
    facts = (library / "a.mkv").stat()
    assert (film.uri, film.root) == (str(library / "a.mkv"), str(library))
    assert (film.size_bytes, film.modified_ns) == (facts.st_size, facts.st_mtime_ns)


def test_a_file_written_a_moment_ago_has_no_stamp(library):
    assert all(each.stamp is None for each in seen(library))


def test_a_link_that_loops_is_not_walked(library):
    (library / "loop").symlink_to(library)
    (library / "self").symlink_to("self")
    assert len([each for each in seen(library) if each.problem is None]) == 5


def test_a_name_that_isn_t_utf_8_is_told(library):
    Path(os.fsdecode(os.fsencode(library) + b"/caf\xe9.jpg")).write_bytes(b"x")
    (odd,) = [each for each in seen(library) if each.problem]
    assert odd.problem == "its name isn't UTF-8"
    assert odd.uri.isascii()


def test_a_folder_that_can_t_be_read_is_told(library, monkeypatch):
    real = os.scandir

    def denied(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    (problem,) = [each for each in seen(library) if each.problem]
    assert (problem.path, problem.problem) == ("sub", "Permission denied")


def test_a_file_may_be_named_itself(library):
    (film,) = scan([str(library / "a.mkv")], (library,), kinds=ALL)
    assert (film.path, film.root) == ("a.mkv", str(library))


@pytest.mark.parametrize(("source", "code"), [("/etc", "source_outside_roots"), ("{library}/none", "source_not_found")])
def test_what_can_t_be_a_source_is_refused(library, source, code):
    with pytest.raises(StorageError) as refused:
        list(scan([source.format(library=library)], (library,), kinds=ALL))
    assert refused.value.code == code
