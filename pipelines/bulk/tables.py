"""Tables of Parquet files that only grow; of rows with the same key the newest counts.

A part is made under another name, flushed and renamed, so what has its name is whole. It is named by who made it: made
twice, it is there once. ``pack`` and ``compact`` put parts into one; killed between, they leave rows twice, which
changes nothing. A ``drop`` that is killed there has dropped nothing yet.
"""

import contextlib
import os
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.disk import disk_errors, flush_folder

AT = "at"  # the column of when a row was written
_SUFFIX = ".parquet"
_BASE, _PACK = "base-", "pack-"  # what the names of parts begin with that are made of all others, or of some
_TRIES = 5  # of reading while another compacts


class Table:
    """The parts in a folder. ``schema`` has ``key``, a column of text, and ``at``, a time."""

    def __init__(self, folder: Path, schema: pa.Schema, key: str) -> None:
        self.schema = schema
        self._folder = folder
        self.key = key

    def append(self, name: str, rows: pa.Table) -> None:
        """Add a part; when this returns it is on the disk.

        Raises:
            StorageError: ``disk_full``, ``output_not_writable``.
        """
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            making = self._folder / f".{uuid.uuid4().hex}"
            try:
                with making.open("wb") as file:
                    pq.write_table(rows.cast(self.schema), file, compression="zstd")
                    file.flush()
                    os.fsync(file.fileno())
                making.replace(self._folder / f"{name}{_SUFFIX}")
                flush_folder(self._folder)
            finally:
                making.unlink(missing_ok=True)

    def part(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of one part. Raises FileNotFoundError."""
        return pq.read_table(self._folder / f"{name}{_SUFFIX}", columns=list(columns), partitioning=None)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The newest row of each key, in no order."""
        wanted = None if columns is None else [*dict.fromkeys((*columns, self.key, AT))]
        rows = self._read(wanted)
        return rows if columns is None else rows.select(list(columns))

    def compact(self) -> None:
        """Put all parts into one. Nobody else may compact meanwhile; others may read and append."""
        parts = self._parts()
        if len(parts) > 1:
            self._replace(parts, self._newest([self._load(part, None) for part in parts]))

    def pack(self) -> None:
        """Put the small parts into one, and leave alone what is packed already. Nobody else may compact meanwhile.

        A thousand parts of a row each take as long to read as a million rows.
        """
        parts = [part for part in self._parts() if not part.name.startswith((_PACK, _BASE))]
        if len(parts) > 1:
            self._replace(parts, self._newest([self._load(part, None) for part in parts]), _PACK)

    def drop(self, keys: pa.Array, before: datetime) -> None:
        """Take out the rows of these keys that were written before then. Nobody else may compact meanwhile."""
        parts = self._parts()
        rows = self._newest([self._load(part, None) for part in parts])
        gone = pc.and_(pc.is_in(rows[self.key], keys), pc.less(rows[AT], before))
        self._replace(parts, rows.filter(pc.invert(gone)))

    def _replace(self, parts: Sequence[Path], rows: pa.Table, kind: str = _BASE) -> None:
        self.append(f"{kind}{uuid.uuid4().hex}", rows)
        for part in parts:
            part.unlink(missing_ok=True)

    def _read(self, columns: Sequence[str] | None) -> pa.Table:
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # compacted since its name was read
                return self._newest([self._load(part, columns) for part in self._parts()])
        return self._newest([self._load(part, columns) for part in self._parts()])

    def _parts(self) -> list[Path]:
        return sorted(part for part in self._folder.glob(f"*{_SUFFIX}") if not part.name.startswith("."))

    def _load(self, part: Path, columns: Sequence[str] | None) -> pa.Table:
        return pq.read_table(part, columns=columns and list(columns), partitioning=None)

    def _newest(self, parts: Sequence[pa.Table]) -> pa.Table:
        return newest(parts, self.key) if parts else self.schema.empty_table()


def newest(parts: Sequence[pa.Table], key: str) -> pa.Table:
    """Of rows with the same key the newest; they have ``at``, too."""
    rows = pa.concat_tables(parts).combine_chunks()
    codes = rows[key].combine_chunks().dictionary_encode()
    if len(codes.dictionary) == len(rows):
        return rows
    order = np.argsort(rows[AT].to_numpy(), kind="stable")
    last = np.zeros(len(codes.dictionary), dtype=np.int64)
    last[codes.indices.to_numpy()[order]] = order  # of those with the same key the last one stays
    return rows.take(pa.array(np.sort(last)))
