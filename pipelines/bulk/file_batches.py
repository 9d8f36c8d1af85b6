"""The worker's side of a task on a collection's files: does a batch, publishes what it makes, keeps what came of it."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.errors import ChildCrashedError, StorageError
from cluster.locations import location_of
from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.driving import ATTEMPTS
from pipelines.bulk.long_plans import LongPlans
from pipelines.bulk.pace import LONG_S
from pipelines.bulk.streaming import ROWS, BatchManifest
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.task_outputs import OutputFolder, flush_made, flush_names, published
from pipelines.bulk.tasks import Task
from pipelines.bulk.turns import DISK_FULL, is_of_place
from pipelines.jobs.catalogue import Each, check_made
from pipelines.jobs.errors import job_error
from pipelines.jobs.inline import parts_of
from pipelines.jobs.models import JobError, Unit
from pipelines.jobs.place_faults import PlaceError, place_error
from pipelines.jobs.workbench import Workbench

TASK, COLLECTION, OVERWRITE = "task", "collection", "overwrite"  # in a batch's payload
OF_PLACE = "of_place"  # of an outcome: not the content is at fault, but a place


def place_faults(bench: Workbench, task: Task) -> Table:
    """What this job came to where a place was at fault: kept with the job, not under a content."""
    return Table(bench.notes / f"{task.key}.places", RESULTS, "identity")


def outdated_outputs(bench: Workbench, task: Task) -> Path:
    """Where the driver tells what earlier jobs made of contents that no file has any more."""
    return bench.notes / f"{task.key}.outdated.parquet"


def output_folder_of(bench: Workbench, collection: Collection, task: Task, *, overwrite: bool) -> OutputFolder:
    return OutputFolder(
        location_of(task.output) if task.output else collection.artifacts(task),
        named=task.output is not None,
        overwrite=overwrite,
        roots=(*bench.write_roots, collection.folder),
        job_id=bench.driver.job_id,
        fence=bench.driver.fence,
        objects=bench.roots.objects,
        outdated=outdated_outputs(bench, task),
    )


def do_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    """Do a task with the rows of a batch, publish what it makes, and put the outcomes into the collection."""
    payload = unit.payload
    task = Task.model_validate(payload[TASK])
    collection = Collection.named(bench.home, payload[COLLECTION])
    bench = bench.reading(collection.folder)
    rows = {row["uri"]: row for row in payload[ROWS]}
    output = output_folder_of(bench, collection, task, overwrite=payload[OVERWRITE])
    with bench.holding(rows) as held:
        outdated = {uri: error for uri, row in rows.items() if (error := _place_fault(held, row))}
        current = [uri for uri in rows if uri not in outdated]
        parts = parts_of(task.declared, held, task.checked_params(), current, LONG_S)
        outcomes = _outcomes(bench, _but_long(bench, unit.name, parts, rows), rows, output)
    outcomes += [_failed(rows[uri], error) for uri, error in outdated.items()]
    manifest = keep_outcomes(bench, collection, unit, task, outcomes)
    shutil.rmtree(bench.scratch, ignore_errors=True)  # thousands of files would wait there for the job's end
    return manifest


def _but_long(
    bench: Workbench, unit: str, parts: Iterator[Sequence[Each]], rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[Sequence[Each]]:
    """Note the plans of files that take long, of which nothing came yet; all others."""
    plans = LongPlans.of(bench)
    for part in parts:
        for each in part:
            if each.plan is not None:
                plans.note(unit, rows[each.source]["identity"], each.plan)
        yield [each for each in part if each.plan is None]


def keep_outcomes(
    bench: Workbench, collection: Collection, unit: Unit, task: Task, outcomes: Sequence[Mapping[str, Any]]
) -> BatchManifest:
    """Put what came of some files into the collection, or beside the job where a place was at fault."""
    flush_names([artifact["path"] for outcome in outcomes for artifact in outcome["artifacts"]])
    told = [{**outcome, ATTEMPTS: unit.payload[ATTEMPTS], AT: datetime.now(UTC)} for outcome in outcomes]
    aside = [row for row in told if row[OF_PLACE]]
    if aside:
        place_faults(bench, task).append(unit.name, pa.Table.from_pylist(aside, RESULTS))
    kept = [row for row in told if not row[OF_PLACE]]
    collection.results(task).append(unit.name, pa.Table.from_pylist(kept, RESULTS))
    return BatchManifest(rows=len(told))


def _outcomes(
    bench: Workbench, parts: Iterator[Sequence[Each]], rows: Mapping[str, Mapping[str, Any]], output: OutputFolder
) -> list[dict[str, Any]]:
    """Publish what was made of some files while the child works on the next; what came of each. Raises as ``publish``.

    All that is on its way is published, or given up, when this returns or raises.
    """
    outcomes: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="publisher") as publisher:
        before: Future[list[dict[str, Any]]] | None = None
        for part in parts:
            outcomes += before.result() if before else []
            before = publisher.submit(publish, bench, part, rows, output)
        outcomes += before.result() if before else []
    return outcomes


def _place_fault(bench: Workbench, row: Mapping[str, Any]) -> PlaceError | None:
    """Why the file isn't, or can't be seen to be, what the collection says."""
    try:
        with bench.opened(row["uri"]) as opened:
            if row["stamp"] is None or opened.listed_stamp().digest == row["stamp"]:
                return None
    except StorageError as error:
        return place_error(error)
    return PlaceError(code="source_outdated", message=f"{row['uri']} changed since it was imported. Import it again.")


def publish(
    bench: Workbench, made: Sequence[Each], rows: Mapping[str, Mapping[str, Any]], output: OutputFolder
) -> list[dict[str, Any]]:
    """Publish what was made of some files, whose ``rows`` are by URI, once it is on the disk; what came of each.

    ``keep_outcomes`` makes it last.

    Raises:
        StorageError: ``disk_full``.
    """
    made = [_checked(each, bench.scratch.parent) for each in made]  # the job's own: another of its units made some
    flush_made([file for each in made for file in each.made])
    return [_outcome(bench, each, rows[each.source], output) for each in made]


def _checked(each: Each, scratch: Path) -> Each:
    """What came of a file; an error where files are told that can't be its own."""
    try:
        check_made(each.made, scratch, after="its-name")
    except ChildCrashedError as error:
        return Each(each.source, error=job_error(error))
    return each


def _outcome(bench: Workbench, each: Each, row: Mapping[str, Any], output: OutputFolder) -> dict[str, Any]:
    if each.error is not None:
        return _failed(row, _place_fault(bench, row) or each.error)
    try:
        artifacts = published(output, row["name"], row["identity"], each.made)
    except StorageError as error:
        if error.code == DISK_FULL:
            raise
        return _failed(row, place_error(error))
    told = {"result": json.dumps(each.result), "artifacts": artifacts, OF_PLACE: False}
    return {"identity": row["identity"], "state": "done", **told}


def _failed(row: Mapping[str, Any], error: JobError) -> dict[str, Any]:
    of_place = isinstance(error, PlaceError) or error.code == "source_changed" or is_of_place(error)
    told = {"code": error.code, "message": error.message, OF_PLACE: of_place}
    return {"identity": row["identity"], "state": "failed", "artifacts": [], **told}
