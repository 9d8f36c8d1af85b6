"""Files of a collection written into an archive that lies there under a temporary name: each where it belongs."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from cluster.disk import disk_errors
from cluster.objects import PART_BYTES
from cluster.sources import OpenSource
from cluster.staging import check_target
from pipelines.bulk.exporting.archive_formats import FORMATS, Entry, Format, write_entry
from pipelines.bulk.exporting.copying import COPIED, OUTCOMES, TABLE, outcome_of
from pipelines.bulk.streaming import ROWS, BatchManifest
from pipelines.bulk.tables import Table
from pipelines.jobs.models import Unit
from pipelines.jobs.place_faults import changed
from pipelines.jobs.workbench import Workbench

WRITTEN = OUTCOMES.append(pa.field("crc32", pa.int64()))  # of a file's data
ARCHIVE, FORMAT = "archive", "format"  # in a batch's payload: the path, and of which kind it is


def archive_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    """Write the files of a batch, each to where it begins, and tell what came of each."""
    payload, archive = unit.payload, Path(unit.payload[ARCHIVE])
    check_target(archive, (*bench.write_roots, bench.scratch.parent), overwrite=True)
    format_ = FORMATS[payload[FORMAT]]
    with disk_errors(archive), archive.open("r+b") as file:
        outcomes = [outcome_of(bench, payload, row, partial(_written, file, format_, row)) for row in payload[ROWS]]
        file.flush()
        os.fsync(file.fileno())
    Table(Path(payload[TABLE]), WRITTEN, "uri").append(unit.name, pa.Table.from_pylist(outcomes, WRITTEN))
    return BatchManifest(rows=len(outcomes))


def _written(file: IO[bytes], format_: Format, row: Mapping[str, Any], opened: OpenSource) -> dict[str, Any]:
    entry = Entry(row["target"], row["size_bytes"], row["modified_us"], row["at"])
    crc32 = write_entry(file, format_, entry, _chunks(opened, entry.size_bytes))
    if opened.is_other():
        raise changed(opened)
    return {"state": COPIED, "crc32": crc32}


def _chunks(opened: OpenSource, size_bytes: int) -> Iterator[bytes]:
    """So many bytes of a file. Raises as ``read`` of an open source."""
    for begin in range(0, size_bytes, PART_BYTES):
        yield opened.read(min(PART_BYTES, size_bytes - begin), begin)
