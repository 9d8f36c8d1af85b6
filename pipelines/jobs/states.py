"""The state machine of a job, and what a job does next. Pure: facts in, decision out."""

from collections.abc import Mapping
from typing import Literal

from pipelines.jobs.models import Needs, Plan, Stage, State, Unit, UnitStatus

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

_WORKING = frozenset({State.PLANNING, State.RUNNING, State.VERIFYING})
_STOPPED = frozenset({State.PAUSED, State.FAILED, State.CANCELLED})

MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: _WORKING | _STOPPED,
    # At once to verifying: the result was found in the cache.
    State.PLANNING: frozenset({State.RUNNING, State.VERIFYING, State.QUEUED}) | _STOPPED,
    State.RUNNING: frozenset({State.VERIFYING, State.QUEUED}) | _STOPPED,
    # Back to running: what the units made can't be joined, and another plan is carried out.
    State.VERIFYING: frozenset({State.SUCCEEDED, State.QUEUED, State.RUNNING}) | _STOPPED,
    State.PAUSED: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

PLAN, JOIN, PUBLISH = "plan", "join", "publish"
RESERVED_UNIT_NAMES = frozenset({PLAN, JOIN, PUBLISH})
_WAITING = UnitStatus()
_SHORT = Needs(cpus=0, max_cpus=0, seconds=0.1)
_PLAN_UNIT, _PUBLISH_UNIT = Unit(name=PLAN, needs=_SHORT), Unit(name=PUBLISH, needs=_SHORT)


def stage_of(unit: str) -> Stage:
    """The stage a unit belongs to, by its name."""
    if unit == PLAN:
        return "plan"
    if unit == JOIN:
        return "join"
    return "publish" if unit == PUBLISH else "unit"


def state_for(unit: str) -> State:
    """The state a job is in while this unit runs."""
    return {
        "plan": State.PLANNING,
        "unit": State.RUNNING,
        "join": State.VERIFYING,
        "publish": State.VERIFYING,
    }[stage_of(unit)]


def next_units(plan: Plan | None, units: Mapping[str, UnitStatus], *, publishes: bool) -> list[Unit] | None:
    """The units that may start now: none while it waits for running ones; None when all is done.

    plan → the plan's units, side by side → join → publish, if the join made files (``publishes``).
    """

    def status(name: str) -> UnitStatus:
        return units.get(name, _WAITING)

    def waiting(unit: Unit) -> list[Unit]:
        return [unit] if status(unit.name).state == "waiting" else []

    if plan is None:
        return waiting(_PLAN_UNIT)
    if any(status(unit.name).state != "done" for unit in plan.units):
        return [unit for unit in plan.units if status(unit.name).state == "waiting"]
    if status(JOIN).state != "done":
        return waiting(Unit(name=JOIN, needs=plan.join))
    if publishes and status(PUBLISH).state != "done":
        return waiting(_PUBLISH_UNIT)
    return None


Verdict = Literal["again", "fail"]


def after_failure(status: UnitStatus, *, retryable: bool, max_attempts: int, max_lost_places: int) -> Verdict:
    """Whether a unit is tried again.

    ``attempts`` counts failures of the work, ``lost`` places that went away under it; each has its own cap.
    """
    if status.attempts and not retryable:
        return "fail"
    return "fail" if status.attempts >= max_attempts or status.lost >= max_lost_places else "again"
