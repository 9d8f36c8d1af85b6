import time
from dataclasses import replace

import pytest

from pipelines.jobs.models import Artifact, Job, Joined, Needs, Plan, Priority, State, Unit, UnitStatus
from pipelines.jobs.shares import Shares
from pipelines.jobs.store_records import LoadedJob
from pipelines.jobs.tracking import Flight, Tracked

PLAN = Plan(units=(Unit(name="a"),), warnings=("odd", "slow"))
JOINED = Joined(result={}, artifacts=(Artifact(name="f", path="/f", size_bytes=1),), warnings=("slow", "late"))


def loaded(plan: Plan | None = None, joined: Joined | None = None, started_at: int | None = None) -> LoadedJob:
    job = Job(
        id="job",
        operation="copy",
        state=State.RUNNING,
        want="pause",
        priority=Priority.HIGH,
        owner="anna",
        sources=(),
        params={},
        created_at=5,
        started_at=started_at,
    )
    return LoadedJob(job, {"plan": UnitStatus(state="done")}, plan, joined)


def test_a_tracked_job_is_what_the_store_has():
    tracked = Tracked.of(loaded(plan=PLAN, joined=JOINED), heavy=True)
    assert (tracked.state, tracked.priority, tracked.wanted) == (State.RUNNING, Priority.HIGH, "pause")
    assert (tracked.plan, tracked.joined) == (PLAN, JOINED)


def test_a_job_that_isn_t_planned_yet_has_no_plan():
    tracked = Tracked.of(loaded(), heavy=True)
    assert (tracked.plan, tracked.joined, tracked.publishes, tracked.warnings) == (None, None, False, ())


def test_a_unit_nothing_is_known_of_waits():
    assert Tracked.of(loaded(), heavy=True).status("a") == UnitStatus()


@pytest.mark.parametrize(("fence", "aim"), [(0, "pause"), (7, "run")])
def test_what_has_begun_to_be_published_is_published_whatever_is_wanted(fence, aim):
    tracked = Tracked.of(loaded(), heavy=True)
    tracked.units["publish"] = UnitStatus(fence=fence)
    assert tracked.aim == aim


@pytest.mark.parametrize(("joined", "publishes"), [(JOINED, True), (Joined(result={}), False)])
def test_only_a_job_with_files_publishes(joined, publishes):
    assert Tracked.of(loaded(plan=PLAN, joined=joined), heavy=True).publishes == publishes


def test_warnings_of_plan_and_join_are_told_once():
    assert Tracked.of(loaded(plan=PLAN, joined=JOINED), heavy=True).warnings == ("odd", "slow", "late")


def test_a_candidate_counts_the_cpus_of_its_running_units():
    tracked = Tracked.of(loaded(), heavy=True)
    tracked.flights = {"a": Flight(1, 2, 1, 0, None), "b": Flight(2, 1, 0, 0, None), "plan": Flight(3, 0, 0, 0, None)}
    assert tracked.candidate(0.0, Shares()).cpus_in_use == 3
    assert tracked.unclaimed == 1


def test_a_job_waits_from_its_creation_until_a_unit_of_it_is_on_its_way():
    tracked = Tracked.of(loaded(), heavy=True)
    assert tracked.waited_s(2.0) == 1.995
    tracked.flights["a"] = Flight(1, 1, 1, 0, None)
    assert tracked.waited_s(10_000.0) == 0.0
    before_s = time.time()
    tracked.land("a")
    assert tracked.waited_s(before_s + 10) <= 10


@pytest.mark.parametrize("asked", ["priority", "run"])
def test_waiting_begins_anew_when_another_priority_is_asked_for_or_a_pause_is_over(asked):
    tracked = Tracked.of(loaded(), heavy=True)
    before_s = time.time()
    if asked == "priority":
        tracked.give_priority(Priority.LOW)
    else:
        tracked.want("run")
    assert tracked.waited_s(before_s + 10) <= 10


def test_a_job_found_at_work_has_waited_since_then_only():
    before_s = time.time()
    assert Tracked.of(loaded(started_at=6), heavy=True).waited_s(before_s + 10) <= 10


def test_wanting_the_same_again_doesn_t_start_the_grace_anew():
    tracked = Tracked.of(loaded(), heavy=True)
    tracked.stopping_since = 1.0
    tracked.want("pause")
    assert tracked.stopping_since == 1.0
    tracked.want("cancel")
    assert tracked.stopping_since > 1.0


def halves(*done: str) -> Tracked:
    """A film of a hundred seconds in two units, one of which was to take three times as long as the other."""
    units = (Unit(name="a", needs=Needs(seconds=30)), Unit(name="b", needs=Needs(seconds=10)))
    found = loaded(Plan(units=units, media_s=100.0))
    return Tracked.of(replace(found, units={name: UnitStatus(state="done") for name in done}), heavy=True)


def test_units_stand_for_playing_time_by_what_they_were_to_take():
    assert [halves(*done).media_done_s for done in ((), ("a",), ("a", "b"))] == [0.0, 75.0, 100.0]


def test_playing_time_that_an_earlier_dispatcher_counted_isn_t_counted_again():
    assert halves("a").counted_s == 75.0


def test_a_plan_that_doesn_t_tell_its_playing_time_has_none():
    assert Tracked.of(loaded(PLAN), heavy=True).media_done_s == 0.0
