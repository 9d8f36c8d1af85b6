"""Pictures for pages, with the real child."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from unit.edits import edit_unseen

from cluster import identity
from cluster.cache import Cache, operation_tag, source_tag
from cluster.child import MediaChild
from cluster.errors import StorageError
from cluster.file_cache import FileCache
from cluster.roots import Roots
from pipelines.jobs import served_pictures
from pipelines.jobs.errors import BusyError
from pipelines.jobs.models import JobError
from pipelines.jobs.served_pictures import ServedPicture, ServedPictures, etag_of
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

SPEC = ThumbnailSpec(sizes=("32",))


class Shop:
    def __init__(self, child: MediaChild, folder: Path, cache_url: str) -> None:
        self.folder, self.lent, self.lent_slow, self.gate = folder, 0, 0, threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.slow_gate, self.slow_asked = threading.Event(), threading.Event()
        self.slow_gate.set()
        self._child = child
        files = FileCache(folder / "cache", 1 << 20)
        self.pictures = ServedPictures(files, Cache(cache_url), self.lend, self.lend_slow)

    @contextlib.contextmanager
    def lend(self) -> Any:
        self.lent += 1
        self.asked.set()
        assert self.gate.wait(20)
        yield self._child

    @contextlib.contextmanager
    def lend_slow(self) -> Any:
        self.lent_slow += 1
        self.slow_asked.set()
        assert self.slow_gate.wait(20)
        yield self._child

    def ask(self, source: Path, spec: ThumbnailSpec = SPEC) -> ServedPicture | JobError:
        return self.pictures.get(str(source), spec, Roots((self.folder,), ()))

    def get(self, source: Path, spec: ThumbnailSpec = SPEC) -> ServedPicture:
        made = self.ask(source, spec)
        assert isinstance(made, ServedPicture)
        return made


@pytest.fixture
def shop(child, tmp_path, redis_url):
    return Shop(child, tmp_path, redis_url)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """One that was written long ago."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    Image.new("RGB", (64, 48), "red").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_picture_is_made_once(shop, photo):
    first, second = shop.get(photo), shop.get(photo)
    assert first == second
    assert Image.open(first.path).size == (32, 24)
    assert (first.media_type, shop.lent) == ("image/jpeg", 1)


def test_a_giant_is_made_in_a_child_of_its_own(shop, tmp_path):
    giant = tmp_path / "giant.png"
    Image.new("L", (6000, 5000), 99).save(giant)
    assert Image.open(shop.get(giant).path).getpixel((5, 5)) == 99
    assert (shop.lent, shop.lent_slow) == (1, 1)


def test_who_would_wait_too_long_for_other_giants_is_told_to_come_again(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(served_pictures, "WAIT_S", 0.01)
    giants = [tmp_path / "one.png", tmp_path / "two.png"]
    for number, giant in enumerate(giants):
        Image.new("L", (6000, 5000), number).save(giant)
    shop.slow_gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shop.get, giants[0])
        assert shop.slow_asked.wait(20)
        try:
            with pytest.raises(BusyError):
                shop.get(giants[1])
        finally:
            shop.slow_gate.set()
        assert Path(first.result(30).path).exists()


def test_a_giant_jpeg_is_made_with_all_others_as_it_is_decoded_at_a_part_of_its_size(shop, tmp_path):
    Image.new("L", (6000, 5000), 99).save(tmp_path / "giant.jpg")
    shop.get(tmp_path / "giant.jpg")
    assert (shop.lent, shop.lent_slow) == (1, 0)


def test_other_parameters_or_content_are_another_picture(shop, photo):
    first = shop.get(photo)
    assert shop.get(photo, ThumbnailSpec(sizes=("16",))).etag != first.etag
    Image.new("RGB", (64, 48), "blue").save(photo)
    os.utime(photo, (1, 1))
    again = shop.get(photo)
    assert again.etag != first.etag
    assert Image.open(again.path).getpixel((5, 5))[2] > 200


