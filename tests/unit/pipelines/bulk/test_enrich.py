"""Enriching a collection: what is found out by which operation, once, with progress over all."""

from itertools import pairwise
from pathlib import Path

import media_factory as factory
import pytest
from PIL import Image
from unit.pipelines.bulk.desk import report, settle

from cluster.errors import StorageError
from pipelines.bulk.operations.collection_enrich import OPERATION


@pytest.fixture
def library(desk) -> Path:
    factory.film(desk.library / "film.mkv", frames=20)
    for number in range(3):
        Image.effect_noise((64, 48), 60 + number).save(desk.library / f"{number}.png")
    (desk.library / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (desk.library / "notes.txt").write_text("notes")
    settle(desk.library)
    return desk.library


def done(desk, *what: str) -> dict[str, tuple[int, int, int]]:
    """Of each operation how many files were done, known and failed."""
    result = desk.do(OPERATION, "collection:all", what=what).result
    return {each.task.rpartition("-")[0]: (each.done, each.known, each.failed) for each in result.tasks}


def test_metadata_is_of_films_and_pictures(desk, library, imported):
    imported()
    assert done(desk, "metadata") == {"probe": (1, 0, 0), "image-analyze": (3, 0, 1)}


def test_what_several_ask_for_is_done_once_and_never_again(desk, library, imported):
    imported()
    assert done(desk, "hashes", "placeholders", "metadata") == {
        "fingerprint": (1, 0, 0),
        "image-analyze": (3, 0, 1),
        "probe": (1, 0, 0),
    }
    assert done(desk, "metadata", "checksums") == {
        "probe": (0, 1, 0),
        "image-analyze": (0, 4, 1),
        "checksum": (6, 0, 0),
    }


def test_quality_and_loudness_are_found_out(desk, library, imported):
    imported()
    assert done(desk, "quality", "loudness").keys() == {"quality", "image-analyze", "probe"}


def test_progress_is_of_the_whole_and_never_goes_back(desk, library, imported):
    imported()
    done(desk, "metadata", "checksums", "sidecars")
    assert all(one <= other for one, other in pairwise(desk.told))
    assert 0.5 < desk.told[-1] <= 0.75  # the fourth part, the side-cars, had nothing to do


def test_failures_are_told_with_what_failed(desk, library, imported):
    imported()
    outcome = desk.do(OPERATION, "collection:all")
    (row,) = report(outcome, "failed.jsonl")
    assert (row["task"], Path(row["uri"]).name) == ("image-analyze", "broken.png")
    assert "failed.jsonl" in outcome.warnings[0]


def test_only_what_meets_a_condition_is_looked_at(desk, library, imported):
    imported()
    outcome = desk.do(OPERATION, "collection:all", where="path = '1.png'", what=("metadata", "checksums"))
    assert [(each.files, each.done) for each in outcome.result.tasks] == [(0, 0), (1, 1), (1, 1)]


def test_a_collection_that_isn_t_there_is_told(desk):
    with pytest.raises(StorageError, match="no collection nowhere"):
        desk.do(OPERATION, "collection:nowhere")
