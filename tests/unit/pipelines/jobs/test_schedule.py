import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.models import Needs, Priority
from pipelines.jobs.schedule import Candidate, effective_class, grant_cpus, in_order, share_of_cpus

LIFT_S = 900.0
CREATED_AT = 10_000_000


def job(job_id: str = "a", **changes) -> Candidate:
    return replace(Candidate(job_id, "anna", Priority.NORMAL, CREATED_AT, 0.0, 0, 0), **changes)


def first(*candidates: Candidate) -> str:
    return in_order(candidates, lift_s=LIFT_S)[0].job_id


def test_a_higher_priority_goes_first_whoever_else_waits():
    waiting = job("old", waited_s=100 * LIFT_S, priority=Priority.LOW)
    assert first(waiting, job("new", priority=Priority.URGENT, cpus_in_use=9, last_served=9)) == "new"


def test_inside_a_class_the_key_with_fewer_cpus_in_use_goes_first():
    busy = job("a1", owner="anna", cpus_in_use=2)
    assert first(busy, job("a2", owner="anna"), job("b", owner="ben", last_served=5)) == "b"


def test_two_keys_take_turns_however_many_jobs_one_has():
    anna = [job(f"a{i}", owner="anna", last_served=i) for i in (1, 2, 3)]
    ben = job("b", owner="ben", last_served=2)
    assert first(*anna, ben) == "b"


def test_inside_a_key_the_job_with_fewer_cpus_in_use_goes_first():
    assert first(job("a", cpus_in_use=1), job("b", last_served=3)) == "b"


def test_inside_a_key_jobs_take_turns():
    assert first(job("a", last_served=2), job("b", last_served=1)) == "b"


def test_inside_a_class_the_owner_who_has_had_less_time_goes_first():
    assert first(job("a", owner_served_s=2.0), job("b", owner="ben", last_served=5, owner_served_s=1.9)) == "b"


def test_inside_an_owner_the_job_that_has_had_less_time_goes_first():
    assert first(job("a", served_s=2.0), job("b", last_served=5, served_s=1.9)) == "b"


def test_fewer_cpus_in_use_come_before_less_time():
    assert first(job("a", cpus_in_use=1), job("b", served_s=9.0)) == "b"


def test_of_two_jobs_never_served_the_older_goes_first():
    assert first(job("a"), job("b", created_at=CREATED_AT - 1)) == "b"


@pytest.mark.parametrize(
    ("priority", "waited_s", "expected"),
    [
        (Priority.LOW, 0, 0),
        (Priority.LOW, LIFT_S - 0.001, 0),
        (Priority.LOW, LIFT_S, 1),
        (Priority.LOW, 2 * LIFT_S, 2),
        (Priority.LOW, 100 * LIFT_S, 2),
        (Priority.NORMAL, LIFT_S, 2),
        (Priority.HIGH, 100 * LIFT_S, 2),
        (Priority.URGENT, 0, 3),
        (Priority.URGENT, 100 * LIFT_S, 3),
        (Priority.NORMAL, -60, 1),
    ],
)
def test_waiting_lifts_up_to_high_and_never_to_urgent(priority, waited_s, expected):
    assert effective_class(priority, waited_s, LIFT_S) == expected


candidates = st.lists(
    st.builds(
        Candidate,
        job_id=st.uuids().map(str),
        owner=st.sampled_from(["anna", "ben", "cleo"]),
        priority=st.sampled_from(Priority),
        created_at=st.integers(0, CREATED_AT),
        waited_s=st.floats(-60, 10 * LIFT_S),
        cpus_in_use=st.integers(0, 4),
        last_served=st.integers(0, 20),
    ),
    unique_by=lambda each: each.job_id,
)


@given(candidates, st.integers(0, 2**32))
def test_the_order_keeps_everybody_and_doesn_t_depend_on_the_listing(listed, seed):
    shuffled = random.Random(seed).sample(listed, len(listed))
    ordered = in_order(shuffled, lift_s=LIFT_S)
    assert sorted(each.job_id for each in ordered) == sorted(each.job_id for each in listed)
    assert ordered == in_order(listed, lift_s=LIFT_S)


