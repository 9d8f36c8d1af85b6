"""Sources wherever they are, through to the real child."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer

from cluster import sources
from cluster.child import ChildSpec, MediaChild
from cluster.errors import ChildFailedError, StorageError
from cluster.fetched import BLOCK_BYTES
from cluster.identity import identify
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, Roots
from cluster.sources import objects_below, open_source
from pipelines.media.images.info import ImageInfo
from pipelines.media.info import MediaInfo
from pipelines.media.ranges import bring
from pipelines.media.sample import make_sample

PROBE = "pipelines.media.probing.probe:probe"
LOOK = "pipelines.media.images.header:look"
FILM = f"s3://{BUCKET}/films/film.mkv"


@pytest.fixture
def roots(s3: ObjectServer, tmp_path: Path) -> Roots:
    folder = object_path(f"s3://{BUCKET}/films/")
    return Roots((tmp_path,), (), ObjectAccess((folder,), (), s3.addresses, tmp_path / "fetched", 1 << 30))


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    folders = (tempfile.gettempdir(),)
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30, folders=folders))
    yield child
    child.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some megabytes, of which a probe needs little."""
    film = make_sample(tmp_path_factory.mktemp("long") / "film.mkv", duration_s=2.0, width=320, height=180)
    with film.open("ab") as file:  # a Matroska element that says that it is to be skipped
        file.write(b"\xec\x01" + (8 << 20).to_bytes(7, "big") + os.urandom(8 << 20))
    return film


def probed(child: MediaChild, uri: str, roots: Roots) -> MediaInfo:
    with open_source(uri, roots) as opened:
        return child.call(PROBE, {"source": opened.for_child()}, MediaInfo, limit_s=60)


def code_of(uri: str, roots: Roots) -> str:
    with pytest.raises(StorageError) as refused, open_source(uri, roots):
        pass
    return refused.value.code


def test_a_probe_of_an_object_tells_what_one_of_the_file_does(child, roots, s3, clip, tmp_path):
    s3.put("films/film.mkv", clip)
    (tmp_path / "film.mkv").write_bytes(clip.read_bytes())
    assert probed(child, FILM, roots) == probed(child, str(tmp_path / "film.mkv"), roots)


def test_a_probe_reads_little_of_a_large_object_and_nothing_twice(child, roots, s3, long):
    s3.put("films/film.mkv", long)
    with s3.counting() as sent:
        probed(child, FILM, roots)
        first = sent()
        assert first < long.stat().st_size / 4
        probed(child, FILM, roots)
        assert sent() == first


def test_of_a_picture_no_more_is_read_than_is_wanted(child, roots, s3, tmp_path):
    from PIL import Image

    Image.frombytes("RGB", (1000, 800), os.urandom(2_400_000)).save(tmp_path / "noise.jpg", quality=95)
    s3.put("films/noise.jpg", tmp_path / "noise.jpg")
    with s3.counting() as sent, open_source(f"s3://{BUCKET}/films/noise.jpg", roots) as opened:
        found = child.call(LOOK, {"source": opened.for_child()}, ImageInfo, limit_s=60)
        assert sent() <= 4 * BLOCK_BYTES
    assert (found.width, found.height) == (1000, 800)


def test_objects_that_are_worked_on_side_by_side_are_each_their_own(child, roots, s3, tmp_path):
    from contextlib import ExitStack

    from PIL import Image

    sizes = [(10 + number, 20) for number in range(20)]
    with ExitStack() as stack:
        each = []
        for number, size in enumerate(sizes):
            Image.new("RGB", size).save(tmp_path / "picture.png")
            uri = s3.put(f"films/{number}.png", tmp_path / "picture.png")
            each.append({"source": stack.enter_context(open_source(uri, roots)).for_child()})
        found = child.call_each(LOOK, {}, each, ImageInfo, threads=4, limit_s=60)
    assert [(one.width, one.height) for one in found if isinstance(one, ImageInfo)] == sizes


@pytest.mark.usefixtures("impatient")
def test_what_the_child_can_t_have_is_told_by_its_source(child, roots, s3, long):
    s3.put("films/film.mkv", long)
    with open_source(FILM, roots) as opened:
        handed = opened.for_child()
        s3.throttled = 1000
        with pytest.raises(ChildFailedError):
            child.call(PROBE, {"source": handed}, MediaInfo, limit_s=60)
        assert opened.failure is not None
        assert opened.failure.code == "storage_unavailable"


def test_an_answer_that_nobody_read_is_not_for_the_next(child, roots, s3, clip):
    s3.put("films/film.mkv", clip)
    with open_source(FILM, roots) as opened:
        first = opened.for_child()
        assert first.ranges is not None
        os.write(first.ranges, (5).to_bytes(8, "big") + (6).to_bytes(8, "big"))
        found = child.call(PROBE, {"source": opened.for_child()}, MediaInfo, limit_s=60)
    assert found.size_bytes == clip.stat().st_size


