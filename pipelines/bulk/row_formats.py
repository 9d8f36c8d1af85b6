"""A collection's rows as a file: Parquet, CSV or JSON lines, written as they come."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.jobs.errors import InvalidError

Format = Literal["parquet", "csv", "jsonl"]
MEDIA_TYPES: Mapping[Format, str] = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
}


def write_rows(format_: Format, batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    """Write all batches; of the first, which may have no rows, the schema counts, too. How many rows there were.

    Raises:
        InvalidError: a column has values that the format can't hold.
    """
    return _WRITERS[format_](batches, file)


def plain_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as JSON has them: times as in RFC 3339, intervals as in ISO 8601; what isn't a finite number is None.

    Raises:
        InvalidError: a time lies before the year 1 or after 9999.
    """
    try:
        listed = rows.to_pylist()
    except (OverflowError, ValueError) as error:
        raise InvalidError("A time before the year 1 or after 9999 can't be told. Cast it to VARCHAR.") from error
    return [{name: _plain(value) for name, value in row.items()} for row in listed]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, pa.MonthDayNano):
        return _interval(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _interval(value: pa.MonthDayNano) -> str:
    """Without exponents, whatever its size; each part has its own sign."""
    return f"P{value.months}M{value.days}DT{Decimal(value.nanoseconds).scaleb(-9).normalize():f}S"


def _parquet(batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    first = _without_intervals(next(batches))
    count = len(first)
    try:
        writer = pq.ParquetWriter(file, first.schema, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise InvalidError("Parquet has no lists of intervals. Cast them to VARCHAR.") from error
    with writer:
        writer.write_batch(first)
        for batch in map(_without_intervals, batches):
            writer.write_batch(batch)
            count += len(batch)
    return count


def _without_intervals(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Parquet's own can't be read by most; these are text."""
    for number, field in enumerate(batch.schema):
        if pa.types.is_interval(field.type):
            told = [value and _interval(value) for value in batch.column(number).to_pylist()]
            batch = batch.set_column(number, field.name, pa.array(told, pa.string()))
    return batch


def _jsonl(batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    count = 0
    for batch in batches:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in plain_rows(batch)]
        file.write("".join(lines).encode())
        count += len(batch)
    return count


def _csv(batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    count = 0
    text = TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    for number, batch in enumerate(batches):
        if number == 0:
            writer.writerow(batch.schema.names)
        writer.writerows([_cell(value) for value in row.values()] for row in plain_rows(batch))
        count += len(batch)
    text.detach()
    return count


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


_WRITERS: Mapping[Format, Callable[[Iterator[pa.RecordBatch], IO[bytes]], int]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
