"""Leases are kept by a thread of its own; the store and the child are pretended."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
import redis

from pipelines.jobs import minder
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.minder import Minder
from pipelines.jobs.models import Unit
from pipelines.jobs.orders import UnitOrder


class PretendStore:
    """Answers by unit; tells how often it was asked."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.renewed: Counter[str] = Counter()
        self.errors = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def holds(self, _job_id: str, unit: str, _fence: int) -> bool:
        if self.errors:
            self.errors -= 1
            raise redis.ConnectionError("gone")
        held = unit not in self.lost
        self.asked[unit] += 1
        assert self.may_answer.wait(10)
        return held

    def renew(self, job_id: str, unit: str, fence: int, _lease_s: float) -> bool:
        self.renewed[unit] += 1
        return self.holds(job_id, unit, fence)


class PretendChild:
    killed = False

    def kill(self) -> None:
        self.killed = True


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(minder, "_LOOK_S", 0.005)


@pytest.fixture
def store() -> PretendStore:
    return PretendStore()


def order(unit: str) -> UnitOrder:
    return UnitOrder("job", "module", (), {}, Unit(name=unit), fence=1, cpus=1, slots=1)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def test_a_lease_that_is_lost_ends_the_child(store):
    child = PretendChild()
    with Minder(store, lease_s=60) as found:
        found.keep(order("a"))
        with found.minding(child):
            until(lambda: store.asked["a"] >= 2)
            assert not child.killed
            store.lost.add("a")
            until(lambda: child.killed)


def test_a_unit_whose_lease_is_lost_while_it_waits_for_a_child_is_dropped(store):
    with Minder(store, lease_s=60) as found:
        store.lost.add("a")
        found.keep(order("a"))
        until(lambda: "minder" not in {thread.name for thread in threading.enumerate()})
        child = PretendChild()
        with pytest.raises(UnitDroppedError), found.minding(child):
            pytest.fail("it was begun")
    assert not child.killed  # it is another's


def test_the_unit_that_follows_has_a_lease_of_its_own(store):
    first, second = PretendChild(), PretendChild()
    with Minder(store, lease_s=60) as found:
        found.keep(order("a"))
        with found.minding(first):
            until(lambda: store.asked["a"])
        store.lost.add("a")  # it is done
        found.keep(order("b"))
        with found.minding(second):
            until(lambda: store.asked["b"] >= 3)
            assert not second.killed
            store.lost.add("b")
            until(lambda: second.killed)
    assert not first.killed


def test_a_late_answer_about_a_unit_that_is_done_does_no_harm_to_the_next(store):
    child = PretendChild()
    with Minder(store, lease_s=60) as found:
        store.lost.add("a")
        store.may_answer.clear()
        found.keep(order("a"))
        with found.minding(PretendChild()):
            until(lambda: store.asked["a"])
        found.keep(order("b"))
        with found.minding(child):
            store.may_answer.set()
            until(lambda: store.asked["b"] >= 2)
    assert not child.killed


def test_between_two_units_nothing_is_asked(store):
    with Minder(store, lease_s=60) as found:
        found.keep(order("a"))
        with found.minding(PretendChild()):
            until(lambda: store.asked["a"])
        asked = store.asked["a"]
        found.keep(order("b"))
        until(lambda: store.asked["b"] >= 2)
        assert store.asked["a"] <= asked + 1  # one may have been on its way


def test_a_lease_is_renewed_when_a_third_of_it_is_over(store):
    with Minder(store, lease_s=0.06) as found:
        found.keep(order("a"))
        with found.minding(PretendChild()):
            until(lambda: store.renewed["a"] >= 2)
    assert store.asked["a"] > store.renewed["a"]


def test_a_store_that_is_away_ends_no_minding(store):
    child = PretendChild()
    store.errors = 3
    with Minder(store, lease_s=60) as found:
        found.keep(order("a"))
        with found.minding(child):
            until(lambda: store.asked["a"])
            assert not child.killed
            store.lost.add("a")
            until(lambda: child.killed)
