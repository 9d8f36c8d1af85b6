"""What is fetched of an object, and what of it is kept."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cluster import fetched
from cluster.errors import StorageError
from cluster.fetched import BLOCK_BYTES, FetchedObject, held_bytes, sweep_fetched
from cluster.object_paths import object_path
from cluster.objects import PART_BYTES, OpenedObject, Version
from cluster.range_server import RangeServer
from pipelines.media import ranges

CONTENT = os.urandom(2 * PART_BYTES + 5 * BLOCK_BYTES + 17)
FIRST = Version(object_path("s3://films/a.mkv"), len(CONTENT), "one", 0)
LIMIT_BYTES = 1 << 30


@dataclass
class Store:
    """An object's bytes; notes what is read of it."""

    content: bytes = CONTENT
    parts: list[tuple[int, int]] = field(default_factory=list)

    def read(self, count: int, offset: int) -> bytes:
        self.parts.append((offset, count))
        return self.content[offset : offset + count]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def fetch(store: Store, tmp_path: Path) -> Iterator[Callable[..., FetchedObject]]:
    """The object as one more process has it."""
    opened: list[FetchedObject] = []

    def fetch(version: Version = FIRST, limit_bytes: int = LIMIT_BYTES) -> FetchedObject:
        opened.append(FetchedObject(OpenedObject(version, store), tmp_path / "fetched", limit_bytes))
        return opened[-1]

    yield fetch
    for each in opened:
        each.close()


def entries(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "fetched").iterdir())


def test_only_the_blocks_that_are_asked_for_are_read(fetch, store):
    assert fetch().read(10, BLOCK_BYTES - 5) == CONTENT[BLOCK_BYTES - 5 : BLOCK_BYTES + 5]
    assert store.parts == [(0, 2 * BLOCK_BYTES)]


def confirmed(there: FetchedObject) -> None:
    there.confirm(there.unconfirmed())


