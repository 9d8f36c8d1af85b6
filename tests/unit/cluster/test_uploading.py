"""Uploads by the process that does them."""

import os
import threading
from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer

from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess
from cluster.uploader import Upload
from cluster.uploading import check_target_object, upload_all

LARGE = 24 << 20  # more than one part of Arrow's


@pytest.fixture
def access(s3: ObjectServer, tmp_path: Path) -> ObjectAccess:
    return ObjectAccess((), (), s3.url, tmp_path / "fetched", 1 << 30)


@pytest.fixture
def upload(tmp_path: Path):
    def upload(key: str, content: bytes) -> Upload:
        made = tmp_path / key.replace("/", "_")
        made.write_bytes(content)
        return Upload(made=made, target=f"s3://{BUCKET}/{key}", media_type="video/mp4")

    return upload


def uploaded(files: list[Upload], access: ObjectAccess, *, overwrite: bool = False, wanted=lambda: True) -> bool:
    return upload_all(files, access, overwrite=overwrite, wanted=wanted)


def code_of(*arguments, **named) -> str:
    with pytest.raises(StorageError) as refused:
        uploaded(*arguments, **named)
    return refused.value.code


def test_all_are_there_byte_for_byte(access, upload, s3):
    files = [upload(f"2019/{number}.mp4", os.urandom(1000 + number)) for number in range(20)]
    files.append(upload("large.mp4", os.urandom(LARGE)))
    assert uploaded(files, access)
    for each in files:
        assert s3.get(each.target.removeprefix(f"s3://{BUCKET}/")).content == each.made.read_bytes()


def test_what_is_there_stays_unless_it_is_to_be_replaced(access, upload, s3):
    s3.put("a.mp4", b"theirs")
    ours = upload("a.mp4", b"ours")
    assert code_of([ours], access) == "output_exists"
    assert s3.get("a.mp4").content == b"theirs"
    assert uploaded([ours], access, overwrite=True)
    assert s3.get("a.mp4").content == b"ours"


def test_it_may_be_repeated(access, upload, s3):
    ours = upload("a.mp4", os.urandom(300_000))
    assert uploaded([ours], access)
    s3.requests.clear()
    assert uploaded([ours], access)
    assert not any(request.startswith(("PUT", "POST")) for request in s3.requests)


def test_another_of_the_same_size_isn_t_taken_for_it(access, upload, s3):
    s3.put("a.mp4", b"them")
    assert code_of([upload("a.mp4", b"ours")], access) == "output_exists"


@pytest.mark.parametrize("overwrite", [False, True])
def test_one_that_isn_t_wanted_any_more_leaves_what_was_there(access, upload, s3, overwrite):
    if overwrite:
        s3.put("a.mp4", b"theirs")
    under_way, given_up = threading.Event(), threading.Event()

    def held() -> None:
        under_way.set()
        given_up.wait(60)

    s3.held = held
    try:
        done = uploaded(
            [upload("a.mp4", os.urandom(LARGE))], access, overwrite=overwrite, wanted=lambda: not under_way.is_set()
        )
    finally:
        given_up.set()
    assert not done
    assert s3.keys() == (["a.mp4"] if overwrite else [])
    assert not overwrite or s3.get("a.mp4").content == b"theirs"


def test_a_bucket_that_isn_t_there_is_told(access, upload):
    elsewhere = upload("a.mp4", b"ours").model_copy(update={"target": "s3://no-such-bucket/a.mp4"})
    assert code_of([elsewhere], access) == "output_not_writable"


def test_a_finished_file_that_is_gone_is_told(access, upload):
    gone = upload("a.mp4", b"ours")
    gone.made.unlink()
    assert code_of([gone], access) == "output_lost"


def test_a_target_is_looked_at_before_the_work(access, s3):
    target = object_path(s3.put("a.mp4", b"theirs"))
    with pytest.raises(StorageError, match="exists already"):
        check_target_object(target, access, overwrite=False)
    check_target_object(target, access, overwrite=True)
    check_target_object(target.parent / "b.mp4", access, overwrite=False)
