"""Operations done as a job does them: planned, each unit run by itself, and joined."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.roots import ObjectAccess, Roots
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.driver import Driver
from pipelines.jobs.models import Plan
from pipelines.jobs.profiles import all_profiles
from pipelines.jobs.workbench import Finished, Workbench

_numbers = count()
_DRIVER = Driver("job", "unit", 1)


def place(
    home: Path,
    roots: Roots,
    *,
    params: Any = None,
    sources: tuple[str, ...] = (),
    scratch: Path | None = None,
    child: Any = None,
    cpus: int = 1,
    slots: int = 1,
    shared: Mapping[str, Any] = MappingProxyType({}),
    driver: Driver = _DRIVER,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
) -> Workbench:
    """A place of work below ``home``; without a child nothing can be called there."""
    scratch = scratch or home / "scratch" / "job" / "unit.1"
    return Workbench(
        params=params,
        sources=sources,
        scratch=scratch,
        notes=home / "notes" / scratch.parent.name,
        roots=roots,
        child=child,
        cpus=cpus,
        slots=slots,
        shared=shared,
        estimate_s=1.0,
        profiles=partial(all_profiles, home / "profiles"),
        home=home,
        driver=driver,
        on_progress=on_progress,
    )


def bench(
    operation: Operation,
    source: Path,
    child: Any,
    shared: Mapping[str, Any] = MappingProxyType({}),
    objects: ObjectAccess | None = None,
    **params: Any,
) -> Workbench:
    """A place of work of its own; what is beside ``source`` may be read and written."""
    return place(
        source.parent,
        Roots((source.parent,), (source.parent,), objects),
        params=operation.params(**params),
        sources=(str(source),),
        scratch=source.parent / "scratch" / str(next(_numbers)),
        child=child,
        slots=2,
        shared=shared,
    )


def planned(operation: Operation, source: Path, child: Any, **params: Any) -> Plan:
    return operation.plan(bench(operation, source, child, **params))


def done(operation: Operation, source: Path, child: Any, plan: Plan | None = None, **params: Any) -> Outcome:
    """What comes of the operation, by its own plan or by another."""
    plan = plan or planned(operation, source, child, **params)
    units = {}
    for unit in plan.units:
        at = bench(operation, source, child, plan.shared, **params)
        units[unit.name] = Finished(at.scratch, operation.run(at, unit).model_dump(mode="json"), unit.payload)
    outcome = operation.join(bench(operation, source, child, plan.shared, **params), units)
    assert isinstance(outcome, Outcome)
    return outcome
