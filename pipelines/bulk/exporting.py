"""A collection's rows as a file: Parquet, CSV or JSON lines, written as they come."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Format = Literal["parquet", "csv", "jsonl"]
MEDIA_TYPES: Mapping[Format, str] = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
}


def write_rows(format_: Format, batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    """Write all batches; of the first, which may have no rows, the schema counts, too. How many rows there were."""
    return _WRITERS[format_](batches, file)


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it: times as in RFC 3339."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return value


def _parquet(batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    first = next(batches)
    count = len(first)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _jsonl(batches: Iterator[pa.RecordBatch], file: IO[bytes]) -> int:
    count = 0
    for batch in batches:
        lines = [json.dumps(as_json(row), ensure_ascii=False) + "\n" for row in batch.to_pylist()]
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
        writer.writerows([_cell(value) for value in row.values()] for row in batch.to_pylist())
        count += len(batch)
    text.detach()
    return count


def _cell(value: Any) -> Any:
    told = as_json(value)
    return json.dumps(told, ensure_ascii=False) if isinstance(told, (dict, list)) else told


_WRITERS: Mapping[Format, Callable[[Iterator[pa.RecordBatch], IO[bytes]], int]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
