"""An export into a folder: files copied there, or linked, and the catalogue beside them."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.disk import flush_files, flush_folder
from cluster.staging import publish, remove_staged, stage
from pipelines.bulk.driving import earlier_tries, have_all_done, of_tries
from pipelines.bulk.exporting.copying import (
    COPIED,
    EARLIER_BYTES,
    EARLIER_US,
    FAILED,
    KNOWN,
    LINK,
    OUTCOMES,
    OUTPUT,
    OVERWRITE,
    TABLE,
)
from pipelines.bulk.exporting.export_catalogue import (
    CATALOGUE,
    PARQUET,
    check_catalogue,
    named_rows,
    with_earlier,
    write_catalogue,
)
from pipelines.bulk.exporting.export_plan import Export, batches_of, planned_once, size_of
from pipelines.bulk.exporting.stored_folder import StoredFolder
from pipelines.bulk.streaming import Batching, Runner
from pipelines.bulk.tables import Table
from pipelines.bulk.view import CollectionView, Query
from pipelines.jobs.publishing import check_output
from pipelines.jobs.scratch import note_staging, tag_of
from pipelines.jobs.workbench import Workbench


class Exported(BaseModel, frozen=True, extra="forbid"):
    """Of ``files`` some were ``copied``, others ``known``: an earlier run had; the rest ``failed``.

    ``size_bytes`` is what they take together, ``catalogue`` the file that tells what is known of them.
    """

    files: int
    copied: int
    known: int
    failed: int
    size_bytes: int
    catalogue: str
    codes: dict[str, int]
    elapsed_s: float


def copy_all(bench: Workbench, export: Export, runner: Runner) -> tuple[Exported, Sequence[Mapping[str, Any]]]:
    """Copy all files, put the catalogue beside them, and tell which failed.

    Raises:
        StorageError: ``collection_busy``, ``output_outside_roots``, ``disk_full``, ``storage_unavailable``;
            ``output_exists``: a catalogue that isn't ours.
        UnitDroppedError: this driver was taken away.
    """
    began = time.monotonic()
    check_output(export.output, bench.roots, folder=True, overwrite=export.overwrite)
    check_catalogue(export.folder, overwrite=export.overwrite)
    with export.collection.alone(export.key, bench.driver.job_id):
        rows = planned_once(bench, export)
        outcomes_at = bench.notes / "outcomes"  # there for a driver that follows this one
        table = Table(outcomes_at, OUTCOMES, "uri")
        folders = _folders(export, rows)
        note_staging(bench.notes, folders)
        through, tried = earlier_tries(table.read(of_tries("uri")), "uri", FAILED)
        todo = rows.filter(pc.invert(pc.is_in(rows["uri"], pa.array([*through], pa.string()))))
        if len(todo):
            if isinstance(export.output, Path):
                todo = with_earlier(todo, export.output, EARLIER_BYTES, EARLIER_US)
            size, needs = batches_of(todo)
            common = {
                TABLE: str(outcomes_at),
                OUTPUT: str(export.output),
                OVERWRITE: export.overwrite,
                LINK: export.link,
            }
            have_all_done(bench, todo, Batching(table, "uri", size, needs, FAILED, common), runner, tried)
        for folder in filter(Path.is_dir, folders):
            remove_staged(folder, tag_of(bench.driver.job_id))
        outcomes = table.read()
        failed = failures_in(outcomes)
        done = rows.filter(pc.invert(pc.is_in(rows["uri"], pa.array([row["uri"] for row in failed], pa.string()))))
        _publish_catalogue(bench, export, done)
    states = Counter(outcomes["state"].to_pylist())
    figures = Exported(
        files=len(rows),
        copied=states[COPIED],
        known=states[KNOWN],
        failed=len(failed),
        size_bytes=size_of(done),
        catalogue=str(export.output / CATALOGUE),
        codes=codes_of(failed),
        elapsed_s=round(time.monotonic() - began, 3),
    )
    return figures, failed


def _folders(export: Export, rows: pa.Table) -> set[Path]:
    """All on the disk that files go into."""
    if not isinstance(export.output, Path):
        return set()
    return {(export.output / target).parent for target in rows["target"].to_pylist()} | {export.output}


def failures_in(outcomes: pa.Table) -> list[dict[str, Any]]:
    """What failed and why, by URI."""
    failed = outcomes.filter(pc.equal(outcomes["state"], FAILED)).sort_by("uri")
    rows: list[dict[str, Any]] = failed.select(["uri", "target", "code", "message"]).to_pylist()
    return rows


def codes_of(failed: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["code"] for row in failed).most_common())


def target_by_uri(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows["uri"].to_pylist(), rows["target"].to_pylist(), strict=True))


def _publish_catalogue(bench: Workbench, export: Export, done: pa.Table) -> None:
    made, folder = bench.scratch / CATALOGUE, export.folder
    with CollectionView(export.collection) as view:
        rows = named_rows(view.batches(Query(export.condition)), target_by_uri(done), export.collection.name)
        write_catalogue(rows, made, folder)
    if isinstance(folder, StoredFolder):
        folder.put(made, CATALOGUE, PARQUET, overwrite=True)
        return
    flush_files(bench.scratch)
    target = folder / CATALOGUE
    staged = stage(made, target, bench.write_roots, f"{tag_of(bench.driver.job_id)}{bench.driver.fence}")
    publish(staged, target, overwrite=True, size_bytes=made.stat().st_size)
    flush_folder(folder)
