"""An operation done with each of some sources here and now, one unit after the other, instead of as a job."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.errors import ChildCrashedError, ChildFailedError, ChildLimitError, StorageError
from cluster.locations import location_of
from pipelines.jobs.catalogue import Each, Operation, Outcome
from pipelines.jobs.errors import job_error
from pipelines.jobs.models import Plan
from pipelines.jobs.workbench import Finished, Workbench, place_error

_OF_SOURCE = (ChildFailedError, ChildCrashedError, ChildLimitError, StorageError)  # what one of the sources may cause
_NOT_OF_SOURCE = frozenset({"disk_full"})


def each_of(operation: Operation, bench: Workbench, params: Any, sources: Sequence[str]) -> Iterator[Each]:
    """What comes of each source, in the scratch of ``bench``; what is wrong with one stands in its place.

    It is a PlaceError where that was certainly the place. A source among many that can't be opened isn't told so.

    Raises:
        ChildKilledError: the work was taken away.
        ChildFailedError, StorageError: ``disk_full``.
    """
    if operation.each is not None and len(sources) > 1:
        with contextlib.suppress(*_OF_SOURCE):  # one of them is to blame: each by itself tells which
            _, units = _done(operation, bench, params, sources, bench.scratch / "all")
            yield from operation.each(units)
            return
    for number, source in enumerate(sources):
        try:
            yield _alone(operation, bench, params, source, bench.scratch / f"{number:04d}")
        except _OF_SOURCE as error:
            if getattr(error, "code", None) in _NOT_OF_SOURCE:
                raise
            told = place_error(error) if isinstance(error, StorageError) else job_error(error)
            yield Each(source, error=told)


def seconds_of(plan: Plan) -> float:
    """What a plan takes on one slot; a join that is done in a moment isn't counted."""
    units_s = sum(unit.needs.seconds for unit in plan.units)
    return units_s if plan.join.interactive else units_s + plan.join.seconds


def _alone(operation: Operation, bench: Workbench, params: Any, source: str, scratch: Path) -> Each:
    plan, units = _done(operation, bench, params, (source,), scratch)
    if operation.each is not None:
        (each,) = operation.each(units)
        return each
    outcome = operation.join(_at(bench, params, (source,), scratch / "join", plan), units)
    if isinstance(outcome, Plan):  # what the units made can't be joined: there is another way
        units |= _units(operation, bench, params, (source,), scratch / "again", outcome, units)
        outcome = operation.join(_at(bench, params, (source,), scratch / "join-again", outcome), units)
    if not isinstance(outcome, Outcome):
        raise ChildFailedError("internal", f"{operation.name}: its second plan can't be joined either.", {})
    stem = location_of(source).stem
    made = [replace(each, name=_after(stem, each.name)) for each in outcome.made]
    return Each(source, outcome.result.model_dump(mode="json"), None, made)


def _done(
    operation: Operation, bench: Workbench, params: Any, sources: Sequence[str], scratch: Path
) -> tuple[Plan, dict[str, Finished]]:
    plan = operation.plan(bench.of(params, sources, scratch / "plan", {}, 1.0))
    return plan, _units(operation, bench, params, sources, scratch, plan, {})


def _units(
    operation: Operation,
    bench: Workbench,
    params: Any,
    sources: Sequence[str],
    scratch: Path,
    plan: Plan,
    finished: Mapping[str, Finished],
) -> dict[str, Finished]:
    units = dict(finished)
    for unit in plan.units:
        if unit.name not in units:
            at = bench.of(params, sources, scratch / unit.name, plan.shared, unit.needs.seconds)
            manifest = operation.run(at, unit).model_dump(mode="json")
            units[unit.name] = Finished(at.scratch, manifest, unit.payload)
    return units


def _at(bench: Workbench, params: Any, sources: Sequence[str], scratch: Path, plan: Plan) -> Workbench:
    return bench.of(params, sources, scratch, plan.shared, plan.join.seconds)


def _after(stem: str, name: str) -> str:
    """What follows the source's name in that of a file: nothing but the extension, or the name in a folder of it."""
    return name[len(stem) :] if name.startswith(stem) else f"/{name}"
