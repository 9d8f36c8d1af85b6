"""Manifests: lists of files, as CSV, JSON lines or Parquet, with a column that names each file."""

import csv
import io
import json
import os
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.media.collecting.collecting_spec import Listed
from pipelines.media.errors import LimitError, SourceUnreadableError, SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file

COLUMNS = ("uri", "path")  # one of them names the files
_MOST_BYTES = 256 << 20
_MOST_NAMES, _MOST_CHARACTERS = 200_000, 24 << 20  # of all names


def listed(source: Source) -> Listed:
    """The files that a manifest names, in its order; rows that name none are left out.

    Raises:
        SourceUnsupportedError: it has neither of the columns.
        SourceUnreadableError: it isn't what its name says.
        LimitError: it is too large.
    """
    name = name_of(source)
    with os.fdopen(open_file(source), "rb") as file:
        if name.lower().endswith(".parquet"):
            found = _of_parquet(pa.PythonFile(file, mode="r"), name)
        else:
            data = file.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise LimitError(f"{name} has more than {_MOST_BYTES >> 20} MiB; cut it into several.")
            text = _text(data, name)
            found = _of_csv(text, name) if name.lower().endswith(".csv") else _of_lines(text, name)
        names: list[str] = []
        characters = 0
        for each in found:
            if each and each.strip():
                names.append(each.strip().encode(errors="replace").decode())
                characters += len(each)
            if len(names) > _MOST_NAMES or characters > _MOST_CHARACTERS:
                raise LimitError(f"{name} names more than {_MOST_NAMES} files; cut it into several.")
    return Listed(names=tuple(names))


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceUnreadableError(f"{name} isn't UTF-8; save it so.") from error


def _column(columns: list[str], name: str) -> str:
    column = next((each for each in COLUMNS if each in columns), None)
    if column is None:
        found = ", ".join(columns[:20]) or "none"
        raise SourceUnsupportedError(f"{name} has no column {' or '.join(COLUMNS)}; its columns are: {found}.")
    return column


def _of_csv(text: str, name: str) -> Iterator[str | None]:
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        columns = [column.strip().lower() for column in next(rows, [])]
        place = columns.index(_column(columns, name))
        for row in rows:
            yield row[place] if place < len(row) else None
    except csv.Error as error:
        raise SourceUnreadableError(f"{name}, line {rows.line_num}: {error}.") from error


def _of_lines(text: str, name: str) -> Iterator[str | None]:
    column = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceUnreadableError(f"{name}, line {number}, isn't JSON: {error}.") from error
            if not isinstance(row, dict):
                raise SourceUnreadableError(f"{name}, line {number}, is no JSON object.")
            column = column or _column(list(row), name)
            value = row.get(column)
            yield value if isinstance(value, str) else None


def _of_parquet(file: pa.PythonFile, name: str) -> Iterator[str | None]:
    try:
        parquet = pq.ParquetFile(file)
        column = _column(parquet.schema_arrow.names, name)
        if not pa.types.is_string(parquet.schema_arrow.field(column).type):
            raise SourceUnsupportedError(f"{name}: the column {column} holds no text.")
        for batch in parquet.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadableError(f"{name} isn't Parquet that can be read: {error}.") from error
