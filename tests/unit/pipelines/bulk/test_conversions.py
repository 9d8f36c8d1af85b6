"""Files converted on their way into a folder, named by a template: the example in docs/collections.md."""

import os
from pathlib import Path

import av
import media_factory as factory
import pytest
from PIL import Image
from pydantic import ValidationError

from pipelines.bulk.operations.collection_process import OPERATION

TEMPLATE = "{kind}/{year}/{stem}"
A_DAY_IN_2026_S = 1_775_000_000


@pytest.fixture
def library(desk, imported) -> Path:
    for path in ("holiday/beach.png", "work/beach.png", "work/hill.bmp"):
        file = desk.library / path
        file.parent.mkdir(exist_ok=True)
        Image.effect_noise((64, 48), 60 + len(path)).convert("RGB").save(file)
    factory.film(desk.library / "holiday/film.mkv", frames=20)
    for file in desk.library.rglob("*.*"):
        os.utime(file, (A_DAY_IN_2026_S, A_DAY_IN_2026_S))
    imported()
    return desk.library


def made(desk, task: str, **params) -> set[str]:
    """The files in the folder, after a conversion."""
    result = desk.do(OPERATION, "collection:all", task=task, output=str(desk.out), **params).result
    assert result.failed == 0
    return {str(path.relative_to(desk.out)) for path in desk.out.rglob("*") if path.is_file()}


def test_pictures_are_converted_into_a_folder_by_a_template(desk, library):
    names = made(desk, "image-convert", task_params={"format": "webp"}, template=TEMPLATE)
    assert "image/2026/hill.webp" in names
    assert len(names) == 3
    with Image.open(desk.out / "image/2026/hill.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (64, 48))


def test_films_are_transcoded_into_a_folder_by_a_template(desk, library):
    assert made(desk, "transcode", task_params={"profile": "web-720p"}, template=TEMPLATE) == {"video/2026/film.mp4"}
    with av.open(str(desk.out / "video/2026/film.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "h264"


def test_a_second_run_makes_nothing_again_and_another_template_all(desk, library):
    params = {"task_params": {"format": "webp"}, "where": "path LIKE 'work/%'"}
    first = made(desk, "image-convert", template="{stem}", **params)
    before = {name: (desk.out / name).stat().st_ino for name in first}
    assert made(desk, "image-convert", template="{stem}", **params) == first
    assert {name: (desk.out / name).stat().st_ino for name in first} == before
    assert made(desk, "image-convert", template="new/{stem}", **params) == first | {f"new/{name}" for name in first}


def test_a_template_without_a_folder_is_refused():
    with pytest.raises(ValidationError, match="output"):
        OPERATION.params(task="image-convert", task_params={"format": "webp"}, template="{stem}")


def test_a_template_of_no_field_is_refused():
    with pytest.raises(ValidationError, match="can't be used"):
        OPERATION.params(task="image-convert", output="/out", template="{nothing}")
