"""A worker: does one unit under a fence, in its warm child, and commits it.

The same function runs as a Ray task (heavy units) and inside the runner actor of a node (interactive ones).
"""

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cluster.child import HEAVY_NICE, ChildSpec, MediaChild
from cluster.errors import ChildKilledError
from cluster.grants import current_roots
from cluster.home import Home, write_private
from cluster.kept import Kept
from cluster.settings import Settings
from cluster.storage import check_target, flush_files, flush_folder, local_path, publish, remove_staged, stage
from pipelines.jobs.catalogue import Catalogue, Operation, artifact_of
from pipelines.jobs.errors import UnitDroppedError, job_error
from pipelines.jobs.live import Reporter
from pipelines.jobs.models import JobError, Joined, Plan, Progress, Unit
from pipelines.jobs.profiles import all_profiles
from pipelines.jobs.states import JOIN, PLAN, PUBLISH, RESERVED_UNIT_NAMES, stage_of
from pipelines.jobs.targets import target_of
from pipelines.jobs.unit_store import UnitStore
from pipelines.jobs.workbench import Finished, Workbench

CHILD_MODULE = "pipelines.media.child"
NAMESPACE = "mediaray"
REGISTRY = "registry"
_LOOK_S = 0.4  # how often a worker looks whether its unit was taken away: a cancel is done in under 2 s
_REPORT_S = 0.1
_STAGING = "staging.json"
_PUBLISHED_AT_ONCE = 32  # files between two looks at the fence
_log = logging.getLogger("mediaray.worker")


@dataclass(frozen=True)
class WorkerConfig:
    """What every worker of a server needs. Holds the passwords of both Redises: never log it."""

    settings: Settings
    redis_url: str
    cache_url: str


@dataclass(frozen=True)
class UnitOrder:
    """One unit to do. ``fence`` is its lease's; ``module`` names the operation's module.

    ``slots`` are the CPUs of the whole cluster; ``shared`` is the plan's. ``through``: go on with what follows it.
    """

    job_id: str
    module: str
    sources: tuple[str, ...]
    params: dict[str, Any]
    unit: Unit
    fence: int
    cpus: int
    slots: int
    memory_bytes: int = 0
    shared: dict[str, Any] = field(default_factory=dict)
    through: bool = False

    @property
    def lease_name(self) -> str:
        return f"{self.job_id}.{self.unit.name}.{self.fence}"


@dataclass(frozen=True)
class UnitReport:
    """How it went, with the last unit where it went through several. ``done`` means: committed."""

    outcome: Literal["done", "failed", "dropped"]
    error: JobError | None = None


@dataclass(frozen=True)
class _Made:
    """What a unit leaves in the store: a manifest, or another plan. ``following``: the worker may go on with that."""

    manifest: str
    replans: bool = False
    following: Unit | None = None
    shared: dict[str, Any] | None = None


def do_unit(
    config: WorkerConfig, order: UnitOrder, lend: Callable[[], AbstractContextManager[MediaChild]]
) -> UnitReport:
    """Do a unit in a child that is lent, and commit it, unless its fence has moved on meanwhile.

    Where the order says so, go on with the job's other units, as long as one follows the other.
    """
    store = _store(config.redis_url)
    home = Home(config.settings.home)
    while True:
        try:
            # The lease is kept while the unit waits for a child, too.
            with (
                home.working_on(order.lease_name),
                _Minder(config, order, store) as minder,
                lend() as child,
                minder.minding(child),
            ):
                made = _do(config, order, child)
            following = _commit(config, order, store, made)
        except (UnitDroppedError, ChildKilledError):
            return UnitReport("dropped")
        except Exception as error:  # noqa: BLE001 whatever went wrong becomes the unit's failure
            failure = job_error(error, order.unit.name)
            if failure.code == "internal":
                _log.exception("job %s unit %s failed", order.job_id, order.unit.name)
            return UnitReport("failed", failure)
        if following is None:
            return UnitReport("done")
        order = following


