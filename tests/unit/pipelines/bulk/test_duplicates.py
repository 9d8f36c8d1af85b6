"""Copies are found by their bytes and by their look, on real files; and the best is named with the reason."""

import os
import shutil
from pathlib import Path

import media_factory as factory
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from shots import shot
from unit.pipelines.bulk.desk import report, settle

from cluster import identity
from pipelines.bulk import digests
from pipelines.bulk.duplicates import Copy, Look, film_groups, picture_groups
from pipelines.bulk.operations.collection_duplicates import OPERATION
from pipelines.bulk.tables import Table


def scene(seed: int, width: int = 120, height: int = 80) -> Image.Image:
    """Smooth patches with some noise, as a photo has them."""
    random = np.random.default_rng(seed)
    patches = Image.fromarray(random.integers(0, 255, (6, 9, 3), dtype=np.uint8)).resize((width, height), 3)
    noise = random.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(patches) + noise, 0, 255).astype(np.uint8))


def groups(desk, **params) -> dict[str, tuple[str, set[str]]]:
    """By the best: the kind, and the others."""
    outcome = desk.do(OPERATION, "collection:all", **params)
    return {
        Path(row["best"]).name: (row["kind"], {Path(copy["uri"]).name for copy in row["copies"][1:]})
        for row in report(outcome, "duplicates.jsonl")
    }


@pytest.fixture
def library(desk) -> Path:
    for number in range(4):
        scene(number).save(desk.library / f"{number}.png")
    scene(0).save(desk.library / "0-small.jpg", quality=60)
    scene(0).resize((60, 40), Image.Resampling.LANCZOS).save(desk.library / "0-smaller.webp")
    scene(1).crop((0, 0, 75, 80)).save(desk.library / "1-cropped.png")
    shutil.copy(desk.library / "2.png", desk.library / "2x.png")
    for number in range(2):
        Image.new("RGB", (200 + number, 100), "white").save(desk.library / f"white-{number}.png")
    settle(desk.library)
    return desk.library


def test_the_same_picture_in_other_encodes_is_a_group_and_other_pictures_aren_t(desk, library, imported):
    imported()
    assert groups(desk, kinds=("picture",)) == {
        "0.png": ("picture", {"0-small.jpg", "0-smaller.webp"}),
        "2.png": ("picture", {"2x.png"}),
    }


def test_the_same_bytes_are_a_group_of_their_own_kind_and_in_no_other(desk, library, imported):
    imported()
    assert groups(desk) == {
        "0.png": ("picture", {"0-small.jpg", "0-smaller.webp"}),
        "2.png": ("exact", {"2x.png"}),
    }


def digested(collection) -> set[str]:
    """The names of the files that were read whole."""
    table = Table(
        collection.folder / "digests", pa.schema({"uri": pa.string(), "at": pa.timestamp("us", "UTC")}), "uri"
    )
    return {Path(uri).name for uri in table.read(("uri",))["uri"].to_pylist()}


def test_only_files_that_share_their_size_are_read_whole(desk, library, imported):
    collection = imported()
    groups(desk, kinds=("exact",))
    assert digested(collection) == {"2.png", "2x.png"}
    assert collection.tasks() == []


def test_copies_with_the_same_time_are_read_each(desk, imported):
    scene(1).save(desk.library / "a.png")
    shutil.copy2(desk.library / "a.png", desk.library / "b.png")
    collection = imported()
    assert groups(desk) == {"a.png": ("exact", {"b.png"})}
    assert digested(collection) == {"a.png", "b.png"}


def test_a_copy_in_which_a_byte_flipped_between_the_samples_is_none(desk, imported):
    """All that tells contents apart else is the same: size, time, and the samples."""
    (desk.library / "a.bin").write_bytes(bytes(3 << 20))
    with (desk.library / "b.bin").open("wb") as file:
        file.write(bytes(100_000) + b"x" + bytes((3 << 20) - 100_001))
    for name in ("a.bin", "b.bin"):
        os.utime(desk.library / name, (10**9, 10**9))
    files = imported().files.read(("uri", "identity"))
    assert len(files["identity"].unique()) == 1
    assert groups(desk) == {}


def test_a_digest_is_kept_while_its_file_stays_as_it_is(desk, library, imported, monkeypatch):
    collection, read = imported(), []
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    groups(desk, kinds=("exact",))
    real = digests.each_of
    monkeypatch.setattr(digests, "each_of", lambda *given: read.append(given[-1]) or real(*given))
    assert groups(desk, kinds=("exact",)) == {"2.png": ("exact", {"2x.png"})}
    assert read == []
    (library / "2x.png").write_bytes((library / "2.png").read_bytes()[:-1] + b"x")
    imported()
    assert groups(desk, kinds=("exact",)) == {}
    assert read == [[str(library / "2x.png")]]
    assert digested(collection) == {"2.png", "2x.png"}


def test_a_file_is_no_copy_of_itself_whatever_its_names_are(desk, imported):
    scene(1).save(desk.library / "a.png")
    (desk.library / "b.png").hardlink_to(desk.library / "a.png")
    (desk.library / "c.png").symlink_to(desk.library / "a.png")
    imported()
    assert groups(desk) == {}


