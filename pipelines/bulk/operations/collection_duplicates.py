"""``collection-duplicates``: which files of a collection are copies of one another, and which copy is the best."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.bulk.collection import Collection
from pipelines.bulk.digests import OPERATION as CHECKSUM
from pipelines.bulk.driving import RUN, driven
from pipelines.bulk.duplicates import Group, Kind, do_part, find_groups, objects_among, tasks_of
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.jobs.catalogue import Made, Operation, Outcome
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench

_REPORT = "duplicates.jsonl"
_TOLD = 50  # groups in a job's result; all are in its report
_SHOWN = 15


class Params(BaseModel):
    """Which copies to look for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[Kind, ...] = Field(
        ("exact", "picture", "film"),
        min_length=1,
        description="exact (the same bytes), picture (the same one in another encode or size), film (likewise).",
    )
    distance: int = Field(
        8, ge=0, le=16, description="How many of the 64 bits of a perceptual hash may differ; the fewer, the surer."
    )


class DuplicatesResult(BaseModel, frozen=True, extra="forbid"):
    """``spare`` files are copies of better ones, and have ``spare_bytes``. The largest groups; the report has all.

    ``unknown`` files couldn't be looked at; objects aren't.
    """

    collection: str
    groups: int
    kinds: dict[str, int]
    spare: int
    spare_bytes: int
    unknown: int
    largest: tuple[Group, ...]
    elapsed_s: float


def plan(bench: Workbench) -> Plan:
    operations = [CHECKSUM] if "exact" in bench.params.kinds else []
    operations += [task.operation for task in tasks_of(bench.params.kinds).values()]
    collection = Collection.of_job(bench)
    made = driven({"collection": collection.name, "operations": operations})
    if objects := objects_among(collection, bench.params.kinds):
        told = f"Files in object storage, which aren't compared as those on disks are: {objects}."
        return made.model_copy(update={"warnings": (told,)})
    return made


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    if unit.name != RUN:
        return do_part(bench, unit)
    began, collection, params = time.monotonic(), Collection.of_job(bench), bench.params
    groups, unknown = find_groups(bench, collection, params.kinds, params.distance, runner)
    groups.sort(key=lambda group: (-group.spare_bytes, group.best))
    (bench.scratch / _REPORT).write_text("".join(f"{group.model_dump_json()}\n" for group in groups))
    return DuplicatesResult(
        collection=collection.name,
        groups=len(groups),
        kinds=dict(Counter(group.kind for group in groups)),
        spare=sum(len(group.copies) - 1 for group in groups),
        spare_bytes=sum(group.spare_bytes for group in groups),
        unknown=unknown,
        largest=tuple(groups[:_TOLD]),
        elapsed_s=round(time.monotonic() - began, 3),
    )


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result = DuplicatesResult.model_validate(units[RUN].manifest)
    made = Made(units[RUN].folder / _REPORT, _REPORT, "application/jsonl", own=True)
    told = f"Files that can't be looked at, or are objects: {result.unknown}. Whether they are copies isn't known."
    return Outcome(result, (made,), (told,) if result.unknown else ())


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures, then the largest groups, a line each."""
    told = {name: value for name, value in result.items() if name != "largest"}
    told["largest"] = {
        f"{rank} {group['best']}": f"{group['kind']}, {len(group['copies']) - 1} more: {group['reason']}"
        for rank, group in enumerate(result["largest"][:_SHOWN], 1)
    }
    return told


OPERATION = Operation(
    name="collection-duplicates",
    summary="Find copies among a collection's files: of the same bytes, the same picture or film in another encode; "
    "and name the best of each.",
    params=Params,
    result=DuplicatesResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    interactive=True,
    told=_told,
    examples=({"sources": ["collection:photos"], "params": {}},),
)