def test_what_is_there_isn_t_read_again_by_any_process(fetch, store):
    first = fetch()
    first.read(BLOCK_BYTES, 3 * BLOCK_BYTES)
    confirmed(first)
    other = fetch()
    assert other.read(BLOCK_BYTES, 3 * BLOCK_BYTES) == CONTENT[3 * BLOCK_BYTES : 4 * BLOCK_BYTES]
    other.read(3 * BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert store.parts == [
        (3 * BLOCK_BYTES, BLOCK_BYTES),
        (2 * BLOCK_BYTES, BLOCK_BYTES),
        (4 * BLOCK_BYTES, BLOCK_BYTES),
    ]


def test_a_large_part_comes_in_pieces_to_the_last_byte(fetch, store):
    assert fetch().read(len(CONTENT), 0) == CONTENT
    assert [count for _, count in store.parts] == [PART_BYTES, PART_BYTES, 5 * BLOCK_BYTES + 17]


def test_what_is_there_is_told_as_far_as_it_goes(fetch):
    there = fetch()
    there.bring(2 * BLOCK_BYTES, 4 * BLOCK_BYTES)
    assert there.bring(5, 6) == (0, BLOCK_BYTES)
    assert there.bring(BLOCK_BYTES, BLOCK_BYTES + 1) == (BLOCK_BYTES, 4 * BLOCK_BYTES)
    assert there.bring(len(CONTENT) - 1, len(CONTENT) + 99)[1] == len(CONTENT)


def test_its_descriptor_reads_what_is_there_and_writes_nothing(fetch):
    there = fetch()
    there.bring(0, 10)
    descriptor = there.descriptor()
    try:
        assert os.pread(descriptor, 10, 0) == CONTENT[:10]
        assert os.fstat(descriptor).st_size == len(CONTENT)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(descriptor, b"x", 0)
    finally:
        os.close(descriptor)


def test_another_version_has_an_entry_of_its_own(fetch, store):
    fetch().read(10, 0)
    store.content = bytes(len(CONTENT))
    assert fetch(replace(FIRST, tag="two")).read(10, 0) == bytes(10)


def test_what_may_be_of_another_version_is_read_by_who_fetched_it_alone(fetch, store):
    first = fetch()
    first.read(2 * BLOCK_BYTES, 0)
    known = first.unconfirmed()
    first.read(BLOCK_BYTES, 2 * BLOCK_BYTES)
    first.read(3 * BLOCK_BYTES, 0)
    first.confirm(known)
    assert len(store.parts) == 2
    fetch().read(3 * BLOCK_BYTES, 0)
    assert store.parts[2:] == [(2 * BLOCK_BYTES, BLOCK_BYTES)]


def test_what_is_confirmed_after_it_was_closed_is_not_marked(fetch, store, tmp_path):
    first = FetchedObject(OpenedObject(FIRST, store), tmp_path / "fetched", LIMIT_BYTES)
    first.read(10, 0)
    first.close()
    confirmed(first)
    fetch().read(10, 0)
    assert len(store.parts) == 2


def test_an_object_that_became_shorter_is_told(fetch, store):
    store.content = CONTENT[:100]
    with pytest.raises(StorageError) as told:
        fetch().read(BLOCK_BYTES, 0)
    assert told.value.code == "source_changed"


def test_what_is_forgotten_is_read_anew_and_who_has_it_open_keeps_it(fetch, store, tmp_path):
    there = fetch()
    there.read(10, 0)
    there.forget()
    assert entries(tmp_path) == []
    assert there.read(10, 0) == CONTENT[:10]
    assert len(store.parts) == 1
    fetch().read(10, 0)
    assert len(store.parts) == 2


def test_what_wasn_t_used_for_long_goes(fetch, tmp_path):
    fetch().read(10, 0)
    (old,) = entries(tmp_path)
    os.utime(old, (time.time() - 100, time.time() - 100))
    fetch(replace(FIRST, tag="two"))
    sweep_fetched(tmp_path / "fetched", 50)
    assert old not in entries(tmp_path)
    assert len(entries(tmp_path)) == 1


def test_use_makes_it_young_again(fetch, tmp_path):
    fetch()
    (entry,) = entries(tmp_path)
    os.utime(entry, (0, 0))
    fetch()
    sweep_fetched(tmp_path / "fetched", 50)
    assert entries(tmp_path) == [entry]


def test_a_new_one_takes_the_place_of_the_oldest(fetch, tmp_path):
    fetch().read(10 * BLOCK_BYTES, 0)
    (first,) = entries(tmp_path)
    os.utime(first, (0, 0))
    fetch(replace(FIRST, tag="two")).read(10 * BLOCK_BYTES, 0)
    fetch(replace(FIRST, tag="three"), limit_bytes=15 * BLOCK_BYTES)
    assert first not in entries(tmp_path)
    assert len(entries(tmp_path)) == 2


def test_room_is_made_while_it_is_fetched(fetch, tmp_path):
    old = replace(FIRST, tag="old")
    fetch(old).read(10 * BLOCK_BYTES, 0)
    (first,) = entries(tmp_path)
    os.utime(first, (0, 0))
    there = fetch(limit_bytes=15 * BLOCK_BYTES)
    assert first in entries(tmp_path)
    for block in range(10):
        there.read(BLOCK_BYTES, block * BLOCK_BYTES)
    assert first not in entries(tmp_path)
    assert held_bytes(tmp_path / "fetched") <= 15 * BLOCK_BYTES
    assert there.read(10 * BLOCK_BYTES, 0) == CONTENT[: 10 * BLOCK_BYTES]


def test_one_that_takes_more_than_all_may_is_begun_anew(fetch, tmp_path):
    there = fetch(limit_bytes=15 * BLOCK_BYTES)
    there.read(20 * BLOCK_BYTES, 0)
    confirmed(there)
    assert held_bytes(tmp_path / "fetched") >= 20 * BLOCK_BYTES
    fetch(limit_bytes=15 * BLOCK_BYTES)
    assert held_bytes(tmp_path / "fetched") == 0


def test_a_disk_that_is_nearly_full_is_not_filled(fetch, store, tmp_path, monkeypatch):
    fetch(replace(FIRST, tag="old")).read(BLOCK_BYTES, 0)
    (old,) = entries(tmp_path)
    os.utime(old, (0, 0))
    there = fetch()
    monkeypatch.setattr(fetched, "free_space", lambda _folder: 100 << 20)
    with pytest.raises(StorageError) as told:
        there.read(BLOCK_BYTES, 0)
    assert told.value.code == "disk_full"
    assert len(store.parts) == 1
    assert old not in entries(tmp_path)


def test_marks_have_their_place_on_the_disk(fetch, tmp_path):
    fetch(replace(FIRST, size_bytes=1 << 40))
    (entry,) = entries(tmp_path)
    assert (entry / "marks").stat().st_blocks * 512 >= (1 << 40) // BLOCK_BYTES
    assert (entry / "data").stat().st_blocks == 0


def test_an_entry_that_is_removed_while_it_is_opened_is_made_anew(fetch, tmp_path, monkeypatch):
    fetch().read(10, 0)
    (entry,) = entries(tmp_path)
    opens, removed = os.open, []

    def removed_first(path, *arguments, **named):
        if path == "marks" and not removed:
            shutil.rmtree(entry)
            removed.append(entry)
        return opens(path, *arguments, **named)

    monkeypatch.setattr(fetched.os, "open", removed_first)
    assert fetch().read(10, 0) == CONTENT[:10]


def test_what_isn_t_wanted_any_more_isn_t_fetched(fetch, store):
    there = fetch()
    there.stop()
    with pytest.raises(StorageError, match="isn't wanted"):
        there.bring(0, 10)
    assert store.parts == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "storage_unavailable")])
def test_what_goes_wrong_on_the_disk_is_told_as_that(fetch, store, tmp_path, monkeypatch, number, code):
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    there = fetch()
    monkeypatch.setattr(fetched.os, "pwrite", fail)
    with pytest.raises(StorageError) as told:
        there.bring(0, 10)
    assert told.value.code == code
    server = RangeServer(FetchedObject(OpenedObject(FIRST, store), tmp_path / "fetched", LIMIT_BYTES))
    with pytest.raises(OSError, match="can't be had"):
        ranges.bring(server.number, 0, 10)
    assert server.failure is not None
    assert server.failure.code == code
    server.close()


def test_a_place_that_nothing_can_be_kept_in_is_told(store, tmp_path):
    (tmp_path / "fetched").write_bytes(b"a file")
    with pytest.raises(StorageError, match="on this disk: Not a directory") as told:
        FetchedObject(OpenedObject(FIRST, store), tmp_path / "fetched", LIMIT_BYTES)
    assert told.value.code == "storage_unavailable"


def test_what_couldn_t_be_made_leaves_nothing(fetch, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetched.os, "posix_fallocate", full)
    with pytest.raises(StorageError) as told:
        fetch()
    assert told.value.code == "disk_full"
    assert entries(tmp_path) == []