def _commit(config: WorkerConfig, order: UnitOrder, store: UnitStore, made: _Made) -> UnitOrder | None:
    """Commit, and take what follows, if it can be had. Raises UnitDroppedError where the fence has moved on."""
    this = (order.job_id, order.unit.name, order.fence, made.manifest)
    fence = None
    if made.replans:
        done = store.replan(*this)
    elif made.following and order.through:
        done, fence = store.commit_and_take(*this, made.following.name, config.settings.lease_s)
    else:
        done = store.commit(*this)
    if not done:
        raise UnitDroppedError
    if fence is None or made.following is None:
        return None
    shared = order.shared if made.shared is None else made.shared
    return replace(order, unit=made.following, fence=fence, shared=shared)


def _do(config: WorkerConfig, order: UnitOrder, child: MediaChild) -> _Made:
    operation = _operation(order.module)
    bench = _bench(config, order, operation, child)
    stage_name = stage_of(order.unit.name)
    if stage_name == "plan":
        plan = operation.plan(bench)
        _check_names(operation, plan)
        return _Made(plan.model_dump_json(), following=_only_unit(plan), shared=plan.shared)
    if stage_name == "unit":
        return _Made(json.dumps(_run(config, order, operation, bench)), following=Unit(name=JOIN))
    finished = _store(config.redis_url).manifests(order.job_id)
    if stage_name == "join":
        joined = _join(config, order, operation, bench, finished)
        if isinstance(joined, Plan):
            return _Made(joined.model_dump_json(), replans=True)
        return _Made(joined.model_dump_json(), following=Unit(name=PUBLISH) if joined.artifacts else None)
    joined = Joined.model_validate(finished[JOIN])
    overwrite = bool(order.params.get("overwrite"))
    for number, (artifact, staged) in enumerate(zip(joined.artifacts, joined.staged, strict=True)):
        if number % _PUBLISHED_AT_ONCE == 0 and not _store(config.redis_url).holds(
            order.job_id, order.unit.name, order.fence
        ):
            raise UnitDroppedError
        publish(Path(staged), Path(artifact.path), overwrite=overwrite, size_bytes=artifact.size_bytes)
    for folder in {Path(artifact.path).parent for artifact in joined.artifacts}:
        flush_folder(folder)
    return _Made("{}")


def _only_unit(plan: Plan) -> Unit | None:
    """The unit of a plan that has one and a short way to the end: then nothing needs to be given away in turns."""
    if len(plan.units) == 1 and plan.units[0].needs.interactive and plan.join.interactive:
        return plan.units[0]
    return None


def _check_names(operation: Operation, plan: Plan) -> None:
    taken = RESERVED_UNIT_NAMES.intersection(unit.name for unit in plan.units)
    if taken or len({unit.name for unit in plan.units}) < len(plan.units):
        raise ValueError(f"{operation.name}: unit names must differ and not be {sorted(RESERVED_UNIT_NAMES)}")


def _run(config: WorkerConfig, order: UnitOrder, operation: Operation, bench: Workbench) -> dict[str, Any]:
    """Do a unit, unless what it makes is kept from an earlier one; ``fresh`` forgets that first."""
    kept, key = kept_work(config.settings), order.unit.key
    if key is not None and order.params.get("fresh"):
        kept.discard([key])
    if key is not None and (manifest := kept.fetch(key, bench.scratch)) is not None:
        return {"folder": bench.scratch_name, "manifest": manifest, "reused": True}
    made = operation.run(bench, order.unit)
    manifest, lasting = made.model_dump(mode="json"), getattr(made, "lasting", True)
    if not (key and lasting and kept.keep(key, bench.scratch, manifest)) and bench.used_scratch:
        flush_files(bench.scratch)
    return {"folder": bench.scratch_name, "manifest": manifest, "reused": False}


