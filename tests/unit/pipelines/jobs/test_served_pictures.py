"""Pictures for pages, with the real child."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster import identity
from cluster.child import ChildSpec, MediaChild
from cluster.errors import ChildFailedError, StorageError
from cluster.file_cache import FileCache
from pipelines.jobs.served_pictures import ServedPicture, ServedPictures
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

SPEC = ThumbnailSpec(sizes=("32",))


@pytest.fixture(scope="module")
def child():
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30))
    yield child
    child.close()


class Shop:
    def __init__(self, child: MediaChild, folder: Path) -> None:
        self.folder, self.lent, self.lent_slow, self.gate = folder, 0, 0, threading.Event()
        self.gate.set()
        self._child = child
        self.pictures = ServedPictures(FileCache(folder / "cache", 1 << 20), self.lend, self.lend_slow)

    @contextlib.contextmanager
    def lend(self) -> Any:
        self.lent += 1
        assert self.gate.wait(20)
        yield self._child

    @contextlib.contextmanager
    def lend_slow(self) -> Any:
        self.lent_slow += 1
        yield self._child

    def get(self, source: Path, spec: ThumbnailSpec = SPEC) -> ServedPicture:
        return self.pictures.get(str(source), spec, (self.folder,))


@pytest.fixture
def shop(child, tmp_path):
    return Shop(child, tmp_path)


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


def test_many_who_ask_at_once_wait_for_one(shop, photo):
    shop.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(shop.get, photo) for _ in range(8)]
        shop.gate.set()
        assert len({each.result(30).etag for each in asked}) == 1
    assert shop.lent == 1


def test_a_failure_is_told_to_all_and_tried_again(shop, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(ChildFailedError) as failed:
            shop.get(broken)
        assert failed.value.code == "not_media"
    assert shop.lent == 2
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_source_outside_the_roots_is_refused(shop):
    with pytest.raises(StorageError):
        shop.get(Path("/etc/passwd"))


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


def test_what_may_still_be_written_is_another_picture_after_a_write_that_keeps_its_time(shop, tmp_path):
    """Between the places that tell contents apart, too."""
    photo = tmp_path / "photo.bmp"
    image = Image.new("RGB", (1200, 1000), "red")
    image.save(photo)
    os.utime(photo, (1, 1))
    first = shop.get(photo)
    size_bytes = photo.stat().st_size
    at = next(at for at in range(54, size_bytes) if at > 65 << 10 and at % ((size_bytes - 65536) // 17) > 64 << 10)
    with photo.open("r+b") as file:
        file.seek(at)
        file.write(bytes(100))
    os.utime(photo, (1, 1))
    assert shop.get(photo).etag != first.etag
