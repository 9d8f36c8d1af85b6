"""``collection-warm``: what is asked for of a collection's files, metadata and pictures, is there before it is."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from cluster.errors import StorageError
from pipelines.bulk.choosing import chosen, once
from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import Where
from pipelines.bulk.driving import ATTEMPTS, RUN, driven, earlier_tries, have_all_done, of_tries
from pipelines.bulk.pace import batch_size
from pipelines.bulk.processing import failed_report
from pipelines.bulk.streaming import ROWS, THROUGH_RAY, Batching, BatchManifest, Runner
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.turns import DISK_FULL
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.errors import NotMediaError
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

_NAME = "warm"  # of the table, and of who alone fills it
_MOST_WIDTH = 8192  # of GET /v1/images
_KINDS = ("video", "audio", "image")
_FORMATS = ("webp", "jpeg")  # what pages that take WebP get, and others
_OUTCOMES = pa.schema(
    {
        "uri": pa.string(),
        "state": pa.string(),  # done, or failed
        "pictures": pa.int32(),
        "code": pa.string(),
        "message": pa.string(),
        ATTEMPTS: pa.int32(),
        AT: pa.timestamp("us", tz="UTC"),
    }
)
_MEDIA_S, _PICTURE_S = 0.015, 0.1  # what one takes, about
_MEMORY_BYTES = 640 << 20  # of a picture that is made


class Params(BaseModel):
    """What is to be there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thumbnails: tuple[Annotated[int, Field(ge=1, le=_MOST_WIDTH)], ...] = Field(
        (),
        max_length=8,
        description="Also pictures of these widths in pixels, in WebP and JPEG, as GET /v1/images gives them: 320.",
    )
    where: Where = None


class WarmResult(BaseModel, frozen=True, extra="forbid"):
    """``warmed`` of ``files``, with ``pictures``; the others ``failed``.

    ``evicted`` entries of the cache, of whatever kind, went meanwhile, since it was full.
    """

    collection: str
    files: int
    warmed: int
    pictures: int
    failed: int
    evicted: int
    elapsed_s: float


def spec_of(width: int, format_: str) -> ThumbnailSpec:
    """As ``GET /v1/images`` asks for a picture by its width alone."""
    return ThumbnailSpec.model_validate({"sizes": (str(width),), "fit": "inside", "format": format_})


def _table(bench: Workbench) -> Table:
    """What came of each file in this job: the next one looks anew, for the cache forgets."""
    return Table(bench.notes / _NAME, _OUTCOMES, "uri")


def plan(bench: Workbench) -> Plan:
    collection = Collection.of_job(bench)
    bench.warmer.check()
    return driven({"collection": collection.name, "widths": list(bench.params.thumbnails)})


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    return _warm(bench, Collection.of_job(bench), runner) if unit.name == RUN else _do_batch(bench, unit)


def _warm(bench: Workbench, collection: Collection, runner: Runner) -> WarmResult:
    began, before, table = time.monotonic(), bench.warmer.check(), _table(bench)
    with collection.alone(_NAME, bench.driver.job_id):
        files = once(bench.notes / f"{_NAME}.parquet", lambda: _files(bench, collection))
        through, tried = earlier_tries(table.read(of_tries("uri")), "uri", "failed")
        todo = files.filter(pc.invert(pc.is_in(files["uri"], pa.array([*through], pa.string()))))
        if len(todo):
            pictures = len(bench.params.thumbnails) * len(_FORMATS) * pc.mean(pc.equal(todo["kind"], "image")).as_py()
            each_s = _MEDIA_S + _PICTURE_S * pictures
            size = batch_size(each_s)
            memory_bytes = _MEMORY_BYTES if pictures else 0
            needs = Needs(cpus=1, max_cpus=1, seconds=max(1.0, size * each_s), memory_bytes=memory_bytes)
            batching = Batching(table, "uri", size, needs, "failed", {})
            have_all_done(bench, todo, batching, runner, tried)
            table.compact()
    outcomes = table.read(("state", "pictures"))
    warmed = pc.sum(pc.equal(outcomes["state"], "done")).as_py() or 0
    return WarmResult(
        collection=collection.name,
        files=len(files),
        warmed=warmed,
        pictures=pc.sum(outcomes["pictures"]).as_py() or 0,
        failed=len(files) - warmed,
        evicted=max(0, bench.warmer.check().evicted - before.evicted),
        elapsed_s=round(time.monotonic() - began, 3),
    )


def _files(bench: Workbench, collection: Collection) -> pa.Table:
    """Those that can be asked for; what was unpacked of archives can't."""
    rows = collection.files.read(("uri", "kind", "state"))
    wanted = pc.and_(pc.equal(rows["state"], "present"), pc.is_in(rows["kind"], pa.array(_KINDS)))
    wanted = pc.and_(wanted, pc.invert(pc.starts_with(rows["uri"], f"{collection.folder}/")))
    among = chosen(bench, collection, bench.params.where, "uri")
    if among is not None:
        wanted = pc.and_(wanted, pc.is_in(rows["uri"], among))
    return rows.filter(wanted).select(["uri", "kind"]).sort_by("uri")


def _do_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    bench.warmer.check()
    told = {ATTEMPTS: unit.payload[ATTEMPTS], AT: datetime.now(UTC)}
    rows = [{**_outcome(bench, row["uri"], row["kind"]), **told} for row in unit.payload[ROWS]]
    bench.warmer.check()  # else it may have been away meanwhile, and has nothing of it
    _table(bench).append(unit.name, pa.Table.from_pylist(rows, _OUTCOMES))
    return BatchManifest(rows=len(rows))


def _outcome(bench: Workbench, uri: str, kind: str) -> dict[str, Any]:
    specs = _specs(bench.params.thumbnails) if kind == "image" else []
    made = [bench.warmer.picture(uri, spec, bench.roots) for spec in specs]
    told = {"uri": uri, "pictures": made.count(None)}
    media = bench.warmer.media(uri, bench.roots)
    if kind == "image" and media is not None and media.code == NotMediaError.code:
        media = None  # that it's a picture is what is told of it
    error = next((each for each in (media, *made) if each is not None), None)
    if error is None:
        return {**told, "state": "done"}
    if error.code == DISK_FULL:
        raise StorageError(error.code, error.message)
    return {**told, "state": "failed", "code": error.code, "message": error.message}


def _specs(widths: Sequence[int]) -> list[ThumbnailSpec]:
    return [spec_of(width, format_) for width in widths for format_ in _FORMATS]


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result = WarmResult.model_validate(units[RUN].manifest)
    warnings: tuple[str, ...] = ()
    if result.evicted:
        warnings = (
            f"The cache is full: {result.evicted} entries were evicted meanwhile, maybe of these files. Give it more "
            "memory: MEDIARAY_CACHE_BYTES.",
        )
    if not result.failed:
        return Outcome(result, warnings=warnings)
    outcomes = _table(bench).read(("uri", "state", "code", "message"))
    failed = outcomes.filter(pc.equal(outcomes["state"], "failed")).drop(["state"]).sort_by("uri").to_pylist()
    report = failed_report(bench, failed)
    told = f"{result.failed} of {result.files} files can't be read; {report.name} tells why."
    return Outcome(result, (report,), (*warnings, told))


OPERATION = Operation(
    name="collection-warm",
    summary="Have the metadata of a collection's files in the cache, and pictures of given widths on the disk, before "
    "they are asked for.",
    params=Params,
    result=WarmResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    interactive=True,
    examples=({"sources": ["collection:photos"], "params": {"thumbnails": [320]}},),
)