def _join(
    config: WorkerConfig, order: UnitOrder, operation: Operation, bench: Workbench, finished: dict[str, Any]
) -> Joined | Plan:
    folder = _scratch(config.settings, order.job_id)
    plan = Plan.model_validate(finished[PLAN])
    units = {}
    for unit in plan.units:
        envelope = finished[unit.name]
        reused = bool(envelope.get("reused"))
        made_in = folder / str(envelope["folder"])
        units[unit.name] = Finished(made_in, envelope["manifest"], unit.payload, reused)
    outcome = operation.join(bench, units)
    if isinstance(outcome, Plan):
        if plan.replanned:
            raise ValueError(f"{operation.name}: a plan that replaced another can't be replaced again")
        _check_names(operation, outcome)
        # Another job mustn't take over what couldn't be joined here.
        kept_work(config.settings).discard(unit.key for unit in plan.units if unit.key)
        return outcome.model_copy(update={"replanned": True})
    roots = current_roots(config.settings)
    own = config.settings.home / "artifacts" / order.job_id
    overwrite = bool(order.params.get("overwrite"))
    targets = [target_of(operation, None if made.own else _output(order), own, made.name) for made in outcome.made]
    for target in targets:
        check_target(target, roots.write, overwrite=overwrite)
    for at in {target.parent for target in targets}:
        remove_staged(at, _tag(order.job_id))
    # Kept by another name too, a file would have to be copied.
    folders = {made.path.parent for made in outcome.made}
    kept_work(config.settings).discard(
        unit.key for unit in plan.units if unit.key and units[unit.name].folder in folders
    )
    if targets:
        _note_staging(folder, {target.parent for target in targets})
    artifacts = [artifact_of(made, target) for made, target in zip(outcome.made, targets, strict=True)]
    tag = f"{_tag(order.job_id)}{order.fence}"
    staged = [str(stage(made.path, at, roots.write, tag)) for made, at in zip(outcome.made, targets, strict=True)]
    return Joined(
        result=outcome.result.model_dump(mode="json"),
        artifacts=tuple(artifacts),
        staged=tuple(staged),
        warnings=tuple(outcome.warnings),
    )


def plan_only(
    config: WorkerConfig, module: str, sources: tuple[str, ...], params: dict[str, Any], child: MediaChild
) -> Plan:
    """The plan of a job that isn't submitted, for ``--explain``."""
    operation = _operation(module)
    slots = config.settings.cpus or len(os.sched_getaffinity(0))
    order = UnitOrder("", module, sources, params, Unit(name="plan"), 0, 0, slots)
    return operation.plan(_bench(config, order, operation, child))


