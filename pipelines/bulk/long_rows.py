"""Rows that take long, as films do: each is carried out as a job of it would be, its units beside those of all others.

They are units of the bulk job, named by what they do: a driver that follows a killed one finds them done.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.bulk.long_plans import LongPlans, read_plan
from pipelines.bulk.turns import done_in_turn
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import told_error
from pipelines.jobs.models import JobError, Needs, Plan, Unit
from pipelines.jobs.orders import UnitReport

ROW, PART, FINISH = "row", "part", "finish"  # in a unit's payload
_SHORT = Needs(cpus=0, max_cpus=0, seconds=0.1)


class Part(BaseModel, frozen=True, extra="forbid"):
    """A unit of a row's plan, and what all of them share."""

    unit: Unit
    shared: dict[str, Any]


class Finish(BaseModel, frozen=True, extra="forbid"):
    """What is to be joined: ``plan`` is where that is noted, ``names`` are what its units were done as, by theirs.

    With an ``error`` one couldn't be done.
    """

    plan: str
    names: dict[str, str]
    error: JobError | None = None


class LongRows:
    """Has rows of a job carried out whose plans are noted; units ``at_once`` of all of them are asked for.

    ``common`` is in the payload of each unit; ``key`` is the column that tells rows.
    """

    def __init__(self, driver: Driver, plans: LongPlans, common: Mapping[str, Any], key: str, at_once: int) -> None:
        self._driver = driver
        self._plans = plans
        self._common = common
        self._key = key
        self._asks = ThreadPoolExecutor(at_once, thread_name_prefix="asks")

    def planned_by(self, unit: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of some rows whose plans a unit has noted."""
        return [row for row in rows if self._plans.has(unit, row[self._key])]

    def carry_out(self, row: Mapping[str, Any], plan_of: str) -> tuple[str, JobError | None]:
        """Have a row carried out by the plan that the unit ``plan_of`` noted.

        The name of the unit that has put its outcome into the table, or has failed to, and why it has.

        Raises:
            UnitDroppedError, StorageError: as ``done_in_turn``.
        """
        key = row[self._key]
        names: dict[str, str] = {}
        notes: list[Path] = []
        units: list[str] = []
        while True:
            notes.append(self._plans.path(plan_of, key))
            plan = read_plan(notes[-1])
            prefix = _prefix(self._common, row, plan)
            error = self._parts_done(row, plan, prefix, names)
            needs = plan.join if error is None else _SHORT
            finish = Finish(plan=str(notes[-1]), names=names, error=error).model_dump(mode="json")
            payload = {**self._common, ROW: dict(row), FINISH: finish}
            units.append(f"{prefix}-finish")
            report = done_in_turn(self._driver, Unit(name=units[-1], needs=needs, payload=payload))
            if report.outcome == "failed" or not self._plans.has(units[-1], key):
                break
            plan_of = units[-1]  # what was made can't be joined: there is another plan
        self._driver.forget([*names.values(), *units])
        self._plans.clear_up(key, notes, [*names.values(), *units])
        return units[-1], _failure(report)

    def _parts_done(self, row: Mapping[str, Any], plan: Plan, prefix: str, names: dict[str, str]) -> JobError | None:
        """Have the units of a plan done that have no names yet; what the first had that failed."""
        asked = {}
        for unit in plan.units:
            if unit.name in names:
                continue
            names[unit.name] = f"{prefix}-{unit.name}"
            part = Part(unit=unit, shared=plan.shared).model_dump(mode="json")
            payload = {**self._common, ROW: dict(row), PART: part}
            whole = Unit(name=names[unit.name], needs=unit.needs, payload=payload, key=unit.key)
            asked[self._asks.submit(done_in_turn, self._driver, whole)] = unit.needs.seconds
        all_s, done_s = sum(asked.values()) or 1.0, 0.0
        try:
            for done in as_completed(asked):
                if error := _failure(done.result()):
                    return error
                done_s += asked[done]
                self._plans.tell(row[self._key], done_s / all_s)
        finally:
            for each in asked:
                each.cancel()
            wait(asked)  # those that run: what they make is removed with all else
        return None


def _failure(report: UnitReport) -> JobError | None:
    if report.outcome == "failed":
        return report.error or told_error("internal", "It failed, and nobody knows why.")
    return None


def _prefix(common: Mapping[str, Any], row: Mapping[str, Any], plan: Plan) -> str:
    """What the names of a row's units begin with: in one try the same in each driver of the job."""
    planned = plan.model_dump_json(include={"units", "shared"})
    told = json.dumps([common, row, planned], sort_keys=True, default=str)
    return f"long-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
