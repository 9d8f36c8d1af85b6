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
from pipelines.jobs.models import JobError, Plan, Unit
from pipelines.jobs.place_faults import place_error
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.errors import MediaError

# What one of the sources may cause; the last in a join, which is done here.
_OF_SOURCE = (ChildFailedError, ChildCrashedError, ChildLimitError, StorageError, MediaError)
_NOT_OF_SOURCE = frozenset({"disk_full"})


def each_of(operation: Operation, bench: Workbench, params: Any, sources: Sequence[str]) -> Iterator[Each]:
    """What comes of each source. Raises, and tells what is wrong with one, as ``parts_of``."""
    for part in parts_of(operation, bench, params, sources):
        yield from part


def parts_of(
    operation: Operation, bench: Workbench, params: Any, sources: Sequence[str], most_s: float | None = None
) -> Iterator[Sequence[Each]]:
    """What comes of some of the sources, in the scratch of ``bench``, as soon as it is done.

    What is wrong with one stands in its place. It is a PlaceError where that was certainly the place. A source among
    many that can't be opened isn't told so. One that is done by itself, and takes longer than ``most_s``, is but
    planned.

    Raises:
        ChildKilledError: the work was taken away.
        ChildFailedError, StorageError: ``disk_full``.
    """
    told: set[str] = set()
    if operation.each is not None and len(sources) > 1:
        with contextlib.suppress(*_OF_SOURCE):  # one of them is to blame: each of the others by itself tells which
            for part in _together(operation, bench, params, sources):
                told.update(each.source for each in part)
                yield part
    for number, source in enumerate(sources):
        if source in told:
            continue
        try:
            yield [_alone(operation, bench, params, source, bench.scratch / f"{number:04d}", most_s)]
        except _OF_SOURCE as error:
            if not tells_of_source(error):
                raise
            yield [Each(source, error=error_of(error))]


def tells_of_source(error: Exception) -> bool:
    """Whether something is wrong with what an operation was done with, not with all."""
    return isinstance(error, _OF_SOURCE) and getattr(error, "code", None) not in _NOT_OF_SOURCE


def error_of(error: Exception) -> JobError:
    """What is told of a source with which something is wrong: a PlaceError where that was certainly the place."""
    return place_error(error) if isinstance(error, StorageError) else job_error(error)


def seconds_of(plan: Plan) -> float:
    """What a plan takes on one slot; a join that is done in a moment isn't counted."""
    units_s = sum(unit.needs.seconds for unit in plan.units)
    return units_s if plan.join.interactive else units_s + plan.join.seconds


def _together(operation: Operation, bench: Workbench, params: Any, sources: Sequence[str]) -> Iterator[Sequence[Each]]:
    """What comes of the sources of each unit of one plan for all."""
    assert operation.each is not None
    bench, scratch = bench.keeping_nothing(), bench.scratch / "all"
    plan = operation.plan(bench.of(params, sources, scratch / "plan", {}, 1.0))
    for unit in plan.units:
        yield list(operation.each({unit.name: _unit(operation, bench, params, sources, scratch, plan, unit)}))


def outcome_of(source: str, outcome: Outcome) -> Each:
    """What a join came to, as that of one of many sources."""
    stem = location_of(source).stem
    made = [replace(each, name=_after(stem, each.name)) for each in outcome.made]
    return Each(source, outcome.result.model_dump(mode="json"), None, made)


def _alone(
    operation: Operation, bench: Workbench, params: Any, source: str, scratch: Path, most_s: float | None
) -> Each:
    plan = operation.plan(bench.of(params, (source,), scratch / "plan", {}, 1.0))
    if operation.each is None and most_s is not None and seconds_of(plan) > most_s:
        return Each(source, plan=plan)
    units = _units(operation, bench, params, (source,), scratch, plan, {})
    if operation.each is not None:
        (each,) = operation.each(units)
        return each
    outcome = operation.join(_at(bench, params, (source,), scratch / "join", plan), units)
    if isinstance(outcome, Plan):  # what the units made can't be joined: there is another way
        units |= _units(operation, bench, params, (source,), scratch / "again", outcome, units)
        outcome = operation.join(_at(bench, params, (source,), scratch / "join-again", outcome), units)
    if not isinstance(outcome, Outcome):
        raise ChildFailedError("internal", f"{operation.name}: its second plan can't be joined either.", {})
    return outcome_of(source, outcome)


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
            units[unit.name] = _unit(operation, bench, params, sources, scratch, plan, unit)
    return units


def _unit(
    operation: Operation,
    bench: Workbench,
    params: Any,
    sources: Sequence[str],
    scratch: Path,
    plan: Plan,
    unit: Unit,
) -> Finished:
    at = bench.of(params, sources, scratch / unit.name, plan.shared, unit.needs.seconds)
    manifest = operation.run(at, unit).model_dump(mode="json")
    return Finished(at.scratch, manifest, unit.payload)


def _at(bench: Workbench, params: Any, sources: Sequence[str], scratch: Path, plan: Plan) -> Workbench:
    return bench.of(params, sources, scratch, plan.shared, plan.join.seconds)


def _after(stem: str, name: str) -> str:
    """What follows the source's name in that of a file: nothing but the extension, or the name in a folder of it."""
    return name[len(stem) :] if name.startswith(stem) else f"/{name}"
