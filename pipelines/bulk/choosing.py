"""What a job is done with, chosen once: a driver that follows a killed one goes on with the same."""

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from cluster.disk import flush_folder
from pipelines.bulk.collection import Collection
from pipelines.bulk.view import selected
from pipelines.jobs.workbench import Workbench

Note = TypeVar("Note", bound=BaseModel)


def chosen(bench: Workbench, collection: Collection, where: str | None, of: str = "identity") -> pa.Array | None:
    """Of the files that met a condition when the job began, the contents, or the ``uri``. None: there is no condition.

    Asked anew, the condition might leave out what the job itself has changed: ``image_thumbnails_state IS NULL``.

    Raises:
        InvalidError: it can't be answered.
    """
    if where is None:
        return None
    rows = once(bench.notes / "chosen-files.parquet", lambda: selected(collection, where))
    return rows[of].combine_chunks()


class Began(BaseModel):
    """When the first driver of a job began: this one may be a later one."""

    at: datetime


def began(bench: Workbench, what: str) -> datetime:
    """When the job began with ``what``."""
    return noted_once(bench.notes / f"{what}.since", Began, lambda: Began(at=datetime.now(UTC))).at


def noted_once(note: Path, form: type[Note], tell: Callable[[], Note]) -> Note:
    """What ``tell`` tells, kept in ``note``: the next time it is read from there."""
    if not note.exists():
        keep_note(note, tell())
    return form.model_validate_json(note.read_bytes())


def keep_note(note: Path, told: BaseModel) -> None:
    """Keep ``told`` in ``note``, instead of what was there."""
    _keep(note, lambda file: file.write(told.model_dump_json().encode()))


def once(note: Path, choose: Callable[[], pa.Table]) -> pa.Table:
    """What ``choose`` tells, kept in ``note``: the next time it is read from there."""
    if not note.exists():
        table = choose()
        _keep(note, lambda file: pq.write_table(table, file))
    return pq.read_table(note, partitioning=None)


def _keep(note: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Whole or not at all, also after a power cut: later drivers would end at half a note, each of them."""
    making = note.with_name(f".{note.name}.{uuid.uuid4().hex}")  # the driver before this one may be at it still
    with making.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    making.replace(note)
    flush_folder(note.parent)
