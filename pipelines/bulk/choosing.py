"""What a job is done with, chosen once: a driver that follows a killed one goes on with the same."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.bulk.collection import Collection
from pipelines.bulk.view import selected
from pipelines.jobs.workbench import Workbench

_IDENTITY = "identity"


def chosen(bench: Workbench, collection: Collection, where: str | None) -> pa.Array | None:
    """The contents of the files that met a condition when the job began; None where there is no condition.

    Asked anew, the condition might leave out what the job itself has changed: ``image_thumbnails_state IS NULL``.

    Raises:
        InvalidError: it can't be answered.
    """
    if where is None:
        return None
    rows = once(bench.scratch.parent / "chosen.parquet", lambda: pa.table({_IDENTITY: selected(collection, where)}))
    return rows[_IDENTITY].combine_chunks()


def once(note: Path, choose: Callable[[], pa.Table]) -> pa.Table:
    """What ``choose`` tells, kept in ``note``: the next time it is read from there."""
    if not note.exists():
        making = note.with_name(f".{note.name}")
        pq.write_table(choose(), making)
        making.replace(note)
    return pq.read_table(note, partitioning=None)
