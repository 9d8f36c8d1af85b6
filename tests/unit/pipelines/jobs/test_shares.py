from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.models import Priority
from pipelines.jobs.schedule import Candidate, in_order
from pipelines.jobs.shares import Shares


def shares(**served: float) -> Shares:
    made = Shares()
    for job_id in served:
        made.enter("anna", job_id)
    for job_id, seconds in sorted(served.items(), key=lambda each: each[1]):
        made.begin("anna", job_id, seconds)
    return made


def test_a_job_and_its_owner_have_had_what_their_units_cost():
    made = shares(a=3.0, b=4.0)
    assert (made.of_job("anna", "a"), made.of_job("anna", "b"), made.of_owner("anna")) == (3.0, 4.0, 7.0)


def test_whoever_comes_has_had_as_much_as_the_one_whose_turn_it_is():
    made = shares(a=30.0, b=40.0)
    made.begin("anna", "a", 0.0)
    assert made.of_job("anna", "unknown") == 30.0
    made.enter("anna", "new")
    made.enter("ben", "other")
    assert made.of_job("anna", "new") == 30.0
    assert made.of_owner("ben") == made.of_owner("anna")


def test_whoever_comes_while_another_is_at_work_comes_in_behind_what_that_will_take():
    made = shares(a=0.0)
    for _ in range(3):
        made.begin("anna", "a", 5.0)
    made.enter("anna", "new")
    assert made.of_job("anna", "a") == 15.0
    assert made.of_job("anna", "new") == 10.0


def test_whoever_couldn_t_be_served_for_hours_catches_up_on_a_minute():
    made = shares(low=0.0, busy=7200.0)
    made.begin("anna", "busy", 0.0)
    assert made.of_job("anna", "low") == 7140.0


def test_a_job_that_left_counts_no_more_and_its_owner_is_forgotten_with_the_last():
    made = shares(a=3.0, b=4.0)
    made.leave("anna", "a")
    assert (made.of_job("anna", "b"), made.of_owner("anna")) == (4.0, 7.0)
    made.leave("anna", "b")
    made.enter("anna", "c")
    assert made.of_job("anna", "c") == 0.0
    assert made.of_owner("anna") == 3.0, "behind the owner whose turn it was last"


def test_what_was_taken_back_before_it_began_costs_nothing():
    made = shares(a=3.0, b=4.0)
    made.begin("anna", "a", 30.0)
    made.give_back("anna", "a", 30.0)
    assert (made.of_job("anna", "a"), made.of_job("anna", "b"), made.of_owner("anna")) == (3.0, 4.0, 7.0)
    made.leave("anna", "a")
    made.give_back("anna", "a", 30.0)
    made.give_back("ben", "c", 30.0)
    made.enter("anna", "a")
    assert made.of_job("anna", "a") == 3.0


def test_of_what_was_never_there_nothing_is_known():
    made = Shares()
    made.leave("ben", "a")
    made.begin("ben", "a", 5.0)
    assert (made.of_owner("ben"), made.of_job("ben", "a")) == (0.0, 0.0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.5, 8.0)), min_size=2, max_size=8),
    st.integers(20, 80),
)
def test_time_is_shared_evenly_between_owners_and_between_their_jobs_however_long_their_units_are(jobs, turns):
    """One CPU, and each job always wants more: what two have had never differs by more than the longest unit."""
    made, had = Shares(), [0.0] * len(jobs)
    for number, (owner, _) in enumerate(jobs):
        made.enter(owner, str(number))
    for _ in range(turns):
        waiting = [
            Candidate(str(i), who, Priority.NORMAL, 0, 0.0, 0, 0, made.of_job(who, str(i)), made.of_owner(who))
            for i, (who, _) in enumerate(jobs)
        ]
        chosen = int(in_order(waiting, lift_s=900.0)[0].job_id)
        owner, unit_s = jobs[chosen]
        made.begin(owner, str(chosen), unit_s)
        had[chosen] += unit_s
    longest = max(unit_s for _, unit_s in jobs)
    of_owner = [sum(had[i] for i, (who, _) in enumerate(jobs) if who == owner) for owner in {who for who, _ in jobs}]
    assert max(of_owner) - min(of_owner) <= longest + 1e-6
    for owner in {who for who, _ in jobs}:
        mine = [had[i] for i, (who, _) in enumerate(jobs) if who == owner]
        assert max(mine) - min(mine) <= longest + 1e-6