def clean_up(config: WorkerConfig, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None:
    """Remove a job's scratch, what it staged beside ``targets`` or in them, and what is kept under ``keys``.

    With ``artifacts`` also its own folder of them.
    What can't be removed (a disk that became read-only) stays: the job ends all the same.
    """
    folders = {folder for target in targets for folder in (Path(target), Path(target).parent)}
    folders |= _noted_staging(_scratch(config.settings, job_id))
    shutil.rmtree(_scratch(config.settings, job_id), ignore_errors=True)
    kept_work(config.settings).discard(keys)
    for folder in folders:
        try:
            remove_staged(folder, _tag(job_id))
        except OSError as error:
            _log.warning("what job %s staged in %s can't be removed: %s", job_id, folder, error.strerror)
    if artifacts:
        shutil.rmtree(config.settings.home / "artifacts" / job_id, ignore_errors=True)


def _note_staging(scratch: Path, folders: set[Path]) -> None:
    """Note where a join is about to stage: should it not come to an end, that is to be removed."""
    write_private(scratch / _STAGING, json.dumps(sorted(map(str, folders))))


def _noted_staging(scratch: Path) -> set[Path]:
    try:
        return set(map(Path, json.loads((scratch / _STAGING).read_text())))
    except (OSError, ValueError):
        return set()


def sweep_kept(config: WorkerConfig) -> None:
    """Forget what was kept for retries that didn't come."""
    kept_work(config.settings).sweep(config.settings.kept_days * 86_400)


def sweep_scratch(config: WorkerConfig, active: set[str]) -> None:
    """Remove the scratch of jobs that aren't active any more."""
    root = config.settings.home / "scratch"
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name not in active:
            shutil.rmtree(folder, ignore_errors=True)


def _bench(config: WorkerConfig, order: UnitOrder, operation: Operation, child: MediaChild) -> Workbench:
    return Workbench(
        params=operation.params.model_validate(order.params),
        sources=order.sources,
        scratch=_scratch(config.settings, order.job_id) / f"{order.unit.name}.{order.fence}",
        roots=current_roots(config.settings),
        child=child,
        cpus=order.cpus,
        slots=order.slots,
        shared=order.shared,
        estimate_s=order.unit.needs.seconds,
        profiles=lambda: all_profiles(config.settings.home / "profiles"),
        on_progress=_reporting(config, order),
    )


def _reporting(config: WorkerConfig, order: UnitOrder) -> Callable[[dict[str, Any]], None]:
    reporter = _reporter(config.cache_url)
    began = time.monotonic()
    last = 0.0

    def report(progress: dict[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _REPORT_S:
            return
        last = now
        reporter.report(
            Progress(job_id=order.job_id, unit=order.unit.name, fence=order.fence, elapsed_s=now - began, **progress)
        )

    return report


class _Minder:
    """Keeps a unit's lease while the body runs; ends the child when the unit is taken away."""

    def __init__(self, config: WorkerConfig, order: UnitOrder, store: UnitStore) -> None:
        self._lease_s = config.settings.lease_s
        self._order = order
        self._store = store
        self._child: MediaChild | None = None
        self._taken = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="minder", daemon=True)

    def __enter__(self) -> "_Minder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @contextlib.contextmanager
    def minding(self, child: MediaChild) -> Iterator[None]:
        """Inside, this child ends with the lease. Raises UnitDroppedError where that has gone already."""
        with self._lock:
            self._child = child
        try:
            if self._taken:
                raise UnitDroppedError
            yield
        finally:
            with self._lock:  # from here on the child is another's
                self._child = None

    def _keep(self) -> None:
        order, renewed = self._order, time.monotonic()
        while not self._ended.wait(_LOOK_S):
            now = time.monotonic()
            if now - renewed > self._lease_s / 3:
                kept = self._store.renew(order.job_id, order.unit.name, order.fence, self._lease_s)
                renewed = now
            else:
                kept = self._store.holds(order.job_id, order.unit.name, order.fence)
            if not kept and not self._ended.is_set():
                with self._lock:
                    self._taken = True
                    if self._child is not None:
                        self._child.kill()
                return


def kept_work(settings: Settings) -> Kept:
    return Kept(Home(settings.home).kept)


def _scratch(settings: Settings, job_id: str) -> Path:
    return settings.home / "scratch" / job_id


def _output(order: UnitOrder) -> Path | None:
    given = order.params.get("output")
    return local_path(given) if given else None


def _tag(job_id: str) -> str:
    return f"{job_id}-"


@cache
def _store(redis_url: str) -> UnitStore:
    return UnitStore(redis_url)


@cache
def _operation(module: str) -> Operation:
    return Catalogue.load([module]).only()


@cache
def _reporter(cache_url: str) -> Reporter:
    return Reporter(cache_url)


_heavy_child: MediaChild | None = None


def run_heavy(config: WorkerConfig, order: UnitOrder) -> UnitReport:
    """Do a heavy unit in this worker process's own warm child."""
    global _heavy_child
    if _heavy_child is None:
        _heavy_child = MediaChild(heavy_child(config.settings))
    child = _heavy_child
    report = do_unit(config, order, lambda: contextlib.nullcontext(child))
    if _heavy_child.killed:
        _heavy_child.close()
        _heavy_child = None
    return report


def warm_heavy(config: WorkerConfig) -> None:
    """Start this worker process's child, so that its first unit doesn't wait for it."""
    global _heavy_child
    if _heavy_child is None:
        _heavy_child = MediaChild(heavy_child(config.settings))
    _heavy_child.warm()


def heavy_child(settings: Settings) -> ChildSpec:
    return ChildSpec(CHILD_MODULE, HEAVY_NICE, settings.child_memory_bytes)
