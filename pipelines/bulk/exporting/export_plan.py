"""Which files an export takes, and what each is called there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import StorageError
from cluster.locations import Location
from cluster.object_paths import ObjectPath, is_object_uri
from cluster.roots import ObjectAccess
from pipelines.bulk.choosing import once
from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import check_condition
from pipelines.bulk.exporting.archive_formats import FORMATS
from pipelines.bulk.exporting.export_catalogue import CATALOGUE, Folder, exported_names
from pipelines.bulk.exporting.stored_folder import StoredFolder
from pipelines.bulk.facts import micros_of
from pipelines.bulk.name_template import columns_of, name_of
from pipelines.bulk.safe_names import apart, forms_of
from pipelines.bulk.view import CollectionView
from pipelines.jobs.models import Needs
from pipelines.jobs.workbench import Workbench

_PLANNED = "planned.parquet"  # in the job's scratch
_BATCH_BYTES, _MOST_ROWS = 256 << 20, 256
_BYTES_PER_S = 50e6
_MEMORY_BYTES = 64 << 20


@dataclass(frozen=True)
class Export:
    """What is asked for. An ``output`` with the extension of an archive is one; else it is a folder.

    ``access`` is how objects are written, where it is one.
    """

    collection: Collection
    where: str | None
    template: str
    output: Location
    overwrite: bool
    link: bool
    access: ObjectAccess | None = None

    @property
    def condition(self) -> str:
        return "state = 'present'" + (f" AND ({self.where}\n)" if self.where is not None else "")

    @property
    def packs(self) -> bool:
        return self.output.suffix.lower() in FORMATS

    @property
    def folder(self) -> Folder:
        """Where files go, as its catalogue is asked for there."""
        if isinstance(self.output, Path):
            return self.output
        return StoredFolder(self.output, self.granted)

    @property
    def granted(self) -> ObjectAccess:
        """How objects are written."""
        assert self.access is not None
        return self.access

    @property
    def key(self) -> str:
        return f"export-{hashlib.sha256(str(self.output).encode()).hexdigest()[:16]}"


def planned(export: Export, *, waited_for: bool = False) -> pa.Table:
    """The files, by URI: ``uri``, ``size_bytes``, ``modified_us`` and ``target``, a safe path below the output.

    A name depends on all files of the collection, not on those that are chosen; and what an earlier export called a
    file, it is called still. Where a caller waits for it, it takes no longer than a query may.

    Raises:
        InvalidError: the condition can't be answered.
        StorageError: ``output_is_source``: a copy would have the name of one of the collection's files.
    """
    if export.where is not None:
        check_condition(export.where)
    named = dict.fromkeys(("uri", "path", "root", "size_bytes", "modified_at", *columns_of(export.template)))
    columns = f"{', '.join(named)}, coalesce({export.condition}, false) AS chosen"
    with CollectionView(export.collection, columns) as view:
        statement = f"SELECT {columns} FROM files"  # noqa: S608 of columns and checked
        rows = view.told(statement, waited_for=waited_for).to_pylist()
    targets = _names(export, rows)
    files = [(row, target) for row, target in zip(rows, targets, strict=True) if row["chosen"]]
    _check_sources(export, [target for _, target in files])
    return pa.table(
        {
            "uri": pa.array([row["uri"] for row, _ in files], pa.string()),
            "size_bytes": pa.array([row["size_bytes"] for row, _ in files], pa.int64()),
            "modified_us": pa.array([micros_of(row["modified_at"]) for row, _ in files], pa.int64()),
            "target": pa.array([target for _, target in files], pa.string()),
        }
    )


def _names(export: Export, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each file is called below the output."""
    keys = isinstance(export.output, ObjectPath)
    names, uris = [name_of(export.template, row, key=keys) for row in rows], [row["uri"] for row in rows]
    there = {} if export.packs else exported_names(export.folder)
    kept = {
        uri: name
        for uri, path in zip(uris, names, strict=True)
        for name in forms_of(path, uri)
        if there.get(name) == uri
    }
    return apart(names, uris, (CATALOGUE, *(there.keys() - kept.values())), kept)


def _check_sources(export: Export, targets: Sequence[str]) -> None:
    """By whatever links the folders are named."""
    files = export.collection.files.read(("root", "path"))
    pairs = list(zip(files["root"].to_pylist(), files["path"].to_pylist(), strict=True))
    folders = {root: root if is_object_uri(root) else Path(root).resolve() for root, _ in pairs}
    sources = {f"{folders[root]}/{path}" for root, path in pairs}
    output = export.output.resolve() if isinstance(export.output, Path) else export.output
    if export.packs and any(each == str(output) or each.startswith(f"{output}!") for each in sources):
        raise StorageError("output_is_source", f"{output} is one of the collection's own sources. Name another file.")
    for target in targets:
        if f"{output}/{target}" in sources:
            told = f"{output}/{target} is one of the collection's own files. Choose another folder."
            raise StorageError("output_is_source", told)


def size_of(rows: pa.Table) -> int:
    return pc.sum(rows["size_bytes"]).as_py() or 0


def planned_once(bench: Workbench, export: Export) -> pa.Table:
    """As the job's first driver planned it: a later one goes on with the same files, whatever was imported since."""
    return once(bench.notes / _PLANNED, lambda: planned(export))


def batches_of(rows: pa.Table) -> tuple[int, Needs]:
    """How many files make a batch, and what it claims."""
    mean_bytes = max(1, size_of(rows) // len(rows))
    size = max(1, min(_MOST_ROWS, _BATCH_BYTES // mean_bytes))
    needs = Needs(cpus=1, max_cpus=1, seconds=max(1.0, size * mean_bytes / _BYTES_PER_S), memory_bytes=_MEMORY_BYTES)
    return size, needs