@given(candidates)
def test_classes_never_rise_along_the_order(listed):
    ordered = in_order(listed, lift_s=LIFT_S)
    classes = [effective_class(each.priority, each.waited_s, LIFT_S) for each in ordered]
    assert classes == sorted(classes, reverse=True)


@given(st.lists(st.sampled_from(["anna", "ben", "cleo"]), min_size=1, max_size=12), st.integers(10, 60))
def test_turns_are_shared_evenly_between_keys_and_between_their_jobs(owners, turns):
    jobs = {f"{i:02}": job(f"{i:02}", owner=owner) for i, owner in enumerate(owners)}
    served: Counter[str] = Counter()
    for turn in range(1, turns + 1):
        chosen = first(*jobs.values())
        served[chosen] += 1
        jobs[chosen] = replace(jobs[chosen], last_served=turn)
    by_owner = Counter(dict.fromkeys(owners, 0))
    for job_id, count in served.items():
        by_owner[jobs[job_id].owner] += count
    assert max(by_owner.values()) - min(by_owner.values()) <= 1
    for owner in by_owner:
        counts = [served[job_id] for job_id, each in jobs.items() if each.owner == owner]
        assert max(counts) - min(counts) <= 1


@given(st.sampled_from([Priority.LOW, Priority.NORMAL]), st.integers(1, 300))
def test_a_job_behind_an_endless_stream_of_high_ones_is_served_when_it_was_lifted(priority, step_s):
    for turn in range(10_000):
        waited_s = float(turn * step_s)
        patient = job("patient", priority=priority, waited_s=waited_s)
        newcomer = job(f"new{turn}", priority=Priority.HIGH, created_at=CREATED_AT + turn)
        if first(patient, newcomer) == "patient":
            assert waited_s <= 2 * LIFT_S + step_s
            return
    pytest.fail("starved")


def test_urgent_jobs_stay_in_front_of_one_that_waited_for_ever():
    assert first(job("patient", waited_s=10.0**9), job("urgent", priority=Priority.URGENT)) == "urgent"


def test_a_unit_alone_gets_all_it_can_use():
    assert grant_cpus(Needs(cpus=1, max_cpus=3), share=8, most=8) == 3


def test_a_unit_gets_no_more_than_a_node_has():
    assert grant_cpus(Needs(cpus=1, max_cpus=16), share=16, most=8) == 8


def test_units_that_wait_together_share_what_is_free():
    assert share_of_cpus(8, granted=0, at_work=0, waiting=4) == 2


def test_a_unit_that_comes_when_all_cpus_are_used_gets_as_many_as_those_at_work():
    assert share_of_cpus(16, granted=16, at_work=1, waiting=1) == 8


def test_a_share_is_never_below_the_minimum():
    assert grant_cpus(Needs(cpus=2, max_cpus=16), share=0, most=8) == 2


@given(st.integers(0, 8), st.integers(0, 16), st.integers(-8, 64), st.integers(1, 16))
def test_a_grant_is_of_use_and_fits_a_node(cpus, more, share, most):
    granted = grant_cpus(Needs(cpus=cpus, max_cpus=max(1, cpus + more)), share=share, most=most)
    assert 1 <= granted <= min(max(1, cpus + more), most)


@given(st.integers(1, 64), st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_wide_units_that_come_one_after_the_other_ask_for_few_more_threads_than_there_are_cpus(cpus, arrivals):
    granted: list[int] = []
    for waiting in arrivals:
        share = share_of_cpus(cpus, granted=sum(granted), at_work=len(granted), waiting=waiting)
        granted.append(grant_cpus(Needs(cpus=0, max_cpus=cpus), share=share, most=cpus))
    assert sum(granted) <= cpus * sum(1 / place for place in range(1, len(granted) + 1)) + len(granted)
