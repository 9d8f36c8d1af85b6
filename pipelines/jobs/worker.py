"""A worker: does one unit under a fence, in its warm child, and commits it.

The same function runs as a Ray task (heavy units: ``heavy_lane``) and in the runner actor of a node (interactive ones).
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from cluster.child import HEAVY_NICE, ChildSpec, MediaChild
from cluster.disk import flush_files
from cluster.errors import ChildKilledError
from cluster.grants import current_roots
from cluster.home import Home
from cluster.logs import about
from cluster.settings import Settings
from cluster.tracing import span, trace_id
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import UnitDroppedError, job_error
from pipelines.jobs.joining import check_names, join
from pipelines.jobs.kept_units import keep, taken_over
from pipelines.jobs.minder import Minder
from pipelines.jobs.models import Joined, Plan, Progress, Unit
from pipelines.jobs.orders import UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.profiles import all_profiles
from pipelines.jobs.publishing import publish_all
from pipelines.jobs.scratch import clean_up, kept_work, notes_of, scratch_of
from pipelines.jobs.states import JOIN, PUBLISH, stage_of
from pipelines.jobs.unit_store import UnitStore
from pipelines.jobs.warming import Warmer
from pipelines.jobs.work_metrics import Work, at_work
from pipelines.jobs.workbench import Workbench
from pipelines.jobs.worker_clients import (
    cache_of,
    operation_of,
    pictures_of,
    reporter_of,
    results_of,
    store_of,
)

CHILD_MODULE = "pipelines.media.child"
_REPORT_S = 0.1
_DROPPED = (UnitDroppedError, ChildKilledError)
_log = logging.getLogger("mediaray.worker")


@dataclass(frozen=True)
class _Made:
    """What a unit leaves in the store: a manifest, or another plan. ``following``: the worker may go on with that.

    After the ``last`` one its job is done. ``cached``: the job's result is from the cache.
    """

    manifest: str
    replans: bool = False
    following: Unit | None = None
    last: bool = False
    shared: dict[str, Any] | None = None
    cached: bool = False


def do_unit(
    config: WorkerConfig, order: UnitOrder, lend: Callable[[], AbstractContextManager[MediaChild]]
) -> UnitReport:
    """Do a unit in a child that is lent, and commit it, unless its fence has moved on meanwhile.

    Where the order says so, go on with the job's other units, as long as one follows the other.
    """
    settings, store = config.settings, store_of(config.redis_url)
    following: UnitOrder | None = order
    keys = []
    try:
        if order.cpus:
            _begin(order, store, settings.lease_s)
        with Home(settings.home).working_on(order.lease_name), Minder(store, settings.lease_s) as minder:
            while following is not None:
                order = following
                minder.keep(order)  # from now on, while it waits for a child
                keys += [order.unit.key] if order.unit.key else []
                publishes = stage_of(order.unit.name) == "publish"
                with _span_of(order):
                    with _unstarted(settings) if publishes else lend() as child, minder.minding(child):
                        began = time.monotonic()
                        made = _do(config, order, child)
                        took_s = time.monotonic() - began
                    following = _commit(config, order, store, made)
    except _DROPPED:
        return UnitReport("dropped")
    except Exception as error:  # noqa: BLE001 whatever went wrong becomes the unit's failure
        failure = job_error(error, order.unit.name)
        of = {"job": order.job_id, "unit": order.unit.name, "code": failure.code, **trace_id(order.trace)}
        _log.warning("a unit failed", extra=of, exc_info=failure.code == "internal")
        return UnitReport("failed", failure)
    if not (order.through and made.last):
        return UnitReport("done", took_s=took_s)
    clean_up(settings, order.job_id, [], keys, artifacts=False)  # should that fail, the dispatcher has it done
    return UnitReport("done", cleaned_up=True)


def _span_of(order: UnitOrder) -> AbstractContextManager[None]:
    of = {"job": order.job_id, "unit": order.unit.name, "operation": operation_of(order.module).name}
    return span(f"unit {order.unit.name}", of, order.trace, _DROPPED)


def _unstarted(settings: Settings) -> AbstractContextManager[MediaChild]:
    """A child for a unit that calls none: an upload takes its time, and keeps none from others."""
    return contextlib.nullcontext(MediaChild(heavy_child(settings)))


def _begin(order: UnitOrder, store: UnitStore, lease_s: float) -> None:
    """Tell that a heavy unit has found its place. Raises UnitDroppedError where it was taken away meanwhile."""
    if not store.renew(order.job_id, order.unit.name, order.fence, lease_s):
        raise UnitDroppedError


def _commit(config: WorkerConfig, order: UnitOrder, store: UnitStore, made: _Made) -> UnitOrder | None:
    """Commit, and take what follows, if it can be had. Raises UnitDroppedError where the fence has moved on."""
    this = (order.job_id, order.unit.name, order.fence, made.manifest)
    fence = None
    if made.replans:
        done = store.replan(*this)
    elif made.following and order.through:
        done, fence = store.commit_and_take(*this, made.following.name, config.settings.lease_s)
    else:
        done = store.commit(*this, cached=made.cached)
    if not done:
        raise UnitDroppedError
    if fence is None or made.following is None:
        return None
    shared = order.shared if made.shared is None else made.shared
    return replace(order, unit=made.following, fence=fence, shared=shared)


def _do(config: WorkerConfig, order: UnitOrder, child: MediaChild) -> _Made:
    operation, stage_name = operation_of(order.module), stage_of(order.unit.name)
    of = about(job=order.job_id, unit=order.unit.name, operation=operation.name, **trace_id(order.trace))
    needs = order.unit.needs
    with of, at_work(operation.name, "drive" if needs.drives else stage_name, child, needs.seconds) as work:
        return _done(config, order, operation, _bench(config, order, operation, child, work))


def _done(config: WorkerConfig, order: UnitOrder, operation: Operation, bench: Workbench) -> _Made:
    stage_name = stage_of(order.unit.name)
    if stage_name == "plan":
        plan = _plan(config, operation, bench)
        return _Made(plan.model_dump_json(), following=_short_way(plan), shared=plan.shared)
    if stage_name == "unit":
        return _Made(json.dumps(_run(config, order, operation, bench)), following=Unit(name=JOIN))
    finished = store_of(config.redis_url).manifests(order.job_id)
    if stage_name == "join":
        joined = join(config, order, operation, bench, finished)
        if isinstance(joined, Plan):
            return _Made(joined.model_dump_json(), replans=True)
        following = Unit(name=PUBLISH) if joined.artifacts else None
        last = following is None
        return _Made(joined.model_dump_json(), following=following, last=last, cached=joined.cached)
    publish_all(
        Joined.model_validate(finished[JOIN]),
        current_roots(config.settings),
        overwrite=bool(order.params.get("overwrite")),
        held=lambda: store_of(config.redis_url).holds(order.job_id, order.unit.name, order.fence),
    )
    return _Made("{}", last=True)


def _plan(config: WorkerConfig, operation: Operation, bench: Workbench) -> Plan:
    lookup = results_of(config.cache_url).look(operation, bench)
    if lookup and lookup.found:
        return Plan(units=(), lookup=lookup)
    plan = operation.plan(bench)
    check_names(operation, plan)
    return plan.model_copy(update={"lookup": lookup})


def _short_way(plan: Plan) -> Unit | None:
    """What follows a plan with a short way to the end: then nothing needs to be given away in turns."""
    if plan.lookup and plan.lookup.found:
        return Unit(name=JOIN)
    if len(plan.units) == 1 and plan.units[0].needs.interactive and plan.join.interactive:
        return plan.units[0]
    return None


def _run(config: WorkerConfig, order: UnitOrder, operation: Operation, bench: Workbench) -> dict[str, Any]:
    """Do a unit, unless what it makes is kept from an earlier one; ``fresh`` forgets that first."""
    kept, key = kept_work(config.settings), order.unit.key
    if key is not None and order.params.get("fresh"):
        kept.discard([key])
    if key is not None and (manifest := taken_over(kept, key, bench)) is not None:
        return {"folder": bench.scratch_name, "manifest": manifest, "reused": True}
    made = operation.run(bench, order.unit)
    manifest, lasting = made.model_dump(mode="json"), getattr(made, "lasting", True)
    if not (key and lasting and keep(kept, key, bench, manifest)) and bench.used_scratch:
        flush_files(bench.scratch)
    return {"folder": bench.scratch_name, "manifest": manifest, "reused": False}


def plan_only(
    config: WorkerConfig, module: str, sources: tuple[str, ...], params: dict[str, Any], child: MediaChild
) -> Plan:
    """The plan of a job that isn't submitted, for ``--explain``."""
    operation = operation_of(module)
    slots = config.settings.cpus or len(os.sched_getaffinity(0))
    order = UnitOrder("", module, sources, params, Unit(name="plan"), fence=0, cpus=0, slots=slots)
    return operation.plan(_bench(config, order, operation, child))


