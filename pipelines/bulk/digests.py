"""The digests of all bytes of a collection's files: of each by itself, for what tells contents apart is of samples.

A digest holds as long as what the file system notes of its file.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from cluster.errors import StorageError
from cluster.identity import listed_stamp_of
from pipelines.bulk.choosing import began
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import ATTEMPTS, earlier_tries, have_all_done, of_tries
from pipelines.bulk.pace import SIZE, batch_size
from pipelines.bulk.streaming import ROWS, Batching, BatchManifest, Runner
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.tasks import task_of
from pipelines.jobs.errors import job_error
from pipelines.jobs.inline import each_of
from pipelines.jobs.models import JobError, Needs, Unit
from pipelines.jobs.operations.checksum import Checksum
from pipelines.jobs.workbench import Workbench

OPERATION = "checksum"
NAME = "digests"  # of the table, and of who alone writes it
DIGESTED = "digested"  # in a batch's payload: the collection
_DIGESTS = pa.schema(
    {
        "uri": pa.string(),
        "stamp": pa.string(),  # what the file system noted of the file when it was read
        "settled": pa.bool_(),
        "digest": pa.string(),
        "state": pa.string(),
        "code": pa.string(),
        "message": pa.string(),
        ATTEMPTS: pa.int32(),
        AT: pa.timestamp("us", tz="UTC"),
    }
)
_READ_PER_S, _OPEN_S = 200e6, 0.005  # bytes, of a disk; and what a small file takes
_MEMORY_BYTES = 64 << 20


def digests(
    bench: Workbench, collection: Collection, files: Mapping[str, os.stat_result], runner: Runner, *, fresh: bool
) -> Mapping[tuple[str, str], str]:
    """The BLAKE3 digests of ``files``, by URI and stamp. Read are those that aren't known; ``fresh``: by this job.

    One that can't be read has none.

    Raises:
        StorageError: ``collection_busy``.
        UnitDroppedError: this driver was taken away.
    """
    table, start = _table(collection), began(bench, NAME)
    since = start if fresh else _EVER
    with collection.alone(NAME, bench.driver.job_id):
        known = _known(table, since)
        through, tried = earlier_tries(table.read(of_tries("uri")), "uri", "failed", start)
        unsettled = [
            uri for uri, facts in files.items() if not known.get((uri, listed_stamp_of(facts).digest), _NONE).settled
        ]
        todo = [uri for uri in unsettled if uri not in through]
        if todo:
            each_s = sum(_OPEN_S + files[uri].st_size / _READ_PER_S for uri in todo) / len(todo)
            size = batch_size(each_s)
            needs = Needs(cpus=1, max_cpus=1, seconds=max(1.0, size * each_s), memory_bytes=_MEMORY_BYTES)
            batching = Batching(table, "uri", size, needs, "failed", {DIGESTED: collection.name})
            sizes = pa.array([files[uri].st_size for uri in todo], pa.int64())
            rows = pa.table({"uri": pa.array(todo, pa.string()), SIZE: sizes})
            have_all_done(bench, rows, batching, runner, tried)
            table.compact()
        return {key: each.digest for key, each in _known(table, since).items()}


@dataclass(frozen=True)
class _Digest:
    """``settled``: what was read hadn't changed a moment before. Else it may have since, without a trace."""

    digest: str
    settled: bool


_NONE = _Digest("", settled=False)
_EVER = datetime.min.replace(tzinfo=UTC)


def _known(table: Table, since: datetime) -> dict[tuple[str, str], _Digest]:
    return {
        (row["uri"], row["stamp"]): _Digest(row["digest"], row["settled"])
        for row in table.read(("uri", "stamp", "settled", "digest", "state", AT)).to_pylist()
        if row["state"] == "done" and row[AT] >= since
    }


def do_digest_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    """Read files whole, and put their digests into the collection."""
    collection = Collection.named(bench.home, unit.payload[DIGESTED])
    uris = [row["uri"] for row in unit.payload[ROWS]]
    told = {ATTEMPTS: unit.payload[ATTEMPTS], AT: datetime.now(UTC)}
    rows = [{**row, **told} for row in _digested(bench.reading(collection.folder), uris)]
    _table(collection).append(unit.name, pa.Table.from_pylist(rows, _DIGESTS))
    shutil.rmtree(bench.scratch, ignore_errors=True)
    return BatchManifest(rows=len(rows))


def _digested(bench: Workbench, uris: Sequence[str]) -> Iterator[dict[str, Any]]:
    task = task_of(OPERATION, {})
    for uri in uris:
        try:
            before = bench.listed_stamp(uri)
            (each,) = each_of(task.declared, bench, task.checked_params(), [uri])
            after = bench.listed_stamp(uri)
        except StorageError as error:
            yield _failed(uri, job_error(error))
            continue
        if each.error is not None:
            yield _failed(uri, each.error)
        elif before.digest != after.digest:
            yield _failed(uri, JobError(code="source_changed", message=f"{uri} changed while it was read."))
        else:
            noted = {"stamp": after.digest, "settled": before.settled}
            digest = Checksum.model_validate(each.result).blake3
            yield {"uri": uri, "state": "done", "digest": digest, **noted}


def _failed(uri: str, error: JobError) -> dict[str, Any]:
    return {"uri": uri, "state": "failed", "code": error.code, "message": error.message}


def _table(collection: Collection) -> Table:
    return Table(collection.folder / NAME, _DIGESTS, "uri")
