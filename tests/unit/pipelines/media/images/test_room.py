"""Pictures that are worked on at once hold no more than there is; on real threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.media.errors import EncodeError, LimitError
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.room import Room, decoded_bytes

PATIENCE_S = 20


class Workers:
    """Take so many bytes each, and tell how many are held at once."""

    def __init__(self, room: Room) -> None:
        self.room, self.held, self.most = room, 0, 0
        self._lock = threading.Lock()

    def work(self, needed_bytes: int) -> int:
        with self.room.place() as take:
            take(needed_bytes)
            with self._lock:
                self.held += needed_bytes
                self.most = max(self.most, self.held)
            with self._lock:
                self.held -= needed_bytes
        return needed_bytes


def test_no_more_is_held_at_once_than_there_is_and_what_is_larger_is_alone():
    workers = Workers(Room(size_bytes=100))
    needs = [30, 40, 100, 50, 60, 20] * 200
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(workers.work, needs)) == needs
    assert workers.most <= 100
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(workers.work, [30, 40, 500, 50] * 200))
    assert workers.most == 500
    assert workers.held == 0


def test_several_are_held_at_once_where_there_is_room():
    room, both = Room(size_bytes=100), threading.Barrier(2)

    def work(needed_bytes: int) -> None:
        with room.place() as take:
            take(needed_bytes)
            both.wait(PATIENCE_S)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [40, 60]))


def test_what_was_held_is_given_back_after_a_failure():
    room = Room(size_bytes=10)

    def fail() -> None:
        with room.place() as take:
            take(10)
            raise EncodeError("no")

    for _ in range(2):
        with pytest.raises(EncodeError):
            fail()


def test_where_nothing_is_alone_what_is_larger_is_refused_and_told():
    with pytest.raises(LimitError) as refused, Room(size_bytes=10, alone=False).place() as take:
        take(11)
    assert refused.value.fields == {"needed_bytes": 11}


def info(format_: str, **more: object) -> ImageInfo:
    return ImageInfo(format=format_, width=10_000, height=10_000, colour="rgb", **more)


def test_a_jpeg_holds_what_is_made_of_it_unless_it_is_progressive():
    whole = decoded_bytes(info("png"), 300_000)
    assert decoded_bytes(info("jpeg"), 300_000) < whole / 20
    assert decoded_bytes(info("jpeg", progressive=True), 300_000) > 600_000_000
