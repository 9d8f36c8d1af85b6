"""What a build is told by."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from pipelines.jobs.build import build_id, digest_of
from pipelines.jobs.catalogue import Catalogue, operation_modules
from pipelines.jobs.libraries import ALL, versions_of

MEDIA = Path(pipelines.__file__).parent / "media"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MEDIA, tmp_path / "media", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_same_sources_elsewhere_are_the_same_build(copy):
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "child.cpython-311.pyc").write_bytes(b"compiled")
    assert digest_of(copy) == digest_of(MEDIA)


def test_what_an_editor_notes_beside_a_source_is_no_source(copy):
    (copy / ".#chunk.py").symlink_to("somebody@somewhere.1234")
    (copy / ".chunk.py").write_text("half a line")
    (copy / ".ipynb_checkpoints").mkdir()
    (copy / ".ipynb_checkpoints" / "chunk-checkpoint.py").write_text("half a line")
    assert digest_of(copy) == digest_of(MEDIA)


def test_a_build_is_that_of_the_sources_that_are_imported(tmp_path):
    """A process that runs on while they are replaced isn't of the new build."""
    package = tmp_path / "pipelines"
    shutil.copytree(MEDIA.parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    replace = "from pathlib import Path\nPath(pipelines.__file__).with_name('media').joinpath('new.py').touch()"
    program = f"import pipelines\nfrom pipelines.jobs import build\n{replace}\nprint(build.build_id('pieces'))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == build_id("pieces")


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


def test_whatever_an_operation_depends_on_is_of_the_build():
    catalogue = Catalogue.load(operation_modules("pipelines.jobs.operations"))
    assert {library for operation in catalogue for library in operation.libraries} <= set(ALL)
    assert catalogue["image-convert"].engine == " ".join(("1", *versions_of(catalogue["image-convert"].libraries)))
