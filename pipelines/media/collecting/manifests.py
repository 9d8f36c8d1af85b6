"""Manifests: lists of files, as CSV, JSON lines or Parquet, with a column that names each file."""

import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.media.collecting.collecting_spec import Listed
from pipelines.media.collecting.csv_rows import column_of, csv_rows, text_of
from pipelines.media.errors import LimitError, SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file

COLUMNS = ("uri", "path")  # one of them names the files
_MOST_BYTES = 256 << 20
_MOST_NAMES, _MOST_CHARACTERS = 200_000, 24 << 20  # of all names


def listed(source: Source) -> Listed:
    """The files that a manifest names, in its order; rows that name none are left out.

    Raises:
        SourceUnsupportedError: it has neither of the columns, or isn't what its name says.
        LimitError: it is too large.
    """
    name = name_of(source)
    with io.BufferedReader(open_file(source)) as file:
        if name.lower().endswith(".parquet"):
            found = _of_parquet(pa.PythonFile(file, mode="r"), name)
        else:
            data = file.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise LimitError(f"{name} has more than {_MOST_BYTES >> 20} MiB; cut it into several.")
            found = _of_csv(data, name) if name.lower().endswith(".csv") else _of_lines(text_of(data, name), name)
        names: list[str] = []
        characters = 0
        for each in found:
            if each and each.strip():
                names.append(each.strip().encode(errors="replace").decode())
                characters += len(each)
            if len(names) > _MOST_NAMES or characters > _MOST_CHARACTERS:
                raise LimitError(f"{name} names more than {_MOST_NAMES} files; cut it into several.")
    return Listed(names=tuple(names))


def _of_csv(data: bytes, name: str) -> Iterator[str]:
    yield from (named for named, _ in csv_rows(data, name, COLUMNS))


def _of_lines(text: str, name: str) -> Iterator[str | None]:
    column = None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceUnsupportedError(f"{name}, line {number}, isn't JSON: {error}.") from error
            if not isinstance(row, dict):
                raise SourceUnsupportedError(f"{name}, line {number}, is no JSON object.")
            column = column or column_of(list(row), COLUMNS, name)
            value = row.get(column)
            yield value if isinstance(value, str) else None


def _of_parquet(file: pa.PythonFile, name: str) -> Iterator[str | None]:
    try:
        parquet = pq.ParquetFile(file)
        column = column_of(parquet.schema_arrow.names, COLUMNS, name)
        if not pa.types.is_string(parquet.schema_arrow.field(column).type):
            raise SourceUnsupportedError(f"{name}: the column {column} holds no text.")
        for batch in parquet.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SourceUnsupportedError(f"{name} isn't Parquet that can be read: {error}.") from error