def test_a_copy_with_several_names_counts_once(desk, imported):
    scene(1).save(desk.library / "a.png")
    shutil.copy(desk.library / "a.png", desk.library / "b.png")
    settle(desk.library)
    (desk.library / "a2.png").hardlink_to(desk.library / "a.png")
    (desk.library / "b2.png").hardlink_to(desk.library / "b.png")
    imported()
    outcome = desk.do(OPERATION, "collection:all")
    assert [Path(copy.uri).name for copy in outcome.result.largest[0].copies] == ["a.png", "b.png", "b2.png"]
    assert outcome.result.spare_bytes == (desk.library / "a.png").stat().st_size


def test_the_best_of_the_same_bytes_is_no_link_and_not_what_the_collection_itself_keeps(desk, imported):
    linked = desk.library / ".not-imported.png"
    scene(1).save(linked)
    shutil.copy2(linked, desk.library / "copy-with-a-long-name.png")
    (desk.library / "a.png").symlink_to(linked)
    own = desk.collection().folder / "unpacked" / "0.png"
    own.parent.mkdir(parents=True)
    shutil.copy2(linked, own)
    imported(desk.library, own.parent)
    assert groups(desk) == {"copy-with-a-long-name.png": ("exact", {"a.png", "0.png"})}


def test_two_files_of_the_same_size_with_other_bytes_are_no_copies(desk, imported):
    (desk.library / "a.txt").write_bytes(b"a" * 100)
    (desk.library / "b.txt").write_bytes(b"b" * 100)
    settle(desk.library)
    imported()
    assert groups(desk) == {}


def test_the_same_film_in_another_encode_is_a_group(desk, imported):
    shots = [picture for number in range(8) for picture in shot(number, 10)]
    factory.write_video(desk.library / "film.mkv", shots, options={"crf": "12"})
    factory.write_video(desk.library / "small.mp4", shots, options={"crf": "36"})
    factory.write_video(desk.library / "part.mkv", shots[:60])
    factory.write_video(desk.library / "other.mkv", [each for number in range(8, 16) for each in shot(number, 10)])
    settle(desk.library)
    imported()
    outcome = desk.do(OPERATION, "collection:all")
    (group,) = outcome.result.largest
    assert [Path(copy.uri).name for copy in group.copies] == ["film.mkv", "small.mp4"]
    assert "bytes against" in group.reason
    assert group.spare_bytes == (desk.library / "small.mp4").stat().st_size


def test_files_that_can_t_be_looked_at_are_counted(desk, imported):
    (desk.library / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    settle(desk.library)
    imported()
    outcome = desk.do(OPERATION, "collection:all")
    assert outcome.result.unknown == 1
    assert "isn't known" in outcome.warnings[0]


def look(name: str, width: int, score: float | None, size_bytes: int, bits: int = 0) -> Look:
    told = {"uri": name, "size_bytes": size_bytes, "modified_at": "2026-01-01T00:00:00Z"}
    file = Copy.model_validate({**told, "width": width, "height": width, "score": score})
    return Look(file=file, hashes=(f"{bits:016x}", "0" * 16))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (look("b", 50, 99, 2000), "100x100 against 50x50."),
        (look("b", 100, 40, 2000), "its quality is 80.0, of the other 40.0."),
        (look("b", 100, 80, 500), "1000 bytes against 500."),
        (look("b", 100, 80, 1000), "the first by name."),
    ],
)
def test_the_reason_tells_by_what_the_best_is_better(second, reason):
    (group,) = picture_groups([look("a", 100, 80, 1000), second], distance=4)
    assert group.best == "a"
    assert group.reason.endswith(reason)


def test_a_quality_that_nobody_knows_is_not_said_to_be_alike():
    first, second = look("a", 100, None, 1000), look("b", 100, None, 500)
    (group,) = picture_groups([first, second], distance=4)
    assert group.reason == "of the same size in pixels, and quality isn't known; 1000 bytes against 500."


def test_pictures_of_another_shape_are_not_the_same():
    wide = look("a", 100, 80, 1000)
    wide = wide.model_copy(update={"file": wide.file.model_copy(update={"height": 90})})
    assert picture_groups([wide, look("b", 100, 80, 1000)], distance=4) == []


def test_an_animation_is_no_copy_of_its_first_frame():
    moving = look("a", 100, 80, 1000).model_copy(update={"moving": True})
    assert picture_groups([moving, look("b", 100, 80, 1000)], distance=4) == []


def test_films_of_another_shape_are_not_the_same():
    wide = film_look("a", 100.0)
    wide = wide.model_copy(update={"file": wide.file.model_copy(update={"height": 75})})
    assert film_groups([wide, film_look("b", 100.0)], distance=8) == []


def film_look(name: str, duration_s: float | None) -> Look:
    return look(name, 100, None, 1000).model_copy(update={"hashes": ("0" * 16,) * 8, "duration_s": duration_s})


@pytest.mark.parametrize(("duration_s", "found"), [(100.9, 1), (101.1, 0), (None, 0)])
def test_films_are_the_same_only_if_they_last_about_as_long(duration_s, found):
    assert len(film_groups([film_look("a", 100.0), film_look("b", duration_s)], distance=8)) == found
