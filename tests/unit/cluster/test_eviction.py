"""Which entries go, and when it is looked at them."""

from pathlib import Path

import pytest

from cluster.eviction import Bound, Entry


class Folder:
    """Entries of 30 bytes each, the first used longest ago."""

    def __init__(self, *names: str) -> None:
        self.held = [Entry(float(number), 30, Path(name)) for number, name in enumerate(names)]
        self.looks = 0

    def bound(self, limit_bytes: int) -> Bound:
        return Bound(limit_bytes, self.entries, self.remove)

    def entries(self) -> list[Entry]:
        self.looks += 1
        return self.held[::-1]

    def remove(self, path: Path) -> None:
        self.held = [each for each in self.held if each.path != path]

    def names(self) -> list[str]:
        return [each.path.name for each in self.held]


@pytest.fixture
def folder() -> Folder:
    return Folder("a", "b", "c")


def test_all_stay_that_take_no_more_than_they_may(folder):
    folder.bound(90).make_room()
    assert folder.names() == ["a", "b", "c"]


def test_the_least_used_go_until_there_is_room_for_some_more(folder):
    folder.bound(61).make_room()
    assert folder.names() == ["c"]


def test_the_one_in_use_stays(folder):
    folder.bound(80).make_room(besides=Path("a"))
    assert folder.names() == ["a", "c"]


def test_on_a_disk_that_is_short_they_go_before_they_take_as_much_as_they_may(folder):
    folder.bound(1000).make_room(short_bytes=31)
    assert folder.names() == ["c"]


def test_it_is_looked_again_after_a_twentieth_of_the_limit_was_kept_or_where_the_disk_is_short(folder):
    bound = folder.bound(1000)
    for kept_bytes, looks in [(0, 1), (49, 1), (1, 2), (49, 2)]:
        bound.note(kept_bytes)
        bound.make_room()
        assert folder.looks == looks
    bound.make_room(short_bytes=1)
    assert folder.looks == 3
