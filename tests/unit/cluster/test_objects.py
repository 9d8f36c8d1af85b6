"""Arrow's stores against servers that speak as they do."""

import contextlib
import os

import pytest
from kept_objects import Kept
from object_server import BUCKET, ObjectServer
from unit.refusals import code_of

from cluster import arrow_store
from cluster.apart import ASKERS
from cluster.arrow_store import ArrowStore
from cluster.errors import StorageError
from cluster.object_paths import ObjectPath, object_path
from cluster.objects import PART_BYTES, STAGING, ObjectStore
from cluster.stores import StoreAddresses


def whole(server: ObjectServer) -> list[str]:
    """The keys of objects that aren't on their way."""
    there = server.keys()
    return [key for key in there if not key.startswith(STAGING)]


@pytest.fixture
def store(server: ObjectServer) -> ObjectStore:
    return ObjectStore(server.addresses)


@pytest.fixture
def hasty(server: ObjectServer, impatient: None) -> ObjectStore:
    """It gives up soon."""
    return ObjectStore(server.addresses.model_copy(update={"try_s": 1.0}))


@pytest.fixture
def film(server: ObjectServer) -> ObjectPath:
    return object_path(server.uri("a.mkv"))


@pytest.fixture
def upload(server: ObjectServer):
    """Upload some bytes under a URI.

    An upload that failed is kept for ever, for a process that ends without a last word. This one has a last word.
    """

    def upload(uri: str, content: bytes = b"made", **named) -> None:
        parts = [content[begin : begin + PART_BYTES] for begin in range(0, len(content), PART_BYTES)]
        store = ArrowStore(server.addresses)
        store.upload(parts, object_path(uri), "video/mp4", object_path(server.uri(STAGING)), **named)

    yield upload
    while arrow_store._begun:
        with contextlib.suppress(OSError):
            arrow_store._begun.pop().close()


def test_a_part_is_read_and_no_more_is_sent(s3):
    content = os.urandom(1 << 20)
    s3.put("a.mkv", content)
    opened = ObjectStore(s3.addresses).open(object_path(s3.uri("a.mkv")))
    with s3.counting() as sent:
        assert opened.read(1000, 500_000) == content[500_000:501_000]
        assert sent() == 1000
    assert opened.version.size_bytes == len(content)


def test_a_root_is_looked_at_whether_anything_is_in_it_or_not(store, server):
    store.look(object_path(server.uri()))
    store.look(object_path(server.uri("web/2026")))


def test_a_misspelt_bucket_is_told_where_the_store_tells(store, server):
    root = object_path(f"{server.scheme}://flims/web")
    if server.scheme == "gs":
        store.look(root)
        return
    with pytest.raises(StorageError, match=f"There is no bucket {server.scheme}://flims") as told:
        store.look(root)
    assert told.value.code == "source_not_found"


def test_parts_are_those_of_the_object(store, server, film):
    content = os.urandom(3 << 20)
    server.put("a.mkv", content)
    opened = store.open(film)
    for begin, count in [(0, 10), (500_000, 1 << 20), (len(content) - 7, 7)]:
        assert opened.read(count, begin) == content[begin : begin + count]


def test_an_object_that_is_written_anew_is_another_version(store, server, film):
    server.put("a.mkv", b"one")
    first = store.version(film)
    assert store.version(film) == first
    server.put("a.mkv", b"two")
    assert store.version(film) != first


def test_what_became_shorter_is_told(store, server, film):
    server.put("a.mkv", b"film" * 1000)
    opened = store.open(film)
    server.put("a.mkv", b"f")
    assert code_of(opened.read, 1000, 0) in {"source_changed", "storage_unavailable"}


@pytest.mark.parametrize("key", ["gone.mkv", "folder", "folder/b.mkv/c"])
def test_what_isn_t_there_is_not_found(store, server, key):
    server.put("folder/a.mkv", b"film")
    assert code_of(store.open, object_path(server.uri(key))) == "source_not_found"
    assert store.version(object_path(server.uri(key))) is None


