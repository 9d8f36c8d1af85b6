"""Uploads by the process that does them."""

import os
import threading
import time
from pathlib import Path

import pytest
from object_server import ObjectServer

from cluster import uploading
from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.objects import STAGING, object_store
from cluster.roots import ObjectAccess, Roots
from cluster.uploader import Upload
from cluster.uploading import check_target_object, sweep_staged, upload_all, upload_each

LARGE = 24 << 20  # more than one part of Arrow's


def whole(server: ObjectServer) -> list[str]:
    """The keys of objects that aren't on their way."""
    there = server.keys()
    return [key for key in there if not key.startswith(STAGING)]


@pytest.fixture
def access(server: ObjectServer, tmp_path: Path) -> ObjectAccess:
    return ObjectAccess((), (object_path(server.uri()),), server.addresses, tmp_path / "fetched", 1 << 30)


@pytest.fixture
def upload(server: ObjectServer, tmp_path: Path):
    def upload(key: str, content: bytes) -> Upload:
        made = tmp_path / key.replace("/", "_")
        made.write_bytes(content)
        return Upload(made=made, target=server.uri(key), media_type="video/mp4")

    return upload


def uploaded(files: list[Upload], access: ObjectAccess, *, overwrite: bool = False, wanted=lambda: True) -> bool:
    return upload_all(files, access, overwrite=overwrite, wanted=wanted)


def code_of(*arguments, **named) -> str:
    with pytest.raises(StorageError) as refused:
        uploaded(*arguments, **named)
    return refused.value.code


def test_all_are_there_byte_for_byte(access, upload, server):
    files = [upload(f"2019/{number}.mp4", os.urandom(1000 + number)) for number in range(20)]
    files.append(upload("large.mp4", os.urandom(LARGE)))
    assert uploaded(files, access)
    for each in files:
        assert server.get(each.target.removeprefix(f"{server.uri()}/")).content == each.made.read_bytes()


def test_what_is_there_stays_unless_it_is_to_be_replaced(access, upload, server):
    server.put("a.mp4", b"theirs")
    ours = upload("a.mp4", b"ours")
    assert code_of([ours], access) == "output_exists"
    assert server.get("a.mp4").content == b"theirs"
    assert uploaded([ours], access, overwrite=True)
    assert server.get("a.mp4").content == b"ours"


def test_it_may_be_repeated(access, upload, server):
    ours = upload("a.mp4", os.urandom(300_000))
    assert uploaded([ours], access)
    server.requests.clear()
    assert uploaded([ours], access)
    assert not any(request.startswith(("PUT", "POST")) for request in server.requests)


def test_another_of_the_same_size_isn_t_taken_for_it(access, upload, server):
    server.put("a.mp4", b"them")
    assert code_of([upload("a.mp4", b"ours")], access) == "output_exists"


@pytest.mark.parametrize("overwrite", [False, True])
def test_one_that_isn_t_wanted_any_more_leaves_what_was_there(access, upload, server, overwrite):
    if overwrite:
        server.put("a.mp4", b"theirs")
    under_way, given_up = threading.Event(), threading.Event()

    def held() -> None:
        under_way.set()
        given_up.wait(60)

    server.held = held
    try:
        done = uploaded(
            [upload("a.mp4", os.urandom(LARGE))], access, overwrite=overwrite, wanted=lambda: not under_way.is_set()
        )
    finally:
        given_up.set()
    assert not done
    assert whole(server) == (["a.mp4"] if overwrite else [])
    assert not overwrite or server.get("a.mp4").content == b"theirs"


def test_a_bucket_that_isn_t_there_is_told(access, upload, server):
    elsewhere = upload("a.mp4", b"ours").model_copy(update={"target": f"{server.scheme}://no-such-bucket/a.mp4"})
    assert code_of([elsewhere], access) == "output_not_writable"


def test_a_finished_file_that_is_gone_is_told(access, upload):
    gone = upload("a.mp4", b"ours")
    gone.made.unlink()
    assert code_of([gone], access) == "output_lost"


def test_a_target_is_looked_at_before_the_work(access, server):
    target = object_path(server.put("a.mp4", b"theirs"))
    with pytest.raises(StorageError, match="exists already"):
        check_target_object(target, access, overwrite=False)
    check_target_object(target, access, overwrite=True)
    check_target_object(target.parent / "b.mp4", access, overwrite=False)


