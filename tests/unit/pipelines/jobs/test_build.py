"""What a build is told by."""

import shutil
from pathlib import Path

import pytest

import pipelines
from pipelines.jobs.build import build_id, digest_of

MEDIA = Path(pipelines.__file__).parent / "media"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MEDIA, tmp_path / "media", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_same_sources_elsewhere_are_the_same_build(copy):
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "child.cpython-311.pyc").write_bytes(b"compiled")
    assert digest_of(copy) == digest_of(MEDIA)


def edited(folder: Path) -> None:
    with (folder / "images" / "pixels.py").open("a") as file:
        file.write("#")


def moved(folder: Path) -> None:
    (folder / "chunk.py").rename(folder / "chunks.py")


@pytest.mark.parametrize("change", [edited, moved])
def test_another_source_is_another_build(copy, change):
    change(copy)
    assert digest_of(copy) != digest_of(MEDIA)


def test_an_answer_depends_on_more_than_a_piece():
    """How a result is worded is no reason to encode a film's chunk again."""
    assert build_id("answers") != build_id("pieces")
