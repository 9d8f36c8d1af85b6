"""An export of a collection: which files go where, that they do, and the catalogue that lies beside them."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from cluster.errors import StorageError
from cluster.storage import check_target_folder, flush_files, flush_folder, publish, remove_staged, stage
from pipelines.bulk.collection import Collection
from pipelines.bulk.copying import COPIED, FAILED, KNOWN, LINK, OUTCOMES, OUTPUT, OVERWRITE, TABLE
from pipelines.bulk.driving import have_all_done
from pipelines.bulk.exporting import write_rows
from pipelines.bulk.name_template import columns_of, name_of
from pipelines.bulk.safe_names import apart
from pipelines.bulk.streaming import Batching
from pipelines.bulk.tables import Table
from pipelines.bulk.view import CollectionView, Query
from pipelines.jobs.models import Needs
from pipelines.jobs.scratch import note_staging, tag_of
from pipelines.jobs.workbench import Workbench

CATALOGUE = "catalogue.parquet"
_EXPORTED = "exported"  # the catalogue's column of names below the output
_MARK = b"mediaray.collection"  # in the catalogue's schema: who wrote it
_BATCH_BYTES, _MOST_ROWS = 256 << 20, 256
_BYTES_PER_S = 50e6
_MEMORY_BYTES = 64 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Export:
    """What is asked for."""

    collection: Collection
    where: str | None
    template: str
    output: Path
    overwrite: bool
    link: bool

    @property
    def condition(self) -> str:
        return "state = 'present'" + (f" AND ({self.where}\n)" if self.where is not None else "")

    @property
    def key(self) -> str:
        return f"export-{hashlib.sha256(str(self.output).encode()).hexdigest()[:16]}"


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


def planned(export: Export) -> pa.Table:
    """The files, by URI: ``uri``, ``size_bytes``, ``modified_us`` and ``target``, a safe path below the output.

    Raises:
        InvalidError: the condition can't be answered.
        StorageError: ``output_is_source``: a copy would have the name of one of the collection's files.
    """
    columns = ", ".join(
        dict.fromkeys(("uri", "path", "root", "size_bytes", "modified_at", *columns_of(export.template)))
    )
    query = Query(export.condition, columns)
    with CollectionView(export.collection, query.text) as view:
        rows = view.told(query.sql()).to_pylist()
    uris = [row["uri"] for row in rows]
    targets = apart([name_of(export.template, row) for row in rows], uris, (CATALOGUE,))
    _check_sources(export, targets)
    return pa.table(
        {
            "uri": pa.array(uris, pa.string()),
            "size_bytes": pa.array([row["size_bytes"] for row in rows], pa.int64()),
            "modified_us": pa.array([_micros(row["modified_at"]) for row in rows], pa.int64()),
            "target": pa.array(targets, pa.string()),
        }
    )


def _check_sources(export: Export, targets: Sequence[str]) -> None:
    """By whatever links the folders are named."""
    files = export.collection.files.read(("root", "path"))
    folders = {root: Path(root).resolve() for root in set(files["root"].to_pylist())}
    pairs = zip(files["root"].to_pylist(), files["path"].to_pylist(), strict=True)
    sources = {f"{folders[root]}/{path}" for root, path in pairs}
    output = export.output.resolve()
    for target in targets:
        if f"{output}/{target}" in sources:
            told = f"{output}/{target} is one of the collection's own files. Choose another folder."
            raise StorageError("output_is_source", told)


def size_of(rows: pa.Table) -> int:
    return pc.sum(rows["size_bytes"]).as_py() or 0


def export_all(bench: Workbench, export: Export) -> tuple[Exported, Sequence[Mapping[str, Any]]]:
    """Copy all files, put the catalogue beside them, and tell which failed.

    Raises:
        StorageError: ``collection_busy``, ``output_outside_roots``, ``output_exists``: a catalogue that isn't ours.
        UnitDroppedError: this driver was taken away.
    """
    began = time.monotonic()
    check_target_folder(export.output, bench.write_roots)
    _check_catalogue(export)
    with export.collection.alone(export.key):
        rows = planned(export)
        outcomes_folder = bench.scratch / "outcomes"
        table = Table(outcomes_folder, OUTCOMES, "uri")
        folders = {(export.output / target).parent for target in rows["target"].to_pylist()} | {export.output}
        note_staging(bench.scratch.parent, folders)
        if len(rows):
            have_all_done(bench, rows, _batching(export, outcomes_folder, rows))
        for folder in filter(Path.is_dir, folders):
            remove_staged(folder, tag_of(bench.driver.job_id))
        outcomes = table.read()
        targets = dict(zip(rows["uri"].to_pylist(), rows["target"].to_pylist(), strict=True))
        failed = outcomes.filter(pc.equal(outcomes["state"], FAILED)).sort_by("uri").to_pylist()
        _publish_catalogue(
            bench, export, {uri: targets[uri] for uri in targets.keys() - {row["uri"] for row in failed}}
        )
    states = Counter(outcomes["state"].to_pylist())
    figures = Exported(
        files=len(rows),
        copied=states[COPIED],
        known=states[KNOWN],
        failed=states[FAILED],
        size_bytes=size_of(
            rows.filter(pc.invert(pc.is_in(rows["uri"], pa.array([row["uri"] for row in failed], pa.string()))))
        ),
        catalogue=str(export.output / CATALOGUE),
        codes=dict(Counter(row["code"] for row in failed).most_common()),
        elapsed_s=round(time.monotonic() - began, 3),
    )
    return figures, [{name: row[name] for name in ("uri", "target", "code", "message")} for row in failed]


def _batching(export: Export, outcomes: Path, rows: pa.Table) -> Batching:
    mean_bytes = max(1, size_of(rows) // len(rows))
    size = max(1, min(_MOST_ROWS, _BATCH_BYTES // mean_bytes))
    needs = Needs(cpus=1, max_cpus=1, seconds=max(1.0, size * mean_bytes / _BYTES_PER_S), memory_bytes=_MEMORY_BYTES)
    common = {
        TABLE: str(outcomes),
        OUTPUT: str(export.output),
        OVERWRITE: export.overwrite,
        LINK: export.link,
    }
    return Batching(Table(outcomes, OUTCOMES, "uri"), "uri", size, needs, FAILED, common)


def _check_catalogue(export: Export) -> None:
    target = export.output / CATALOGUE
    if target.exists() and not export.overwrite and not _is_ours(target):
        raise StorageError("output_exists", f"{target} exists already. Choose another folder, or set overwrite.")


def _is_ours(path: Path) -> bool:
    try:
        return _MARK in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _publish_catalogue(bench: Workbench, export: Export, targets: Mapping[str, str]) -> None:
    made, target = bench.scratch / CATALOGUE, export.output / CATALOGUE
    with CollectionView(export.collection) as view, made.open("wb") as file:
        write_rows("parquet", _exported(view.batches(Query(export.condition)), targets, export.collection.name), file)
    flush_files(bench.scratch)
    staged = stage(made, target, bench.write_roots, f"{tag_of(bench.driver.job_id)}{bench.driver.fence}")
    publish(staged, target, overwrite=True, size_bytes=made.stat().st_size)
    flush_folder(export.output)


def _exported(batches: Iterator[pa.RecordBatch], targets: Mapping[str, str], name: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        names = pa.array([targets.get(uri) for uri in batch["uri"].to_pylist()], pa.string())
        rows = batch.append_column(_EXPORTED, names).filter(pc.is_valid(names))
        yield rows.replace_schema_metadata({_MARK: name.encode()})


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