def test_what_came_of_each_is_told(access, upload, server):
    files = [upload(name, name.encode()) for name in ("new.mp4", "known.mp4", "other.mp4")]
    server.put("known.mp4", b"known.mp4")
    server.put("other.mp4", b"theirs")
    told = upload_each(files, access, overwrite=False)
    assert [(each.number, each.known, each.code) for each in told] == [
        (0, False, None),
        (1, True, None),
        (2, False, "output_exists"),
    ]
    assert [each.known for each in upload_each(files, access, overwrite=True)] == [True, True, False]
    assert server.get("other.mp4").content == b"other.mp4"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A film that was written an hour ago."""
    made = tmp_path / "in" / "film.mp4"
    made.parent.mkdir()
    made.write_bytes(os.urandom(3 << 20))
    os.utime(made, ns=(made.stat().st_atime_ns, made.stat().st_mtime_ns - 3600 * 10**9))
    return made


@pytest.mark.parametrize("imported_us", [0, 1])
def test_a_source_is_uploaded_if_it_is_what_was_imported(access, server, source, imported_us):
    facts = source.stat()
    each = Upload(
        source=str(source),
        target=server.uri("a.mp4"),
        media_type="video/mp4",
        size_bytes=facts.st_size,
        modified_us=facts.st_mtime_ns // 1000 + imported_us,
    )
    (told,) = upload_each([each], access, overwrite=False, roots=Roots((source.parent,), ()))
    assert told.code == ("source_outdated" if imported_us else None)
    assert server.keys() == ([] if imported_us else ["a.mp4"])
    assert imported_us or server.get("a.mp4").content == source.read_bytes()


def test_an_object_becomes_another(s3, gcs, source, tmp_path):
    """Of another store."""
    addresses = s3.addresses.model_copy(update=gcs.addresses.model_dump(exclude_defaults=True))
    access = ObjectAccess((object_path(gcs.uri()),), (object_path(s3.uri()),), addresses, tmp_path / "fetched", 1)
    gcs.put("film.mp4", source)
    version = object_store(addresses).version(object_path(gcs.uri("film.mp4")))
    assert version is not None
    facts = {"size_bytes": version.size_bytes, "modified_us": version.modified_s * 1_000_000}
    each = Upload(source=gcs.uri("film.mp4"), target=s3.uri("a.mp4"), media_type="video/mp4", **facts)
    (told,) = upload_each([each], access, overwrite=False, roots=Roots((), (), access))
    assert told.code is None
    assert s3.get("a.mp4").content == source.read_bytes()


def test_what_may_not_be_read_becomes_nothing(access, server, source):
    facts = {"size_bytes": source.stat().st_size, "modified_us": source.stat().st_mtime_ns // 1000}
    each = Upload(source=str(source), target=server.uri("a.mp4"), media_type="video/mp4", **facts)
    (told,) = upload_each([each], access, overwrite=False, roots=Roots((), ()))
    assert told.code == "source_outside_roots"
    assert server.keys() == []


def test_an_uploader_that_ended_meanwhile_is_started_anew(access, upload, server):
    assert upload_each([upload("a.mp4", b"a")], access, overwrite=False)[0].code is None
    kept = uploading._KEPT._process
    assert kept is not None
    kept.kill()
    kept.wait()
    assert upload_each([upload("b.mp4", b"b")], access, overwrite=False)[0].code is None
    assert server.keys() == ["a.mp4", "b.mp4"]


def test_an_uploader_that_ends_at_a_file_is_no_fault_of_the_store(access, upload, server):
    """It is then known as a crash, for which batches are halved down to the file."""

    def killed() -> None:
        process = uploading._KEPT._process
        assert process is not None
        process.kill()

    server.held = killed
    with pytest.raises(StorageError) as told:
        upload_each([upload("a.mp4", os.urandom(LARGE))], access, overwrite=False)
    assert told.value.code == "child_crashed"


def test_what_killed_uploads_left_goes_by_age(azure, tmp_path):
    access = ObjectAccess((), (object_path(azure.uri("out")),), azure.addresses, tmp_path, 1 << 30)
    azure.put(f"out/{STAGING}/left", b"")
    azure.put("out/film.mp4", b"film")
    sweep_staged(access, time.time() - 3600)
    assert azure.keys() == [f"out/{STAGING}/left", "out/film.mp4"]
    sweep_staged(access, time.time() + 3600)
    assert azure.keys() == ["out/film.mp4"]
