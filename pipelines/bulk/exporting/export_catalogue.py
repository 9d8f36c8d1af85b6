"""The catalogue beside exported files: a row for each with all that is known of it, and what it is called there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import StorageError
from pipelines.bulk.exporting.stored_folder import StoredFolder
from pipelines.bulk.row_formats import write_rows

CATALOGUE = "catalogue.parquet"
PARQUET = "application/vnd.apache.parquet"
Folder = Path | StoredFolder
_URI, _EXPORTED = "uri", "exported"  # columns: of where a file is from, and of its name below the folder
_EARLIER = pa.schema(
    {_URI: pa.string(), _EXPORTED: pa.string(), "size_bytes": pa.int64(), "modified_at": pa.timestamp("us", tz="UTC")}
)
_MARK = b"mediaray.collection"  # in the schema: who wrote it


def check_catalogue(folder: Folder, *, overwrite: bool) -> None:
    """Refuse a folder with a catalogue of another program. Raises StorageError: ``output_exists``."""
    there = _catalogue(folder)
    if there is not None and not overwrite and not _is_ours(there):
        at = folder.path if isinstance(folder, StoredFolder) else folder
        raise StorageError(
            "output_exists", f"{at / CATALOGUE} exists already. Choose another folder, or set overwrite."
        )


def exported_names(folder: Folder) -> dict[str, str]:
    """The files in a folder that earlier exports put there: the URI of each by its name."""
    there = _catalogue(folder)
    if there is None or not _is_ours(there):
        return {}
    rows = pq.read_table(_opened(there), columns=[_URI, _EXPORTED], partitioning=None)
    named = zip(rows[_EXPORTED].to_pylist(), rows[_URI].to_pylist(), strict=True)
    return {name: uri for name, uri in named if name and _holds(folder, name)}


def with_earlier(files: pa.Table, folder: Path, size: str, modified: str) -> pa.Table:
    """Files with ``uri`` and ``target``, and as columns what each was that earlier exports put there: bytes, and µs."""
    there, rows = _catalogue(folder), _EARLIER.empty_table()
    if there is not None and _is_ours(there) and {*_EARLIER.names} <= {*pq.read_schema(_opened(there)).names}:
        rows = pq.read_table(_opened(there), columns=_EARLIER.names, partitioning=None).cast(_EARLIER)
    rows = rows.rename_columns([_URI, "target", size, modified])
    rows = rows.set_column(3, modified, rows[modified].cast(pa.int64()))
    return files.join(rows, [_URI, "target"], join_type="left outer").sort_by(_URI)


def named_rows(batches: Iterator[pa.RecordBatch], targets: Mapping[str, str], name: str) -> Iterator[pa.RecordBatch]:
    """The rows of a collection's files that have a target by their URI, with that as a column."""
    for batch in batches:
        names = pa.array([targets.get(uri) for uri in batch[_URI].to_pylist()], pa.string())
        rows = batch.append_column(_EXPORTED, names).filter(pc.is_valid(names))
        yield rows.replace_schema_metadata({_MARK: name.encode()})


def write_catalogue(rows: Iterator[pa.RecordBatch], file: Path, folder: Folder) -> None:
    """Write these rows, the first batch of which may have none, and those that ``folder`` has of its other files.

    Raises:
        StorageError: ``output_exists``: columns there have other types.
    """
    there = _catalogue(folder)
    with file.open("wb") as out:
        if there is None or not _is_ours(there):
            write_rows("parquet", rows, out)
            return
        with pq.ParquetFile(_opened(there)) as known:
            write_rows("parquet", _merged(rows, known, exported_names(folder)), out)


def _merged(
    rows: Iterator[pa.RecordBatch], known: pq.ParquetFile, there: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    first = next(rows)
    try:
        schema = pa.unify_schemas([first.schema, known.schema_arrow], promote_options="permissive")
    except pa.ArrowException as error:
        told = f"The catalogue there can't be gone on with: {error}. Choose another folder, or move it."
        raise StorageError("output_exists", told) from error
    told_now: set[str] = set()
    yield _fitted(first, schema)
    for batch in rows:
        told_now.update(batch[_EXPORTED].to_pylist())
        yield _fitted(batch, schema)
    stay = pa.array(sorted(there.keys() - told_now), pa.string())
    for batch in known.iter_batches():
        yield _fitted(batch.filter(pc.is_in(batch[_EXPORTED], stay)), schema)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    there = set(batch.schema.names)
    columns = [
        batch[field.name].cast(field.type) if field.name in there else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _catalogue(folder: Folder) -> Path | pa.Buffer | None:
    """What has that name there."""
    if isinstance(folder, StoredFolder):
        return folder.content(CATALOGUE)
    return folder / CATALOGUE if (folder / CATALOGUE).exists() else None


def _opened(catalogue: Path | pa.Buffer) -> Any:
    """For Arrow, which reads one once."""
    return catalogue if isinstance(catalogue, Path) else pa.BufferReader(catalogue)


def _holds(folder: Folder, name: str) -> bool:
    return name in folder.names if isinstance(folder, StoredFolder) else os.path.lexists(folder / name)


def _is_ours(catalogue: Path | pa.Buffer) -> bool:
    try:
        schema = pq.read_schema(_opened(catalogue))
    except (pa.ArrowException, OSError):
        return False
    texts = all(name in schema.names and schema.field(name).type == pa.string() for name in (_URI, _EXPORTED))
    return texts and _MARK in (schema.metadata or {})
