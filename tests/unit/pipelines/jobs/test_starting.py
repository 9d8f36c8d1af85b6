"""What may start next, of jobs and a cluster that exist only here."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from unit.pipelines.jobs.pretend import HEAVY

from pipelines.jobs.models import Job, Needs, Plan, Priority, State, Unit, UnitStatus
from pipelines.jobs.shares import Shares
from pipelines.jobs.starting import next_start, wanted_cpus
from pipelines.jobs.store_records import LoadedJob
from pipelines.jobs.tracking import Flight, Tracked

QUICK = Needs(cpus=0, max_cpus=0, seconds=0.1)
DONE = UnitStatus(state="done")
NOW_S = 1_000.0
LIFT_S = 300.0


@dataclass
class Cluster:
    cpus: int = 2
    largest_cpus: int = 2
    memory_bytes: int = 8 << 30
    largest_memory_bytes: int = 8 << 30
    interactive_slots: int = 4
    nodes: int = 1


def job(name: str, *needs: Needs, planned: bool = True, heavy: bool = True, **changes) -> Tracked:
    facts = {"state": State.RUNNING, "want": "run", "priority": Priority.NORMAL, "created_at": int(NOW_S * 1000)}
    record = Job(id=name, operation="copy", sources=(), params={}, **{**facts, "owner": "anna", **changes})
    plan = Plan(units=tuple(Unit(name=f"unit-{number}", needs=each) for number, each in enumerate(needs)))
    loaded = LoadedJob(record, {"plan": DONE}, plan) if planned else LoadedJob(record, {})
    return Tracked.of(loaded, heavy=heavy)


def flying(
    tracked: Tracked, unit: str, cpus: int = 1, memory_bytes: int = 0, claimed_cpus: int | None = None
) -> Tracked:
    claimed_cpus = cpus if claimed_cpus is None else claimed_cpus
    tracked.flights[unit] = Flight(1, cpus, claimed_cpus, memory_bytes, ticket=None)
    return tracked


def start(*jobs: Tracked, cluster: Cluster | None = None):
    found = next_start({each.job.id: each for each in jobs}, Shares(), cluster or Cluster(), LIFT_S, NOW_S)
    return found and (found.tracked.job.id, found.unit.name, found.cpus)


def test_nothing_waits_nothing_starts():
    assert start() is None


def test_the_first_unit_gets_its_cpu():
    assert start(job("a", HEAVY, HEAVY)) == ("a", "unit-0", 1)


def test_a_unit_on_its_way_is_not_started_again():
    assert start(flying(job("a", HEAVY, HEAVY), "unit-0")) == ("a", "unit-1", 1)


def test_a_full_cluster_starts_only_what_takes_no_cpu():
    busy = flying(flying(job("a", HEAVY, HEAVY, HEAVY), "unit-0"), "unit-1")
    assert start(busy) is None
    assert start(busy, job("b", QUICK)) == ("b", "unit-0", 0)


def test_the_job_with_fewer_cpus_is_next():
    assert start(flying(job("a", HEAVY, HEAVY), "unit-0"), job("b", HEAVY)) == ("b", "unit-0", 1)


def test_a_job_at_work_isn_t_lifted_however_old_it_is():
    old = flying(job("a", HEAVY, HEAVY, priority=Priority.LOW, created_at=0), "unit-0")
    assert start(old, job("b", HEAVY)) == ("b", "unit-0", 1)


def test_a_job_that_has_waited_is_lifted():
    waiting = job("a", HEAVY, priority=Priority.LOW, created_at=0)
    assert start(waiting, job("b", HEAVY)) == ("a", "unit-0", 1)


@given(st.sampled_from([Priority.LOW, Priority.NORMAL]), st.floats(1.0, 100.0))
def test_a_long_film_gets_a_piece_for_each_lift_and_no_more_beside_better_ones(priority, piece_s):
    """A film of many pieces beside an endless stream of high ones, one of which ends when another comes."""
    film = job("film", *[HEAVY] * 100, priority=priority, created_at=0)
    film.waiting_since_s, now_s, served = 0.0, 0.0, []
    while now_s < 10 * LIFT_S:
        better = job("better", HEAVY, priority=Priority.HIGH, created_at=int(now_s * 1000))
        found = next_start({"film": film, "better": better}, Shares(), Cluster(cpus=1), LIFT_S, now_s)
        assert found is not None
        now_s += piece_s
        if found.tracked is film:
            served.append(now_s)
            film.units[found.unit.name] = DONE
            film.waiting_since_s = now_s
    lifts = 2 if priority == Priority.LOW else 1
    gaps = [after - before for before, after in pairwise([0.0, *served])]
    assert served
    assert min(gaps) >= lifts * LIFT_S
    assert max(gaps) <= lifts * LIFT_S + 2 * piece_s + 1e-6


def test_owners_take_turns_by_all_of_their_jobs():
    """Anna's film was served last, and is planned; all CPUs are at work for somebody else."""
    busy = [flying(job(f"c{number}", HEAVY, owner="carl"), "unit-0") for number in range(2)]
    served = job("a1", HEAVY)
    served.last_served = 3
    waiting = [job("a2", planned=False), job("b1", planned=False, owner="bert")]
    assert start(*busy, served, *waiting) == ("b1", "plan", 0)


