"""Tables of Parquet files that only grow; of rows with the same key the newest counts.

A part is made under another name, flushed and renamed, so what has its name is whole. It is named by who made it: made
twice, it is there once. ``pack`` and ``compact`` put parts into one; killed between, they leave rows twice, which
changes nothing. A ``drop`` that is killed there has dropped nothing yet. What was half made the next one removes.
"""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.disk import disk_errors, flush_folder

AT = "at"  # the column of when a row was written
_SUFFIX = ".parquet"
_BASE, _PACK = "base-", "pack-"  # what the names of parts begin with that are made of all others, or of some
_ROWS_READ = 1024
_GROUP_BYTES = 1 << 20  # of what is held while parts are put into one, which makes a row group of it
_HALF_MADE = re.compile(r"\.(.*\.)?[0-9a-f]{32}")
_DAY_S = 86_400.0  # so long no part is being made
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
        self._append(name, [rows])

    def _append(self, name: str, groups: Iterable[pa.Table]) -> None:
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            making = self._folder / f".{name}.{uuid.uuid4().hex}"
            try:
                with making.open("wb") as file:
                    with pq.ParquetWriter(file, self.schema, compression="zstd") as writer:
                        for rows in groups:
                            writer.write_table(rows.cast(self.schema))
                    file.flush()
                    os.fsync(file.fileno())
                making.replace(self._folder / f"{name}{_SUFFIX}")
                flush_folder(self._folder)
            finally:
                making.unlink(missing_ok=True)

    def part(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of one part. Raises FileNotFoundError."""
        return pq.read_table(self._folder / f"{name}{_SUFFIX}", columns=list(columns), partitioning=None)

    def read(self, columns: Sequence[str] | None = None, keys: pa.Array | None = None) -> pa.Table:
        """The newest row of each key, or of each of some ``keys``, in no order.

        Of a part only the row groups are read whole that hold some of the keys.
        """
        wanted = None if columns is None else [*dict.fromkeys((*columns, self.key, AT))]
        rows = self._read(wanted, keys)
        return rows if columns is None else rows.select(list(columns))

    def compact(self) -> None:
        """Put all parts into one. Nobody else may compact meanwhile; others may read and append."""
        self._sweep()
        parts = self._parts()
        if len(parts) > 1:
            self._replace(parts)

    def pack(self) -> None:
        """Put the small parts into one, and leave alone what is packed already. Nobody else may compact meanwhile.

        A thousand parts of a row each take as long to read as a million rows.
        """
        self._sweep()
        parts = self._loose()
        if len(parts) > 1:
            self._replace(parts, _PACK)

    def pack_many(self, most: int) -> None:
        """Pack, as ``pack``, once there are more than ``most`` small parts."""
        if len(self._loose()) > most:
            self.pack()

    def drop(self, keys: pa.Array, before: datetime) -> None:
        """Take out the rows of these keys that were written before then. Nobody else may compact meanwhile."""
        self._sweep()
        rows = self._keys_of(parts := self._parts())
        gone = pc.and_(pc.is_in(rows[self.key], keys), pc.less(rows[AT], before))
        self._replace(parts, but=gone.to_numpy())

    def _replace(self, parts: Sequence[Path], kind: str = _BASE, but: npt.NDArray[np.bool_] | None = None) -> None:
        """Have one part in the place of these, without the rows ``but`` tells of, which are all of theirs, in order."""
        rows = self._keys_of(parts)
        kept = np.zeros(len(rows), dtype=bool)
        kept[newest_of(rows, self.key)] = True
        if but is not None:
            kept &= ~but
        self._append(f"{kind}{uuid.uuid4().hex}", _groups(parts, kept))
        for part in parts:
            part.unlink(missing_ok=True)

    def _keys_of(self, parts: Sequence[Path]) -> pa.Table:
        """Of each row of the parts, in order, its key and when it was written."""
        columns = [self.key, AT]
        empty = self.schema.empty_table().select(columns)
        return pa.concat_tables([empty, *(self._load(part, columns).select(columns) for part in parts)])

    def _read(self, columns: Sequence[str] | None, keys: pa.Array | None) -> pa.Table:
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # compacted since its name was read
                return self._newest([self._load(part, columns, keys) for part in self._parts()])
        return self._newest([self._load(part, columns, keys) for part in self._parts()])

    def _sweep(self) -> None:
        """Remove what was half made by those who were killed: of compactions at once, since no other is at work."""
        for path in self._folder.glob(".*"):
            compacted = path.name.startswith((f".{_BASE}", f".{_PACK}"))
            with contextlib.suppress(FileNotFoundError):  # its name was given this moment
                if _HALF_MADE.fullmatch(path.name) and (compacted or time.time() - path.stat().st_mtime > _DAY_S):
                    path.unlink()

    def _loose(self) -> list[Path]:
        """The parts that were put together with no others."""
        return [part for part in self._parts() if not part.name.startswith((_PACK, _BASE))]

    def _parts(self) -> list[Path]:
        return sorted(part for part in self._folder.glob(f"*{_SUFFIX}") if not part.name.startswith("."))

    def _load(self, part: Path, columns: Sequence[str] | None, keys: pa.Array | None = None) -> pa.Table:
        wanted = columns and list(columns)
        if keys is None:
            return pq.read_table(part, columns=wanted, partitioning=None)
        with pq.ParquetFile(part) as file:
            held = (file.read_row_group(number, [self.key])[self.key] for number in range(file.num_row_groups))
            groups = [number for number, those in enumerate(held) if pc.any(pc.is_in(those, keys)).as_py()]
            rows = file.read_row_groups(groups, wanted)
        return rows.filter(pc.is_in(rows[self.key], keys))

    def _newest(self, parts: Sequence[pa.Table]) -> pa.Table:
        return newest(parts, self.key) if parts else self.schema.empty_table()


def newest(parts: Sequence[pa.Table], key: str) -> pa.Table:
    """Of rows with the same key the newest; they have ``at``, too."""
    rows = pa.concat_tables(parts).combine_chunks()
    kept = newest_of(rows, key)
    return rows if len(kept) == len(rows) else rows.take(pa.array(kept))


def newest_of(rows: pa.Table, key: str) -> npt.NDArray[np.int64]:
    """The places of the rows that are the newest with their key, rising."""
    codes = rows[key].combine_chunks().dictionary_encode()
    order = np.argsort(rows[AT].to_numpy(), kind="stable")
    last = np.zeros(len(codes.dictionary), dtype=np.int64)
    last[codes.indices.to_numpy()[order]] = order  # of those with the same key the last one stays
    return np.sort(last)


def _groups(parts: Iterable[Path], kept: npt.NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The rows of the parts that are kept, a megabyte at a time: of a large table the rows don't fit."""
    held, held_bytes, start = [], 0, 0
    for batch in _batches(parts):
        rows = pa.Table.from_batches([batch]).filter(pa.array(kept[start : start + len(batch)]))
        start += len(batch)
        held.append(rows)
        held_bytes += rows.nbytes
        if held_bytes >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held, held_bytes = [], 0
    if held:
        yield pa.concat_tables(held)


def _batches(parts: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    """All rows of the parts, in order. Over several row groups at once, and on threads, Arrow holds far more."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(_ROWS_READ, [group], use_threads=False)