def test_what_is_in_no_bucket_is_not_found(store, server):
    elsewhere = object_path(f"{server.scheme}://no-such-bucket/a.mkv")
    assert code_of(store.open, elsewhere) == "source_not_found"
    assert list(store.below(elsewhere)) == []


def test_a_bucket_is_no_object(store, server):
    assert code_of(store.open, object_path(server.uri())) == "source_not_a_file"


def test_denied_access_is_told_with_what_to_do(store, server, film):
    server.put("a.mkv", b"film" * 10_000)
    server.denied = True
    with pytest.raises(StorageError, match=rf"denies access to {film} .*credentials") as refused:
        store.open(film)
    assert refused.value.code == "source_unreadable"
    assert code_of(list, store.below(film)) == "source_unreadable"
    server.denied = False
    opened = store.open(film)
    server.denied = True
    assert code_of(opened.read, 40_000, 0) == "source_unreadable"


def test_a_store_that_throttles_is_asked_again(store, server, film):
    server.put("a.mkv", b"film")
    server.throttled = 2
    assert store.open(film).read(4, 0) == b"film"
    assert server.throttled == 0


def test_a_body_that_is_cut_off_is_asked_for_again(store, server, film):
    content = os.urandom(1 << 20)
    server.put("a.mkv", content)
    opened = store.open(film)
    server.cut = 1
    assert opened.read(len(content), 0) == content
    assert server.cut == 0


def test_a_store_that_goes_on_throttling_is_unavailable(hasty, server, film):
    server.put("a.mkv", b"film" * 1000)
    opened = hasty.open(film)
    server.throttled = 1000
    assert code_of(opened.read, 4000, 0) == "storage_unavailable"
    assert code_of(hasty.open, film) == "storage_unavailable"


@pytest.mark.usefixtures("impatient")
def test_a_store_that_goes_on_cutting_bodies_off_is_unavailable(s3):
    s3.put("a.mkv", b"film" * 1000)
    opened = ObjectStore(s3.addresses).open(object_path(s3.uri("a.mkv")))
    s3.cut = 1000
    assert code_of(opened.read, 4000, 0) == "storage_unavailable"


@pytest.mark.parametrize("key", ["401.mkv", "a 403 b.mkv", "NO_SUCH_BUCKET.mkv", "FORBIDDEN.mkv"])
def test_what_a_store_says_is_not_read_out_of_a_key(hasty, server, key):
    server.put(key, b"film" * 1000)
    path = object_path(server.uri(key))
    opened = hasty.open(path)
    server.throttled = 1000
    assert code_of(opened.read, 4000, 0) == "storage_unavailable"
    assert code_of(hasty.open, path) == "storage_unavailable"


@pytest.mark.usefixtures("impatient", "s3")
@pytest.mark.parametrize("setting", ["s3_endpoint", "gcs_endpoint"])
def test_a_store_that_isn_t_there_is_unavailable(setting):
    nobody = ObjectStore(StoreAddresses(**{setting: "http://127.0.0.1:1", "gcs_anonymous": True, "try_s": 1.0}))
    path = object_path("s3://films/a.mkv" if setting == "s3_endpoint" else "gs://films/a.mkv")
    assert code_of(nobody.open, path) == "storage_unavailable"


def test_azure_without_credentials_is_told_and_ends_no_process_of_ours(azure, monkeypatch):
    """Arrow ends the one that looks for an identity, and finds none."""
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("PATH", "")  # nor a program to ask
    ASKERS.end()
    nobody = ObjectStore(azure.addresses)
    with pytest.raises(StorageError, match="finds no credentials") as refused:
        nobody.open(object_path(azure.uri("a.mkv")))
    assert refused.value.code == "storage_unavailable"


def test_an_asker_that_ended_meanwhile_is_started_anew(gcs):
    store, film = ObjectStore(gcs.addresses), object_path(gcs.put("a.mkv", b"film"))
    assert store.version(film) is not None
    (asker,) = ASKERS._idle
    asker.kill()
    asker.wait()
    assert store.open(film).read(4, 0) == b"film"


