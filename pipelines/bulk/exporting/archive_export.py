"""An export into an archive: files written where they belong in it, then the catalogue, then its name.

What a batch wrote stays when the job is killed or paused. If files turn out to be unreadable, all others are written
again, into an archive without them: one with gaps isn't read by all programs.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.disk import disk_errors, flush_folder, make_folder
from cluster.staging import publish, remove_staged, staged_name
from pipelines.bulk.choosing import keep_note, noted_once
from pipelines.bulk.driving import earlier_tries, have_all_done, of_tries
from pipelines.bulk.exporting.archive_formats import FORMATS, Entry, laid_out, write_entry
from pipelines.bulk.exporting.archiving import ARCHIVE, FORMAT, WRITTEN
from pipelines.bulk.exporting.copying import FAILED, TABLE
from pipelines.bulk.exporting.export_catalogue import CATALOGUE, named_rows
from pipelines.bulk.exporting.export_plan import Export, batches_of, planned_once, size_of
from pipelines.bulk.exporting.folder_export import Exported, codes_of, failures_in, target_by_uri
from pipelines.bulk.exporting.stored_folder import StoredFolder
from pipelines.bulk.row_formats import write_rows
from pipelines.bulk.streaming import Batching, Runner
from pipelines.bulk.tables import Table
from pipelines.bulk.view import CollectionView, Query
from pipelines.jobs.publishing import check_output
from pipelines.jobs.scratch import note_staging, tag_of
from pipelines.jobs.workbench import Workbench

_LEFT_OUT, _PACKED = "left-out.json", "packed.json"  # in the job's scratch
_MEDIA_TYPES = {".zip": "application/zip", ".tar": "application/x-tar"}
_CHUNK_BYTES = 1 << 20


class _LeftOut(BaseModel):
    """Files that turned out to be unreadable, and where the archive lay that was laid out with the last of them."""

    failed: list[dict[str, Any]] = []
    staged: Path | None = None


class _Packed(BaseModel):
    """An archive that is whole, and lies under its temporary name or its own."""

    staged: Path
    size_bytes: int
    figures: Exported
    failed: list[dict[str, Any]]


def pack_all(bench: Workbench, export: Export, runner: Runner) -> tuple[Exported, Sequence[Mapping[str, Any]]]:
    """Write all files and the catalogue into an archive, and tell which failed.

    Raises:
        StorageError: ``collection_busy``, ``output_exists``, ``output_outside_roots``, ``disk_full``,
            ``storage_unavailable``.
        UnitDroppedError: this driver was taken away.
    """
    with export.collection.alone(export.key, bench.driver.job_id):
        packed = noted_once(bench.notes / _PACKED, _Packed, lambda: _packed(bench, export, runner))
        if isinstance(export.output, Path):
            publish(packed.staged, export.output, overwrite=export.overwrite, size_bytes=packed.size_bytes)
            flush_folder(export.output.parent)
            remove_staged(export.output.parent, tag_of(bench.driver.job_id))
        else:
            media_type = _MEDIA_TYPES[export.output.suffix.lower()]
            folder = StoredFolder(export.output.parent, export.granted)
            folder.put(packed.staged, export.output.name, media_type, overwrite=export.overwrite)
    return packed.figures, packed.failed


def _packed(bench: Workbench, export: Export, runner: Runner) -> _Packed:
    began = time.monotonic()
    check_output(export.output, bench.roots, folder=False, overwrite=export.overwrite)
    if isinstance(export.output, Path):
        note_staging(bench.notes, {export.output.parent})
    format_ = FORMATS[export.output.suffix.lower()]
    files, note = planned_once(bench, export), bench.notes / _LEFT_OUT
    left_out = _LeftOut.model_validate_json(note.read_bytes()) if note.exists() else _LeftOut()
    while True:
        if left_out.staged is not None:
            left_out.staged.unlink(missing_ok=True)
        unreadable = pa.array([row["uri"] for row in left_out.failed], pa.string())
        rows = files.filter(pc.invert(pc.is_in(files["uri"], unreadable)))
        entries, end = laid_out(format_, _entries(rows))
        staged = _staged(bench, export, entries)
        written = _have_written(bench, export, staged, rows, entries, end, runner)
        wrong = failures_in(written)
        if not wrong:
            break
        left_out = _LeftOut(failed=[*left_out.failed, *wrong], staged=staged)
        keep_note(note, left_out)  # before the archive goes: else a later driver would write all of it again
    crcs = dict(zip(written["uri"].to_pylist(), written["crc32"].to_pylist(), strict=True))
    entries = [replace(each, crc32=crcs[uri]) for each, uri in zip(entries, rows["uri"].to_pylist(), strict=True)]
    _finish(bench, export, staged, rows, entries, end)
    figures = Exported(
        files=len(files),
        copied=len(rows),
        known=0,
        failed=len(left_out.failed),
        size_bytes=size_of(rows),
        catalogue=f"{export.output}!{CATALOGUE}",
        codes=codes_of(left_out.failed),
        elapsed_s=round(time.monotonic() - began, 3),
    )
    return _Packed(staged=staged, size_bytes=staged.stat().st_size, figures=figures, failed=left_out.failed)


def _entries(rows: pa.Table) -> list[Entry]:
    columns = [rows[name].to_pylist() for name in ("target", "size_bytes", "modified_us")]
    return [Entry(*each) for each in zip(*columns, strict=True)]


def _staged(bench: Workbench, export: Export, entries: Sequence[Entry]) -> Path:
    """Named by what goes where, too: nobody who is late writes into one that is laid out otherwise.

    One that goes to object storage lies in the job's scratch until it is uploaded.
    """
    at = export.output if isinstance(export.output, Path) else bench.scratch.parent / export.output.name
    return staged_name(at, f"{tag_of(bench.driver.job_id)}{_digest(entries)}")


def _told(export: Export, staged: Path) -> Path:
    """What is named where the disk fails."""
    return export.output if isinstance(export.output, Path) else staged


def _digest(entries: Sequence[Entry]) -> str:
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]


def _have_written(
    bench: Workbench,
    export: Export,
    staged: Path,
    rows: pa.Table,
    entries: Sequence[Entry],
    end: int,
    runner: Runner,
) -> pa.Table:
    """Have each file written where it belongs, but those that an earlier driver had; what came of each."""
    folder = bench.notes / f"written-{_digest(entries)}"
    if not staged.exists():
        shutil.rmtree(folder, ignore_errors=True)
        with disk_errors(_told(export, staged)):
            make_folder(staged.parent)
            with staged.open("xb") as file:
                file.truncate(end)
            flush_folder(staged.parent)
    table = Table(folder, WRITTEN, "uri")
    through, tried = earlier_tries(table.read(of_tries("uri")), "uri", FAILED)
    placed = rows.append_column("at", pa.array([entry.at for entry in entries], pa.int64()))
    todo = placed.filter(pc.invert(pc.is_in(placed["uri"], pa.array([*through], pa.string()))))
    if len(todo):
        size, needs = batches_of(todo)
        common = {TABLE: str(folder), ARCHIVE: str(staged), FORMAT: export.output.suffix.lower()}
        have_all_done(bench, todo, Batching(table, "uri", size, needs, FAILED, common), runner, tried)
    return table.read()


def _finish(bench: Workbench, export: Export, staged: Path, rows: pa.Table, entries: Sequence[Entry], end: int) -> None:
    """Write the catalogue behind the files, and what ends an archive."""
    made, format_ = bench.scratch / CATALOGUE, FORMATS[export.output.suffix.lower()]
    with CollectionView(export.collection) as view, made.open("wb") as file:
        told = named_rows(view.batches(Query(export.condition)), target_by_uri(rows), export.collection.name)
        write_rows("parquet", told, file)
    catalogue = Entry(CATALOGUE, made.stat().st_size, time.time_ns() // 1000, at=end)
    with disk_errors(_told(export, staged)), made.open("rb") as data, staged.open("r+b") as archive:
        crc32 = write_entry(archive, format_, catalogue, iter(lambda: data.read(_CHUNK_BYTES), b""))
        archive.seek(laid_out(format_, [catalogue])[1] + end)
        format_.end(archive, [*entries, replace(catalogue, crc32=crc32)])
        archive.truncate()
        archive.flush()
        os.fsync(archive.fileno())