def test_the_identity_is_that_of_the_content_and_reads_little(roots, s3):
    s3.put("films/film.mkv", os.urandom(16 << 20))
    with s3.counting() as sent:
        with open_source(FILM, roots) as opened:
            first = opened.identity()
        with open_source(FILM, roots) as opened:
            assert opened.identity() == first
        assert sent() < 3 << 20
    assert first.settled
    s3.put("films/film.mkv", os.urandom(16 << 20))
    with open_source(FILM, roots) as opened:
        assert opened.identity().digest != first.digest


def test_an_object_that_changes_while_it_is_open_is_another(roots, s3):
    s3.put("films/film.mkv", b"one" * 1000)
    with open_source(FILM, roots) as opened:
        opened.identity()
        assert not opened.is_other()
        before = opened.stamp()
        s3.put("films/film.mkv", b"two" * 1000)
        assert opened.is_other()
    assert list((roots.objects.fetched).iterdir()) == []  # type: ignore[union-attr]
    with open_source(FILM, roots) as opened:
        assert opened.stamp() != before


def test_parts_of_two_versions_aren_t_kept_of_a_call_that_was_given_up(roots, s3):
    s3.put("films/film.mkv", b"one" * 100_000)
    with open_source(FILM, roots) as opened:
        ranges = opened.for_child().ranges
        assert ranges is not None
        bring(ranges, 0, 10)
        s3.put("films/film.mkv", b"two" * 100_000)
        bring(ranges, 200_000, 200_010)
    assert list(roots.objects.fetched.iterdir()) == []  # type: ignore[union-attr]


def test_what_a_call_fetched_that_was_given_up_is_kept_of_one_version(roots, s3):
    s3.put("films/film.mkv", b"one" * 100_000)
    with s3.counting() as sent:
        for _ in range(2):
            with open_source(FILM, roots) as opened:
                ranges = opened.for_child().ranges
                assert ranges is not None
                bring(ranges, 0, 10)
        assert sent() == 2 * BLOCK_BYTES  # who begins at the begin is given one more


def test_an_identity_is_of_one_version(roots, s3):
    s3.put("films/film.mkv", b"one" * 100_000)
    with open_source(FILM, roots) as opened:
        s3.put("films/film.mkv", b"two" * 100_000)
        with pytest.raises(StorageError) as told:
            opened.identity()
    assert told.value.code == "source_changed"
    assert list(roots.objects.fetched.iterdir()) == []  # type: ignore[union-attr]


def test_a_file_is_opened_as_ever(roots, tmp_path):
    (tmp_path / "film.mkv").write_bytes(b"film")
    with open_source(str(tmp_path / "film.mkv"), roots) as opened, (tmp_path / "film.mkv").open("rb") as file:
        assert opened.identity().digest == identify(file.fileno()).digest
        assert not opened.is_other()
        (tmp_path / "film.mkv").write_bytes(b"films")
        assert opened.is_other()


def test_what_can_t_be_read_is_told(roots, s3):
    s3.put("films/empty.mkv", b"")
    s3.put("secret.mkv", b"film")
    assert code_of(f"s3://{BUCKET}/films/empty.mkv", roots) == "source_empty"
    assert code_of(f"s3://{BUCKET}/films/gone.mkv", roots) == "source_not_found"
    assert code_of(f"s3://{BUCKET}/secret.mkv", roots) == "source_outside_roots"
    assert code_of(f"s3://{BUCKET}/films/../secret.mkv", roots) == "source_invalid"
    assert code_of(f"ftp://{BUCKET}/films/film.mkv", roots) == "scheme_unsupported"


def test_what_is_outside_isn_t_even_asked_for(roots, s3):
    code_of(f"s3://{BUCKET}/secret.mkv", roots)
    assert s3.requests == []


def test_a_folder_of_objects_is_gone_through(roots, s3):
    for key in (
        "films/b.JPG",
        "films/2019/a.jpg",
        "films/made/x.jpg",
        "films/.hidden/y.jpg",
        "films/a%41.jpg",
        "films/t.txt",
    ):
        s3.put(key.replace("%", "%25"), b"content")
    folder = object_path(f"s3://{BUCKET}/films/")
    found, left_out = objects_below(folder, roots, {".jpg"}, without=folder / "made", most=2)
    assert list(map(str, found)) == [f"s3://{BUCKET}/films/2019/a.jpg", f"s3://{BUCKET}/films/b.JPG"]
    assert left_out == [f"'s3://{BUCKET}/films/a%41.jpg' (its key can't be written as a URI)"]


def test_a_folder_is_gone_through_no_further_than_there_may_be_of_them(roots, s3, monkeypatch):
    for number in range(10):
        s3.put(f"films/{number}/a.jpg", b"content")
    folder = object_path(f"s3://{BUCKET}/films/")
    s3.requests.clear()
    with pytest.raises(StorageError, match="more than 2 of them") as refused:
        objects_below(folder, roots, {".jpg"}, most=2)
    assert refused.value.code == "source_too_many"
    assert len(s3.requests) == 4
    monkeypatch.setattr(sources, "_LISTED_MOST", 5)
    with pytest.raises(StorageError, match="more than 5 objects"):
        objects_below(folder, roots, {".png"}, most=2)