def uris_below(store: ObjectStore, prefix: str) -> list[str]:
    return [each.uri for each in store.below(object_path(prefix))]


def test_a_list_has_all_that_is_below_and_nothing_beside(store, server):
    for key in ("2019/b.jpg", "2019/a/c.jpg", "2019b/d.jpg", "e.jpg"):
        server.put(key, b"picture")
    assert uris_below(store, server.uri("2019")) == [server.uri("2019/a/c.jpg"), server.uri("2019/b.jpg")]
    assert uris_below(store, server.uri("2020")) == []


def test_a_list_tells_what_a_look_does(store, server, film):
    server.put("a.mkv", b"film")
    (listed,) = store.below(object_path(server.uri()))
    version = store.version(film)
    assert version is not None
    assert listed == version.listed


def test_a_list_is_sorted_by_whole_names(store, server):
    keys = ["a b/x.jpg", "a-c.jpg", "a/b.jpg", "a/b/c.jpg", "a.jpg", "a0.jpg", "B.jpg"]
    for key in (*keys, "a//empty.jpg"):
        server.put(key, b"picture")
    assert uris_below(store, server.uri()) == [server.uri(key) for key in sorted(keys)]


def test_a_list_is_made_no_further_than_it_is_read(s3):
    for number in range(20):
        s3.put(f"{number:02}/a.jpg", b"picture")
    s3.requests.clear()
    listed = ObjectStore(s3.addresses).below(object_path(s3.uri()))
    assert next(listed).uri == s3.uri("00/a.jpg")
    assert len(s3.requests) == 2


@pytest.mark.parametrize("size_bytes", [1, 2 * PART_BYTES + 1])
def test_an_uploaded_file_is_there_byte_for_byte(upload, server, size_bytes):
    content = os.urandom(size_bytes)
    upload(server.uri("new/a b.mp4"), content)
    answer = server.get("new/a b.mp4")
    assert answer.content == content
    assert answer.headers["content-type"] == "video/mp4"
    assert server.keys() == ["new/a b.mp4"]


def test_what_is_uploaded_is_there_when_it_is_whole(upload, server):
    server.put("a.mp4", b"theirs")
    seen: list[bytes] = []
    upload(server.uri("a.mp4"), b"ours", check=lambda: seen.append(server.get("a.mp4").content))
    assert seen == [b"theirs"]
    assert server.get("a.mp4").content == b"ours"


def test_an_upload_that_is_refused_at_its_end_isn_t_there(upload, server):
    def refuse() -> None:
        raise StorageError("source_changed", "It changed.")

    assert code_of(upload, server.uri("a.mp4"), check=refuse) == "source_changed"
    assert whole(server) == []


def test_an_upload_without_a_bucket_can_t_be_written(upload, server):
    store, elsewhere = server.scheme, "no-such-bucket"
    assert code_of(upload, f"{store}://{elsewhere}/a") == "output_not_writable"


def test_an_upload_that_is_denied_can_t_be_written(upload, server):
    server.denied = True
    assert code_of(upload, server.uri("a.mkv")) == "output_not_writable"


def test_what_is_removed_is_gone(store, server, film):
    server.put("a.mkv", b"film")
    store.remove(film)
    store.remove(film)
    assert server.keys() == []


def test_a_bucket_of_the_same_name_is_another_store_s(s3, gcs):
    s3.put("a.mkv", b"film")
    addresses = StoreAddresses(**{**s3.addresses.model_dump(), "gcs_endpoint": gcs.url, "gcs_anonymous": True})
    store = ObjectStore(addresses)
    assert store.version(object_path(f"s3://{BUCKET}/a.mkv")) is not None
    assert store.version(object_path(f"gs://{BUCKET}/a.mkv")) is None


def test_a_blob_that_azure_still_copies_isn_t_there(azure):
    store, film = ObjectStore(azure.addresses), object_path(azure.uri("a.mkv"))
    azure.objects["a.mkv"] = Kept(b"fi", copy="pending")
    assert store.version(film) is None
    azure.objects["a.mkv"] = Kept(b"film", copy="success")
    assert store.open(film).read(4, 0) == b"film"
