from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.models import Needs, Plan, Stage, State, Unit, UnitStatus
from pipelines.jobs.states import MOVES, TERMINAL, after_failure, next_units, stage_of, state_for

ALLOWED = {
    "queued": "planning running verifying paused failed cancelled",
    "planning": "queued running verifying paused failed cancelled",
    "running": "queued verifying paused failed cancelled",
    "verifying": "queued running succeeded paused failed cancelled",
    "paused": "queued failed cancelled",
    "succeeded": "",
    "failed": "",
    "cancelled": "",
}
DONE = UnitStatus(state="done")
RUNNING = UnitStatus(state="running", fence=1)
PLAN = Plan(units=(Unit(name="a"), Unit(name="b")), join=Needs(seconds=7))


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_only_the_listed_moves_are_allowed(old: State, new: State):
    assert (new in MOVES[old]) == (new in ALLOWED[old].split())


def test_nothing_leaves_a_terminal_state():
    assert {state for state in State if not MOVES[state]} == TERMINAL


def test_success_is_only_reached_after_verification():
    assert [old for old in State if State.SUCCEEDED in MOVES[old]] == [State.VERIFYING]


def names(units: list[Unit] | None) -> list[str] | None:
    return None if units is None else [unit.name for unit in units]


@pytest.mark.parametrize(
    ("plan", "units", "publishes", "expected"),
    [
        pytest.param(None, {}, False, ["plan"], id="a new job is planned"),
        pytest.param(None, {"plan": RUNNING}, False, [], id="while it is planned it waits"),
        pytest.param(PLAN, {"plan": DONE}, False, ["a", "b"], id="then its units start side by side"),
        pytest.param(PLAN, {"plan": DONE, "a": RUNNING}, False, ["b"], id="a running unit isn't started again"),
        pytest.param(PLAN, {"plan": DONE, "a": DONE}, False, ["b"], id="a finished unit isn't started again"),
        pytest.param(PLAN, {"a": DONE, "b": RUNNING}, False, [], id="the join waits for the last unit"),
        pytest.param(PLAN, {"a": DONE, "b": DONE}, False, ["join"], id="then it is joined"),
        pytest.param(PLAN, {"a": DONE, "b": DONE, "join": RUNNING}, False, [], id="once"),
        pytest.param(PLAN, {"a": DONE, "b": DONE, "join": DONE}, False, None, id="without files that's all"),
        pytest.param(PLAN, {"a": DONE, "b": DONE, "join": DONE}, True, ["publish"], id="files are published"),
        pytest.param(PLAN, {"a": DONE, "b": DONE, "join": DONE, "publish": RUNNING}, True, [], id="published once"),
        pytest.param(
            PLAN, {"a": DONE, "b": DONE, "join": DONE, "publish": DONE}, True, None, id="published is the end"
        ),
        pytest.param(Plan(units=()), {"plan": DONE}, False, ["join"], id="a plan without units is joined"),
    ],
)
def test_next_units(plan, units, publishes, expected):
    assert names(next_units(plan, units, publishes=publishes)) == expected


def test_the_join_claims_what_the_plan_says():
    (join,) = next_units(PLAN, {"a": DONE, "b": DONE}, publishes=False) or []
    assert join.needs.seconds == 7


@pytest.mark.parametrize("stage", ["plan", "publish"])
def test_planning_and_publishing_are_interactive(stage):
    units = {"a": DONE, "b": DONE, "join": DONE}
    (unit,) = next_units(None if stage == "plan" else PLAN, units if stage == "publish" else {}, publishes=True) or []
    assert unit.name == stage
    assert unit.needs.interactive


@given(st.dictionaries(st.sampled_from(["plan", "a", "b", "join", "publish"]), st.sampled_from([DONE, RUNNING])))
def test_what_starts_next_is_always_waiting(units):
    for plan in (None, PLAN):
        for unit in next_units(plan, units, publishes=True) or []:
            assert unit.name not in units


@pytest.mark.parametrize(
    ("unit", "stage", "state"),
    [
        ("plan", "plan", "planning"),
        ("join", "join", "verifying"),
        ("publish", "publish", "verifying"),
        ("chunk-0", "unit", "running"),
        ("planner", "unit", "running"),
    ],
)
def test_a_unit_s_name_tells_its_stage_and_the_job_s_state(unit: str, stage: Stage, state: str):
    assert (stage_of(unit), state_for(unit)) == (stage, state)


@pytest.mark.parametrize(
    ("attempts", "lost", "retryable", "verdict"),
    [
        pytest.param(1, 0, True, "again", id="the first failure of the work is tried again"),
        pytest.param(2, 0, True, "again", id="so is the second"),
        pytest.param(3, 0, True, "fail", id="the third is the last"),
        pytest.param(1, 0, False, "fail", id="a fault of the input is never tried again"),
        pytest.param(0, 19, False, "again", id="a lost place doesn't count as a failure of the work"),
        pytest.param(0, 20, True, "fail", id="lost places have their own cap"),
        pytest.param(2, 19, True, "again", id="the two are not added up"),
    ],
)
def test_after_failure(attempts, lost, retryable, verdict):
    status = UnitStatus(attempts=attempts, lost=lost)
    assert after_failure(status, retryable=retryable, max_attempts=3, max_lost_places=20) == verdict
