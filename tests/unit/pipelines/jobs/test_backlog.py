"""What is still to be done, of jobs that exist only here."""

import pytest
from unit.pipelines.jobs.test_starting import DONE, FILM, job

from pipelines.jobs.backlog import Backlog, Cost, Done, Needed, backlog_of, done_in, needed
from pipelines.jobs.models import JobError, Needs, Plan, State, Unit, UnitStatus
from pipelines.jobs.tracking import Flight, Tracked

CHUNK = Needs(cpus=1, max_cpus=1, seconds=30, memory_bytes=1 << 30)
DRIVER = Needs(cpus=0, max_cpus=0, seconds=3600, drives=True)
NO_JOIN = Needs(cpus=0, max_cpus=0, seconds=0)
ROOM_BYTES = 64 << 30


def planned(name: str, *needs: Needs, join: Needs = NO_JOIN, **changes) -> Tracked:
    tracked = job(name, *needs, **changes)
    assert tracked.plan is not None
    tracked.plan = tracked.plan.model_copy(update={"join": join})
    return tracked


def unplanned(name: str) -> Tracked:
    return job(name, planned=False, state=State.QUEUED)


def fly(tracked: Tracked, unit: str = "unit-0", *, began: float = 0.0, **changes) -> Tracked:
    assert tracked.plan is not None
    needs = {each.name: each.needs for each in tracked.plan.units}[unit]
    flight = Flight(1, needs.cpus, needs.cpus, needs.memory_bytes, ticket=None, estimate_s=needs.seconds, began=began)
    tracked.flights[unit] = flight
    tracked.units[unit] = UnitStatus(state="running", fence=1)
    for name, value in changes.items():
        setattr(flight, name, value)
    return tracked


def rest(*jobs: Tracked, cost: Cost | None = None, at_s: float = 0.0) -> Needed:
    return needed(backlog_of(jobs, at_s), {"copy": cost} if cost else {}, ROOM_BYTES)["copy"]


def test_nothing_is_to_be_done_without_jobs():
    assert backlog_of((), 0.0) == Backlog({}, (), 0)
    assert done_in((), 2, ROOM_BYTES) == Done(0.0, "nothing")


def test_units_that_wait_count_by_their_estimates_where_nothing_was_measured():
    found = rest(planned("a", CHUNK, CHUNK), planned("b", CHUNK))
    assert (found.jobs, found.units, found.measured, found.unknown_jobs) == (2, 5, False, 0)  # and a join each
    assert (found.cpu_s, found.held_s) == (90, 90)


def test_what_is_done_isn_t_to_be_done():
    tracked = planned("a", CHUNK, CHUNK)
    tracked.units["unit-0"] = DONE
    assert rest(tracked).cpu_s == 30


def test_estimates_are_corrected_by_what_such_units_have_cost():
    found = rest(planned("a", CHUNK, CHUNK), cost=Cost(wall=2.0, cpu=1.5, job_cpu_s=None))
    assert (found.cpu_s, found.held_s, found.chain_s, found.measured) == (90, 120, 60, True)


def test_of_a_unit_on_its_way_what_is_left_counts():
    tracked = fly(planned("a", CHUNK, CHUNK), began=100.0)
    assert rest(tracked, at_s=110.0).cpu_s == 30 + 20
    slow = Cost(wall=2.0, cpu=2.0, job_cpu_s=None)
    assert rest(tracked, at_s=110.0, cost=slow).cpu_s == 60 + 50


def test_a_unit_that_is_late_has_nothing_left_and_no_less():
    assert rest(fly(planned("a", CHUNK)), at_s=1e6).cpu_s == 0


def test_a_job_that_isn_t_planned_counts_as_those_before_it_have_cost():
    found = rest(unplanned("a"), unplanned("b"), cost=Cost(wall=1.0, cpu=1.0, job_cpu_s=40.0))
    assert (found.cpu_s, found.held_s, found.unknown_jobs) == (80, 80, 0)


@pytest.mark.parametrize("cost", [None, Cost(wall=1.0, cpu=1.0, job_cpu_s=None)])
def test_of_a_job_that_isn_t_planned_nothing_is_known_while_none_has_ended(cost):
    found = rest(unplanned("a"), cost=cost)
    assert (found.cpu_s, found.unknown_jobs) == (0, 1)


def test_of_a_run_over_a_collection_only_the_batches_are_known():
    waits = planned("a", DRIVER)
    found = rest(waits)
    assert (found.cpu_s, found.chain_s, found.unknown_jobs) == (0, 0, 1)
    at_it = fly(planned("a", DRIVER), drives=True)
    at_it.flights["batch-0"] = Flight(1, 1, 1, 0, ticket=None, estimate_s=3.0, began=0.0)
    found = rest(at_it)
    assert (found.cpu_s, found.units, found.unknown_jobs) == (3, 2, 1)  # the batch, and the join


@pytest.mark.parametrize("changes", [{"state": State.PAUSED, "want": "pause"}, {"want": "pause"}])
def test_paused_jobs_are_counted_apart(changes):
    found = backlog_of([planned("a", CHUNK, **changes)], 0.0)
    assert (found.paused_jobs, found.waiting) == (1, {})


def test_jobs_that_end_need_nothing():
    failed = planned("a", CHUNK)
    failed.failure = JobError(code="encode_failed", message="No.")
    assert backlog_of([failed, planned("b", CHUNK, want="cancel")], 0.0) == Backlog({}, (), 0)


def test_the_longest_unit_of_a_job_comes_before_its_join():
    join = Needs(cpus=1, max_cpus=1, seconds=5)
    found = rest(planned("a", CHUNK, join=join), planned("b", Needs(seconds=20), join=join))
    assert found.chain_s == 35


def test_memory_counts_as_long_as_it_is_held_and_up_to_a_node_s():
    assert rest(planned("a", CHUNK, CHUNK)).byte_s == 60 << 30
    huge = Needs(seconds=10, memory_bytes=100 << 30)
    assert rest(planned("a", huge)).byte_s == 10 * ROOM_BYTES


def of(**changes) -> Needed:
    facts = {"jobs": 1, "units": 1, "cpu_s": 0.0, "held_s": 0.0, "byte_s": 0.0, "chain_s": 0.0}
    return Needed(**{**facts, **changes}, measured=True, unknown_jobs=0)


def test_twice_the_cpus_take_half_the_time():
    work = [of(cpu_s=100.0, held_s=80.0), of(cpu_s=20.0, held_s=60.0)]
    assert done_in(work, 2, ROOM_BYTES) == Done(80.0, "cpus")
    assert done_in(work, 4, ROOM_BYTES) == Done(40.0, "cpus")


def test_more_cpus_don_t_make_the_longest_unit_shorter():
    film = [rest(planned("a", FILM))]
    assert done_in(film, 2, ROOM_BYTES) == done_in(film, 200, ROOM_BYTES) == Done(3600.0, "longest_unit")


def test_memory_may_be_what_it_hangs_on():
    assert done_in([of(cpu_s=10.0, byte_s=100.0 * (8 << 30))], 8, 8 << 30) == Done(100.0, "memory")


def test_without_a_cpu_it_is_never_done():
    assert done_in([of(cpu_s=10.0)], 0, 0) == Done(None, "no_cpus")


def test_thousands_of_units_are_one_look():
    plan = Plan(units=tuple(Unit(name=f"chunk-{number}", needs=CHUNK) for number in range(4000)), join=NO_JOIN)
    tracked = planned("a")
    tracked.plan = plan
    assert rest(tracked).cpu_s == 4000 * 30
