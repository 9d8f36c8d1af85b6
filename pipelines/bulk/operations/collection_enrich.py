"""``collection-enrich``: what the catalogue should know of each file, told by the file and by what lies beside it."""

import time
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.bulk.choosing import chosen
from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import Where
from pipelines.bulk.driving import RUN, driven
from pipelines.bulk.long_files import do_unit
from pipelines.bulk.processing import Processed, failed_report, failures, process
from pipelines.bulk.sidecars import PREFER, Prefer, SidecarsRead, do_sidecar_batch, read_sidecars, sidecar_task
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.tasks import Task, task_of
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.wording import counted

What = Literal["metadata", "quality", "loudness", "hashes", "placeholders", "checksums", "sidecars"]
_SIDECARS = "sidecars"
# One decode of a picture tells its quality, hashes and placeholder.
_TASKS: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "metadata": (("probe", {}), ("image-analyze", {})),
    "quality": (("quality", {}), ("image-analyze", {})),
    "loudness": (("probe", {"deep": True}),),
    "hashes": (("fingerprint", {}), ("image-analyze", {})),
    "placeholders": (("image-analyze", {}),),
    "checksums": (("checksum", {}),),
}
_COUNTS = ("files", "done", "known", "failed")


class Params(BaseModel):
    """What to find out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: tuple[What, ...] = Field(
        ("metadata", "sidecars"),
        min_length=1,
        description="What to find out: metadata (streams, sizes, tags; of pictures quality, hashes, placeholder, too), "
        "quality, loudness, hashes, placeholders, checksums, sidecars (NFO, JSON and metadata.csv beside the files).",
    )
    where: Where = None
    prefer: Prefer = Field("sidecar", description="Which counts where a side-car and the file's tags differ.")
    again: bool = Field(False, description="Also of the files that it couldn't be found out of before.")
    fresh: bool = Field(False, description="Find all of it out anew.")


class EnrichResult(BaseModel, frozen=True, extra="forbid"):
    """What came of each task; ``failed`` counts files that one couldn't be done with, once for each."""

    collection: str
    tasks: tuple[Processed, ...]
    sidecars: SidecarsRead | None
    failed: int
    elapsed_s: float


def _tasks(bench: Workbench) -> list[Task]:
    """In the order in which they are named, each once."""
    tasks = [task_of(*each) for what in bench.params.what for each in _TASKS.get(what, ())]
    return list({task.key: task for task in tasks}.values())


def plan(bench: Workbench) -> Plan:
    collection = Collection.of_job(bench)
    return driven({"collection": collection.name, "operations": [task.operation for task in _tasks(bench)]})


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    if unit.name == RUN:
        return _enrich(bench, Collection.of_job(bench), runner)
    return do_sidecar_batch(bench, unit) if PREFER in unit.payload else do_unit(bench, unit)


def _enrich(bench: Workbench, collection: Collection, runner: Runner) -> EnrichResult:
    began = time.monotonic()
    tasks, params = _tasks(bench), bench.params
    among = chosen(bench, collection, params.where)
    parts = len(tasks) + (_SIDECARS in params.what)
    processed = [
        process(
            bench.part(number, parts),
            collection,
            task,
            overwrite=False,
            fresh=params.fresh,
            again=params.again,
            among=among,
            runner=runner,
        )
        for number, task in enumerate(tasks)
    ]
    sidecars = None
    if _SIDECARS in params.what:
        part = bench.part(parts - 1, parts)
        beside = chosen(bench, collection, params.where, sidecar_task(params.prefer).of)
        sidecars = read_sidecars(part, collection, params.prefer, fresh=params.fresh, among=beside, runner=runner)
    return EnrichResult(
        collection=collection.name,
        tasks=tuple(processed),
        sidecars=sidecars,
        failed=sum(each.failed for each in processed) + (sidecars.failed if sidecars else 0),
        elapsed_s=round(time.monotonic() - began, 3),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result = EnrichResult.model_validate(units[RUN].manifest)
    if not result.failed:
        return Outcome(result)
    tasks = _tasks(bench) + ([sidecar_task(bench.params.prefer)] if result.sidecars else [])
    collection = Collection.of_job(bench)
    rows = [
        {"task": task.operation, **row}
        for task in tasks
        for row in failures(bench, collection, task, chosen(bench, collection, bench.params.where, task.of))
    ]
    report = failed_report(bench, rows)
    times = counted(result.failed, "time")
    told = f"{times} something could not be found out of a file; {report.name} tells what and why."
    return Outcome(result, (report,), (told,))


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A line for each task."""
    told = {name: result[name] for name in ("collection", "failed", "elapsed_s")}
    parts = [*result["tasks"], *([result["sidecars"]] if result["sidecars"] else [])]
    told |= {each["task"]: ", ".join(f"{each[name]} {name}" for name in _COUNTS) for each in parts}
    return told


OPERATION = Operation(
    name="collection-enrich",
    summary="Find out what the catalogue should know of each file: metadata, quality, loudness, hashes, and what NFO, "
    "JSON and CSV side-cars tell.",
    params=Params,
    result=EnrichResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    interactive=True,
    told=_told,
    examples=({"sources": ["collection:films"], "params": {"what": ["metadata", "quality", "sidecars"]}},),
)