def test_who_looks_at_the_file_alone_knows_the_etag(shop, photo):
    assert shop.get(photo).etag == etag_of(identity.stamp_of(photo.stat()), SPEC)


def test_a_file_that_may_still_be_written_has_no_etag_of_its_times_alone(shop, photo, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    assert etag_of(identity.stamp_of(photo.stat()), SPEC) is None
    assert shop.get(photo).etag == shop.get(photo).etag


def test_what_another_build_made_is_another_picture(shop, photo, monkeypatch):
    first = shop.get(photo)
    monkeypatch.setattr("pipelines.jobs.served_pictures.build_id", lambda _: "another")
    assert shop.get(photo).etag != first.etag


def test_many_who_ask_at_once_wait_for_one(shop, photo):
    shop.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(shop.get, photo) for _ in range(8)]
        shop.gate.set()
        assert len({each.result(30).etag for each in asked}) == 1
    assert shop.lent == 1


def test_a_broken_picture_is_told_again_without_a_try_until_it_is_purged(shop, tmp_path, redis_url):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    told = [shop.ask(broken) for _ in range(2)]
    assert [each.code for each in told if isinstance(each, JobError)] == ["not_media"] * 2
    assert shop.lent == 1
    Cache(redis_url).purge([operation_tag("image-thumbnails")])
    shop.ask(broken)
    assert shop.lent == 2
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_source_outside_the_roots_is_refused(shop):
    with pytest.raises(StorageError):
        shop.get(Path("/etc/passwd"))


def test_pictures_of_a_purged_source_are_removed_and_those_of_others_stay(shop, photo, tmp_path):
    Image.new("RGB", (64, 48), "blue").save(tmp_path / "other.png")
    first, other = shop.get(photo), shop.get(tmp_path / "other.png")
    with photo.open("rb") as file:
        shop.pictures.forget([source_tag(identity.identify(file.fileno()).digest), operation_tag("probe")])
    assert [Path(each.path).exists() for each in (first, other)] == [False, True]
    shop.pictures.forget(["source:../*"])
    assert Path(other.path).exists()
    shop.pictures.forget([operation_tag("image-thumbnails")])
    assert not Path(other.path).exists()


def test_a_picture_that_is_being_made_while_it_is_purged_is_made_anew(shop, photo):
    shop.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shop.get, photo)
        assert shop.asked.wait(20)
        shop.pictures.forget([operation_tag("image-thumbnails")])
        shop.gate.set()
        assert Path(asked.result(30).path).exists()
    assert shop.lent == 2


class Rewriting:
    """The real child, before which somebody writes another picture into the file, in place."""

    def __init__(self, child: MediaChild, path: Path, colour: str) -> None:
        self._child, self._path, self._colour = child, path, colour

    def call(self, *given: Any, **more: Any) -> Any:
        Image.new("RGB", (64, 48), self._colour).save(self._path)
        return self._child.call(*given, **more)


def test_a_picture_that_is_rewritten_while_it_is_made_isn_t_kept(child, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    photo = tmp_path / "photo.bmp"
    Image.new("RGB", (64, 48), "red").save(photo)
    os.utime(photo, (1, 1))
    shop._child = Rewriting(child, photo, "blue")
    with pytest.raises(StorageError) as changed:
        shop.get(photo)
    assert changed.value.code == "source_changed"
    Image.new("RGB", (64, 48), "red").save(photo)
    os.utime(photo, (1, 1))
    shop._child = child
    assert Image.open(shop.get(photo).path).getpixel((5, 5))[0] > 200


@pytest.mark.parametrize("settled_s", [-1.0, 3600.0], ids=["settled", "may still be written"])
def test_an_edit_that_hides_is_another_picture(shop, tmp_path, monkeypatch, settled_s):
    monkeypatch.setattr(identity, "SETTLED_S", settled_s)
    photo = tmp_path / "photo.bmp"
    Image.new("RGB", (1200, 1000), "red").save(photo)
    first = shop.get(photo)
    edit_unseen(photo)
    assert shop.get(photo).etag != first.etag
    assert shop.lent == 2
