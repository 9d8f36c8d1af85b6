"""The worker's side of files that take long: does one unit of their plans, or joins what they made and publishes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cluster.errors import ChildFailedError
from cluster.home import Home
from cluster.kept import Kept
from pipelines.bulk.collection import Collection
from pipelines.bulk.file_batches import COLLECTION, OVERWRITE, TASK, do_batch, keep_outcomes, output_folder_of, publish
from pipelines.bulk.long_plans import LongPlans, read_plan
from pipelines.bulk.long_rows import FINISH, PART, ROW, Finish, Part
from pipelines.bulk.streaming import BatchManifest
from pipelines.bulk.tasks import Task
from pipelines.jobs.catalogue import Each
from pipelines.jobs.inline import error_of, outcome_of, tells_of_source
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.workbench import Workbench


def do_unit(bench: Workbench, unit: Unit) -> BaseModel:
    """Do a unit that the driver of a task on files asks for: a batch of them, or one of a file that takes long."""
    if PART in unit.payload:
        return _do_part(bench, unit.payload)
    return _finish(bench, unit) if FINISH in unit.payload else do_batch(bench, unit)


def _do_part(bench: Workbench, payload: Mapping[str, Any]) -> BaseModel:
    task, part = Task.model_validate(payload[TASK]), Part.model_validate(payload[PART])
    bench = bench.reading(Collection.named(bench.home, payload[COLLECTION]).folder)
    source, seconds = payload[ROW]["uri"], part.unit.needs.seconds
    place = bench.of(task.checked_params(), (source,), bench.scratch, part.shared, seconds)
    return task.declared.run(bench.telling(place), part.unit)


def _finish(bench: Workbench, unit: Unit) -> BatchManifest:
    """Join what the units of a file's plan made, publish it, and put the outcome into the collection.

    Or note another plan, where they can't be joined. May be done again: what they made stays until the driver has
    heard of its end.
    """
    payload, row, finish = unit.payload, unit.payload[ROW], Finish.model_validate(unit.payload[FINISH])
    task, collection = Task.model_validate(payload[TASK]), Collection.named(bench.home, payload[COLLECTION])
    bench = bench.reading(collection.folder)
    made = _joined(bench, task, row["uri"], finish)
    if isinstance(made, Plan):
        LongPlans.of(bench).note(unit.name, row["identity"], made)
        return BatchManifest(rows=0)
    output = output_folder_of(bench, collection, task, overwrite=payload[OVERWRITE])
    return keep_outcomes(bench, collection, unit, task, publish(bench, [made], {row["uri"]: row}, output))


def _joined(bench: Workbench, task: Task, source: str, finish: Finish) -> Each | Plan:
    """What came of a file, or another plan for it.

    What is kept of its units is needed no more once it is joined, and of no use where it can't be.
    """
    if finish.error is not None:
        return Each(source, error=finish.error)
    plan, kept = read_plan(Path(finish.plan)), Kept(Home(bench.home).kept)
    units = bench.finished(plan.units, [finish.names[unit.name] for unit in plan.units])
    place = bench.of(task.checked_params(), (source,), bench.scratch, plan.shared, plan.join.seconds)
    try:
        outcome = task.declared.join(bench.telling(place), units)
    except Exception as error:
        if not tells_of_source(error):
            raise
        if isinstance(error, ChildFailedError) and error.code == "piece_invalid":
            broken = {Path(path).parent for path in error.fields["pieces"]}
            kept.discard(unit.key for unit in plan.units if unit.key and units[unit.name].folder in broken)
        return Each(source, error=error_of(error))
    kept.discard(unit.key for unit in plan.units if unit.key)
    if not isinstance(outcome, Plan):
        return outcome_of(source, outcome)
    if plan.replanned:
        raise ValueError(f"{task.operation}: a plan that replaced another can't be replaced again")
    return outcome.model_copy(update={"replanned": True})
