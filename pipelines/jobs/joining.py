"""The join of a job: what its units made becomes files that are staged and a result, or is done again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.disk import flush_files
from cluster.errors import ChildCrashedError, ChildFailedError
from cluster.grants import current_roots
from cluster.locations import Location, location_of
from pipelines.jobs.catalogue import Operation, artifact_of, check_made
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Joined, Plan
from pipelines.jobs.orders import UnitOrder, WorkerConfig
from pipelines.jobs.publishing import clear_way, stage_all
from pipelines.jobs.scratch import kept_work, notes_of, scratch_of
from pipelines.jobs.states import JOIN, PLAN, RESERVED_UNIT_NAMES
from pipelines.jobs.targets import target_of
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.jobs.worker_clients import results_of, store_of

_MOST_UNITS = 100_000  # of two days of film, at the shortest chunks that are cut unasked


def join(
    config: WorkerConfig, order: UnitOrder, operation: Operation, bench: Workbench, finished: dict[str, Any]
) -> Joined | Plan:
    """Join what a job's units made, and stage its files; or another plan, where they can't be joined.

    Raises:
        UnitDroppedError: units have to be done again first.
        ValueError: the operation's plan, or its second in turn, is wrong.
        What the operation raises, and StorageError.
    """
    folder, notes = scratch_of(config.settings, order.job_id), notes_of(config.settings, order.job_id)
    plan = Plan.model_validate(finished[PLAN])
    if plan.lookup and plan.lookup.found:
        return Joined(result=plan.lookup.found.result, warnings=plan.lookup.found.warnings, cached=True)
    units = {}
    for unit in plan.units:
        envelope = finished[unit.name]
        reused = bool(envelope.get("reused"))
        made_in = folder / str(envelope["folder"])
        units[unit.name] = Finished(made_in, envelope["manifest"], unit.payload, reused)
    try:
        outcome = operation.join(bench, units)
    except ChildFailedError as error:
        if error.code == "piece_invalid":
            _have_redone(config, order, plan, units, {Path(path).parent for path in error.fields["pieces"]})
        raise
    if isinstance(outcome, Plan):
        if plan.replanned:
            raise ValueError(f"{operation.name}: a plan that replaced another can't be replaced again")
        check_names(operation, outcome)
        # Another job mustn't take over what couldn't be joined here.
        kept_work(config.settings).discard(unit.key for unit in plan.units if unit.key)
        return outcome.model_copy(update={"replanned": True})
    check_made(outcome.made, folder)
    roots = current_roots(config.settings)
    own = config.settings.home / "artifacts" / order.job_id
    targets = [target_of(operation, None if made.own else _output(order), own, made.name) for made in outcome.made]
    clear_way(targets, roots, order.job_id, overwrite=bool(order.params.get("overwrite")))
    # Kept by another name too, a file would have to be copied.
    folders = {made.path.parent for made in outcome.made}
    kept_work(config.settings).discard(
        unit.key for unit in plan.units if unit.key and units[unit.name].folder in folders
    )
    if bench.used_scratch:  # what units made is on the disk already
        flush_files(bench.scratch)
    artifacts = [artifact_of(made, target) for made, target in zip(outcome.made, targets, strict=True)]
    staged = stage_all([made.path for made in outcome.made], targets, roots, order.job_id, order.fence, notes)
    joined = Joined(
        result=outcome.result.model_dump(mode="json"),
        artifacts=tuple(artifacts),
        staged=staged,
        warnings=tuple(outcome.warnings),
    )
    results_of(config.cache_url).keep(operation, bench, plan, joined)
    return joined


def _have_redone(
    config: WorkerConfig, order: UnitOrder, plan: Plan, units: Mapping[str, Finished], folders: set[Path]
) -> None:
    """Let the units wait anew whose files, in these folders, aren't what they made, and forget what is kept of them.

    Those first: a unit that is done again must not take over the same.
    """
    again = [unit for unit in plan.units if units[unit.name].folder in folders]
    kept_work(config.settings).discard(unit.key for unit in again if unit.key)
    if not store_of(config.redis_url).redo(order.job_id, JOIN, order.fence, [unit.name for unit in again]):
        raise UnitDroppedError


def check_names(operation: Operation, plan: Plan) -> None:
    """Whether a plan's units can be told apart.

    Raises:
        ValueError: two of them have one name, or one has that of a stage.
        ChildCrashedError: there are more than any source has; the store would have to hold them all.
    """
    if len(plan.units) > _MOST_UNITS:
        raise ChildCrashedError(f"the media process cuts a source into {len(plan.units)} pieces")
    taken = RESERVED_UNIT_NAMES.intersection(unit.name for unit in plan.units)
    if taken or len({unit.name for unit in plan.units}) < len(plan.units):
        raise ValueError(f"{operation.name}: unit names must differ and not be {sorted(RESERVED_UNIT_NAMES)}")


def _output(order: UnitOrder) -> Location | None:
    given = order.params.get("output")
    return location_of(given) if given else None
