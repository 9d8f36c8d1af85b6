from unit.pipelines.jobs.test_starting import NOW_S, Cluster, flying, job

from pipelines.jobs.models import JobError, Needs, Priority, State
from pipelines.jobs.queue_facts import OVERDUE_FACTOR, OVERDUE_S, QueueFacts, facts_of
from pipelines.jobs.tracking import Flight, Tracked

HEAVY = Needs(cpus=1, max_cpus=1, seconds=30)
SOON_S = 10.0


def facts(*jobs: Tracked, at_s: float = NOW_S, monotonic_s: float = 0.0) -> QueueFacts:
    return facts_of(jobs, Cluster(cpus=2), at_s, monotonic_s)


def queued(name: str, **changes) -> Tracked:
    return job(name, HEAVY, planned=False, state=State.QUEUED, **changes)


def fly(tracked: Tracked, *, began: float = 0.0, **changes) -> Tracked:
    tracked.flights["unit-0"] = Flight(1, 1, 1, 1 << 30, ticket=None, began=began, **changes)
    return tracked


def test_jobs_are_counted_by_state_and_operation():
    found = facts(queued("a"), queued("b"), fly(job("c", HEAVY)))
    assert found.jobs == {("queued", "copy"): 2, ("running", "copy"): 1}


def test_the_age_of_the_queue_is_that_of_its_first_job():
    later = queued("b", created_at=int((NOW_S + SOON_S) * 1000))
    found = facts(queued("a"), later, at_s=NOW_S + 2 * SOON_S)
    assert found.oldest_s["normal"] == 2 * SOON_S
    assert found.waiting["normal"] == 2


def test_each_priority_has_an_age_of_its_own_and_none_is_left_out():
    found = facts(queued("a", priority=Priority.URGENT), at_s=NOW_S + SOON_S)
    assert found.oldest_s == {"low": 0.0, "normal": 0.0, "high": 0.0, "urgent": SOON_S}


def test_a_job_with_a_unit_on_its_way_doesn_t_wait():
    assert facts(fly(job("a", HEAVY)), at_s=NOW_S + SOON_S).waiting["normal"] == 0


def test_a_paused_job_doesn_t_wait():
    assert facts(job("a", HEAVY, state=State.PAUSED), at_s=NOW_S + SOON_S).waiting["normal"] == 0


def test_a_job_that_is_being_paused_doesn_t_wait():
    assert facts(job("a", HEAVY, want="pause"), at_s=NOW_S + SOON_S).oldest_s["normal"] == 0.0


def test_a_job_that_fails_doesn_t_wait():
    failed = job("a", HEAVY)
    failed.failure = JobError(code="encode_failed", message="No.")
    assert facts(failed, at_s=NOW_S + SOON_S).waiting["normal"] == 0


def test_units_are_counted_by_lane():
    drives = fly(job("b", HEAVY), drives=True)
    quick = flying(job("c", HEAVY), "unit-0", cpus=0)
    found = facts(fly(job("a", HEAVY)), drives, quick)
    assert found.units == {"heavy": 1, "interactive": 1, "driver": 1}


def test_cpus_and_memory_in_use_are_those_of_the_units():
    found = facts(fly(job("a", HEAVY)), flying(job("b", HEAVY), "unit-0", cpus=9, memory_bytes=1 << 20))
    assert (found.cpus, found.cpus_in_use) == (2, 2)
    assert found.memory_in_use_bytes == (1 << 30) + (1 << 20)


def test_a_unit_is_overdue_after_ten_minutes():
    tracked = fly(job("a", HEAVY))
    assert facts(tracked, monotonic_s=OVERDUE_S).overdue == {}
    assert facts(tracked, monotonic_s=OVERDUE_S + 1).overdue == {"copy": 1}


def test_a_long_unit_is_overdue_after_ten_times_its_estimate():
    tracked = fly(job("a", HEAVY), estimate_s=3600.0)
    assert facts(tracked, monotonic_s=3600.0 * OVERDUE_FACTOR).overdue == {}
    assert facts(tracked, monotonic_s=3600.0 * OVERDUE_FACTOR + 1).overdue == {"copy": 1}


def test_a_driver_is_never_overdue():
    assert facts(fly(job("a", HEAVY), drives=True), monotonic_s=1e9).overdue == {}