def test_a_paused_job_starts_nothing():
    assert start(job("a", HEAVY, want="pause")) is None


def test_a_unit_without_room_in_memory_keeps_smaller_ones_from_overtaking():
    large, small = Needs(memory_bytes=6 << 30, seconds=30), Needs(memory_bytes=1 << 30, seconds=30)
    holder = flying(job("a", large), "unit-0", memory_bytes=6 << 30)
    assert start(holder, job("b", large), job("c", small)) is None
    assert start(holder, job("c", small)) == ("c", "unit-0", 1)


def test_a_unit_that_wants_more_than_any_node_gets_a_whole_node():
    huge = Needs(memory_bytes=100 << 30, seconds=30)
    found = next_start({"a": job("a", huge)}, Shares(), Cluster(), LIFT_S, NOW_S)
    assert found is not None
    assert found.memory_bytes == 8 << 30


FILM = Needs(cpus=0, max_cpus=16, seconds=3600)  # in one pass


def film(name: str, *, at_work: bool = True, **changes) -> Tracked:
    made = job(name, FILM, **changes)
    return flying(made, "unit-0", cpus=2, claimed_cpus=0) if at_work else made


def test_a_unit_is_granted_no_more_than_one_node_has():
    found = next_start({"a": film("a", at_work=False)}, Shares(), Cluster(cpus=16, largest_cpus=8), LIFT_S, NOW_S)
    assert found is not None
    assert (found.cpus, found.claimed_cpus) == (8, 0)


def test_what_claims_more_than_any_node_has_claims_a_whole_node():
    wide = Needs(cpus=16, max_cpus=16, seconds=30)
    found = next_start({"a": job("a", wide)}, Shares(), Cluster(cpus=16, largest_cpus=8), LIFT_S, NOW_S)
    assert found is not None
    assert (found.cpus, found.claimed_cpus) == (8, 8)


def test_a_cluster_without_nodes_starts_nothing_heavy():
    assert start(job("a", HEAVY), film("b", at_work=False), cluster=Cluster(cpus=0, largest_cpus=0)) is None


def test_a_film_in_one_pass_holds_up_no_other_film():
    assert start(film("long"), job("a", HEAVY)) == ("a", "unit-0", 1)
    assert start(film("long"), flying(job("a", HEAVY, HEAVY), "unit-0")) == ("a", "unit-1", 1)
    assert start(film("long"), film("b", at_work=False)) == ("b", "unit-0", 1)


def test_a_film_in_one_pass_starts_beside_chunks_that_hold_every_cpu():
    busy = flying(flying(job("a", HEAVY, HEAVY, HEAVY), "unit-0"), "unit-1")
    assert start(busy, film("b", at_work=False)) == ("b", "unit-0", 1)


def test_what_waits_for_the_memory_of_a_film_in_one_pass_holds_up_no_smaller_ones():
    large, small = Needs(memory_bytes=4 << 30, seconds=30), Needs(memory_bytes=1 << 30, seconds=30)
    long = flying(job("long", FILM), "unit-0", memory_bytes=6 << 30, claimed_cpus=0)
    assert start(long, job("b", large), job("c", small)) == ("c", "unit-0", 1)


def test_what_waits_for_other_memory_is_not_overtaken_beside_a_film_in_one_pass():
    large, small = Needs(memory_bytes=4 << 30, seconds=30), Needs(memory_bytes=1 << 30, seconds=30)
    long = flying(job("long", FILM), "unit-0", memory_bytes=4 << 30, claimed_cpus=0)
    short = flying(job("a", small), "unit-0", memory_bytes=1 << 30)
    assert start(long, short, job("b", large), job("c", small)) is None


def test_as_many_films_in_one_pass_run_as_there_are_cpus_and_urgent_ones_beside_them():
    at_work = [film("a"), film("b")]
    assert start(*at_work, film("c", at_work=False)) is None
    assert start(*at_work, film("c", at_work=False, priority=Priority.LOW)) is None
    assert start(*at_work, film("c", at_work=False, priority=Priority.URGENT)) == ("c", "unit-0", 1)
    assert start(*at_work, film("c", at_work=False), job("d", HEAVY)) == ("d", "unit-0", 1)


def test_one_heavy_job_a_node_is_planned_at_once():
    first, second = job("a", planned=False), job("b", planned=False)
    assert start(first, second) == ("a", "plan", 0)
    assert start(flying(first, "plan", cpus=0), second) is None
    assert start(flying(first, "plan", cpus=0), second, cluster=Cluster(nodes=2)) == ("b", "plan", 0)


def test_a_light_job_is_planned_behind_any_queue():
    waiting = flying(job("a", planned=False), "plan", cpus=0)
    assert start(waiting, job("b", planned=False, heavy=False)) == ("b", "plan", 0)


def test_cpus_are_wanted_for_what_waits_and_what_is_on_its_way():
    assert wanted_cpus([flying(job("a", HEAVY, HEAVY, HEAVY), "unit-0"), job("b", HEAVY)]) == 4


def test_a_job_with_nothing_heavy_wants_a_cpu_all_the_same():
    assert wanted_cpus([job("a", QUICK), job("b", planned=False)]) == 2


def test_a_paused_job_wants_no_cpus():
    assert wanted_cpus([job("a", HEAVY, want="pause")]) == 0
