"""Arrow's S3 against a server that speaks it."""

import os
from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer
from unit.refusals import code_of

from cluster import objects
from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.objects import PART_BYTES, ObjectStore

FILM = object_path(f"s3://{BUCKET}/a.mkv")


@pytest.fixture
def store(s3: ObjectServer) -> ObjectStore:
    return ObjectStore(s3.url)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried twice."""
    monkeypatch.setattr(objects, "_TRIES", 1)
    objects._s3.cache_clear()
    yield
    objects._s3.cache_clear()


def test_a_part_is_read_and_no_more_is_sent(store, s3):
    content = os.urandom(1 << 20)
    s3.put("a.mkv", content)
    opened = store.open(FILM)
    with s3.counting() as sent:
        assert opened.read(1000, 500_000) == content[500_000:501_000]
        assert sent() == 1000
    assert opened.version.size_bytes == len(content)


def test_an_object_that_is_written_anew_is_another_version(store, s3):
    s3.put("a.mkv", b"one")
    first = store.version(FILM)
    assert store.version(FILM) == first
    s3.put("a.mkv", b"two")
    assert store.version(FILM) != first


@pytest.mark.parametrize("uri", ["s3://films/gone.mkv", "s3://films/folder", "s3://no-such-bucket/a.mkv"])
def test_what_isn_t_there_is_not_found(store, s3, uri):
    s3.put("folder/a.mkv", b"film")
    assert code_of(store.open, object_path(uri)) == "source_not_found"
    assert store.version(object_path(uri)) is None


def test_a_bucket_is_no_object(store):
    assert code_of(store.open, object_path("s3://films")) == "source_not_a_file"


def test_denied_access_is_told_with_what_to_do(store, s3):
    s3.put("a.mkv", b"film" * 10_000)
    s3.denied = True
    with pytest.raises(StorageError, match=r"denies access to s3://films/a\.mkv .*credentials") as refused:
        store.open(FILM)
    assert refused.value.code == "source_unreadable"
    s3.denied = False
    opened = store.open(FILM)
    s3.denied = True
    assert code_of(opened.read, 40_000, 0) == "source_unreadable"


def test_a_store_that_throttles_is_asked_again(store, s3):
    s3.put("a.mkv", b"film")
    s3.throttled = 2
    assert store.open(FILM).read(4, 0) == b"film"
    assert s3.throttled == 0


def test_a_body_that_is_cut_off_is_asked_for_again(store, s3):
    content = os.urandom(1 << 20)
    s3.put("a.mkv", content)
    opened = store.open(FILM)
    s3.cut = 1
    assert opened.read(len(content), 0) == content
    assert s3.cut == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["throttled", "cut"])
def test_a_store_that_goes_on_failing_is_unavailable(store, s3, fault):
    s3.put("a.mkv", b"film" * 1000)
    opened = store.open(FILM)
    setattr(s3, fault, 1000)
    assert code_of(opened.read, 4000, 0) == "storage_unavailable"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("key", ["401.mkv", "a 403 b.mkv", "NO_SUCH_BUCKET.mkv", "FORBIDDEN.mkv"])
def test_what_a_store_says_is_not_read_out_of_a_key(store, s3, key):
    s3.put(key, b"film" * 1000)
    opened = store.open(object_path(f"s3://films/{key}"))
    s3.throttled = 1000
    assert code_of(opened.read, 4000, 0) == "storage_unavailable"
    assert code_of(store.open, object_path(f"s3://films/{key}")) == "storage_unavailable"


@pytest.mark.usefixtures("impatient")
def test_a_store_that_isn_t_there_is_unavailable(s3):
    nobody = ObjectStore("http://127.0.0.1:1")
    assert code_of(nobody.open, FILM) == "storage_unavailable"


def uris_below(store: ObjectStore, prefix: str) -> list[str]:
    return [each.uri for each in store.below(object_path(prefix))]


def test_a_list_has_all_that_is_below_and_nothing_beside(store, s3):
    for key in ("2019/b.jpg", "2019/a/c.jpg", "2019b/d.jpg", "e.jpg"):
        s3.put(key, b"picture")
    assert uris_below(store, "s3://films/2019") == ["s3://films/2019/a/c.jpg", "s3://films/2019/b.jpg"]
    assert uris_below(store, "s3://films/2020") == []


def test_a_list_is_sorted_by_whole_names(store, s3):
    keys = ["a b/x.jpg", "a-c.jpg", "a/b.jpg", "a/b/c.jpg", "a.jpg", "a0.jpg", "B.jpg"]
    for key in (*keys, "a//empty.jpg"):
        s3.put(key, b"picture")
    assert uris_below(store, "s3://films") == [f"s3://films/{key}" for key in sorted(keys)]


def test_a_list_is_made_no_further_than_it_is_read(store, s3):
    for number in range(20):
        s3.put(f"{number:02}/a.jpg", b"picture")
    s3.requests.clear()
    listed = store.below(object_path("s3://films"))
    assert next(listed).uri == "s3://films/00/a.jpg"
    assert len(s3.requests) == 2


@pytest.mark.parametrize("size_bytes", [1, 2 * PART_BYTES + 1])
def test_an_uploaded_file_is_there_byte_for_byte(store, s3, tmp_path: Path, size_bytes):
    made = tmp_path / "made"
    made.write_bytes(os.urandom(size_bytes))
    store.upload(made, object_path("s3://films/new/a b.mp4"), "video/mp4")
    answer = s3.get("new/a b.mp4")
    assert answer.content == made.read_bytes()
    assert answer.headers["content-type"] == "video/mp4"


def test_an_upload_without_a_bucket_can_t_be_written(store, tmp_path: Path):
    made = tmp_path / "made"
    made.write_bytes(b"made")
    assert code_of(store.upload, made, object_path("s3://no-such-bucket/a"), "video/mp4") == "output_not_writable"


def test_an_upload_that_is_denied_can_t_be_written(store, s3, tmp_path: Path):
    made = tmp_path / "made"
    made.write_bytes(b"made")
    s3.denied = True
    assert code_of(store.upload, made, FILM, "video/mp4") == "output_not_writable"