def _bench(
    config: WorkerConfig, order: UnitOrder, operation: Operation, child: MediaChild, work: Work | None = None
) -> Workbench:
    settings = config.settings
    pictures = pictures_of(settings.home, settings.pictures_bytes)
    return Workbench(
        params=operation.params.model_validate(order.params),
        sources=order.sources,
        scratch=scratch_of(settings, order.job_id) / f"{order.unit.name}.{order.fence}",
        notes=notes_of(settings, order.job_id),
        roots=current_roots(settings),
        child=child,
        cpus=order.cpus,
        slots=order.slots,
        shared=order.shared,
        estimate_s=order.unit.needs.seconds,
        profiles=lambda: all_profiles(settings.home / "profiles"),
        home=settings.home,
        driver=Driver(order.job_id, order.unit.name, order.fence),
        on_progress=_reporting(config, order, work) if work else None,
        warmer=Warmer(cache_of(config.cache_url), pictures, child),
        manifests=lambda names: store_of(config.redis_url).manifests_of(order.job_id, names),
    )


def _reporting(config: WorkerConfig, order: UnitOrder, work: Work) -> Callable[[dict[str, Any]], None]:
    reporter = reporter_of(config.cache_url)
    began = time.monotonic()
    last = 0.0

    def report(progress: dict[str, Any]) -> None:
        nonlocal last
        work.goes_on()
        now = time.monotonic()
        if now - last < _REPORT_S:
            return
        last = now
        reporter.report(
            Progress(
                job_id=order.job_id,
                unit=order.unit.name,
                fence=order.fence,
                elapsed_s=now - began,
                at=int(time.time() * 1000),
                **progress,
            )
        )

    return report


def heavy_child(settings: Settings, *, runs_programs: bool = False) -> ChildSpec:
    folders, memory_bytes = child_folders(settings), settings.child_memory_bytes
    return ChildSpec(CHILD_MODULE, HEAVY_NICE, memory_bytes, folders=folders, runs_programs=runs_programs)


def child_folders(settings: Settings) -> tuple[str, ...]:
    """Where media processes write; made, where they aren't there."""
    folders = (Home(settings.home).scratch, pictures_of(settings.home, settings.pictures_bytes).making)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tuple(map(str, folders))
