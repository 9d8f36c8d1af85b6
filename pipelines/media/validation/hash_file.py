"""Digests of a file's frames, kept as Parquet: what later differs from them is rot, or another file.

A row for each frame of pictures in the order they are shown, and for each packet of sound in the order of decoding:
decoders of lossy sound round differently from one processor to the next.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file
from pipelines.media.validation.findings import FindingLog
from pipelines.media.validation.report import Finding

DIGEST_BYTES = 8
_KEY = b"mediaray.frame_hashes"
_VERSION = 1
_SCHEMA = pa.schema([("stream", pa.int16()), ("pts", pa.int64()), ("digest", pa.binary(DIGEST_BYTES))])
_KEPT_RUNS = 1000
_CODES = {"changed": "frame_changed", "missing": "frame_missing_now", "added": "frame_added"}


class HashedStream(BaseModel, frozen=True, extra="forbid"):
    """A stream whose frames or packets have digests. ``start`` is the container's, in seconds as a fraction.

    ``header`` is a digest of what its decoder is set up with, beside the packets.
    """

    index: int
    codec: str | None
    what: Literal["frames", "packets"]
    time_base: str
    start: str
    header: str

    def seconds(self, pts: int) -> float:
        return float(pts * Fraction(self.time_base) - Fraction(self.start))


class _Head(BaseModel, extra="forbid"):
    version: int
    streams: tuple[HashedStream, ...]


class HashFile(BaseModel, frozen=True, extra="forbid"):
    """What was written: how many digests."""

    count: int


class Run(BaseModel, frozen=True, extra="forbid"):
    """Frames of a stream that follow each other and differ: from the first to the last, in seconds from the start."""

    stream: int
    what: Literal["changed", "missing", "added"]
    begin_s: float
    last_s: float
    frames: int


class HashComparison(BaseModel, frozen=True, extra="forbid"):
    """``runs``: the first thousand, by stream and time."""

    compared: int
    changed: int
    missing: int
    added: int
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]


def write_rows(
    path: Path, streams: Iterable[HashedStream], numbers: Sequence[int], times: Sequence[int | None], digests: bytes
) -> None:
    """Write digests, ``DIGEST_BYTES`` each one behind the other, with their streams and times."""
    head = _Head(version=_VERSION, streams=tuple(streams))
    parts = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    table = pa.table([numbers, times, parts], schema=_SCHEMA)
    pq.write_table(table.replace_schema_metadata({_KEY: head.model_dump_json()}), path, compression="zstd")


def join_files(paths: Sequence[Path], target: Path) -> HashFile:
    """One file of the digests of several, each stream's in the order of the files."""
    tables = [pq.read_table(path) for path in paths]
    streams = {stream.index: stream for table in tables for stream in _head(table).streams}
    table = pa.concat_tables([each.replace_schema_metadata(None) for each in tables])
    order = pa.array(sorted(range(len(table)), key=table.column("stream").to_pylist().__getitem__), pa.int64())
    head = _Head(version=_VERSION, streams=tuple(streams[index] for index in sorted(streams)))
    table = table.take(order).replace_schema_metadata({_KEY: head.model_dump_json()})
    pq.write_table(table, target, compression="zstd")
    return HashFile(count=len(table))


def compare(source: Source, hashes: Path) -> HashComparison:
    """Compare the digests in ``hashes`` with those in ``source``, which were kept before.

    Raises:
        SourceUnsupportedError: ``source`` isn't a file of digests.
    """
    before, now = _opened(source), pq.read_table(hashes)
    log = FindingLog()
    then = {stream.index: stream for stream in _head(before).streams}
    rows_then, rows_now = _rows(before), _rows(now)
    totals: Counter[str] = Counter()
    runs: list[Run] = []
    for stream in sorted(_head(now).streams, key=lambda each: each.index):
        if stream.index in then and stream.header != then[stream.index].header:
            log.add("header_differs", stream.index)
    for index in sorted(rows_then.keys() | rows_now.keys()):
        stream = then.get(index) or next(each for each in _head(now).streams if each.index == index)
        found = list(_differing(rows_then.get(index, {}), rows_now.get(index, {})))
        totals.update(what for _, what in found)
        runs += _runs(stream, found, list(rows_then.get(index, rows_now.get(index, {}))))
        for key, what in found:
            log.add(_CODES[what], index, _time(stream, key))
    return HashComparison(
        compared=sum(len(rows_then[index].keys() & rows_now.get(index, {}).keys()) for index in rows_then),
        changed=totals["changed"],
        missing=totals["missing"],
        added=totals["added"],
        runs=tuple(runs[:_KEPT_RUNS]),
        findings=tuple(log),
    )


_Key = tuple[int | None, int]  # when it is shown, and how many were at that time before
_Rows = dict[_Key, bytes]


def _opened(source: Source) -> pa.Table:
    descriptor = open_file(source)
    try:
        with os.fdopen(descriptor, "rb") as file:
            table = pq.read_table(pa.PythonFile(file))
        _head(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SourceUnsupportedError(
            f"{name_of(source)} isn't a file of frame hashes; give one that validate wrote with hashes set."
        ) from error
    return table


def _head(table: pa.Table) -> _Head:
    try:
        head = _Head.model_validate(json.loads((table.schema.metadata or {})[_KEY]))
    except ValidationError as error:
        raise ValueError("not a head of frame hashes") from error
    if head.version != _VERSION or not table.schema.remove_metadata().equals(_SCHEMA):
        raise ValueError("frame hashes of another version")
    return head


def _rows(table: pa.Table) -> dict[int, _Rows]:
    """Digests by stream and key, in their order."""
    rows: dict[int, _Rows] = {}
    seen: Counter[tuple[int, int | None]] = Counter()
    columns = (table.column(name).to_pylist() for name in ("stream", "pts", "digest"))
    for stream, pts, digest in zip(*columns, strict=True):
        rows.setdefault(stream, {})[pts, seen[stream, pts]] = digest
        seen[stream, pts] += 1
    return rows


def _differing(then: _Rows, now: _Rows) -> Iterator[tuple[_Key, Literal["changed", "missing", "added"]]]:
    for key, digest in then.items():
        if key not in now:
            yield key, "missing"
        elif now[key] != digest:
            yield key, "changed"
    for key in now:
        if key not in then:
            yield key, "added"


def _runs(
    stream: HashedStream, found: Sequence[tuple[_Key, Literal["changed", "missing", "added"]]], order: Sequence[_Key]
) -> Iterator[Run]:
    places = {key: place for place, key in enumerate(order)}
    begin = 0
    for number in range(1, len(found) + 1):
        (key, what), last = found[begin], found[number - 1]
        follows = number < len(found) and found[number][1] == what
        place = places.get(last[0])
        if follows and place is not None and places.get(found[number][0]) == place + 1:
            continue
        first_s, last_s = _time(stream, key) or 0.0, _time(stream, last[0]) or 0.0
        yield Run(stream=stream.index, what=what, begin_s=first_s, last_s=last_s, frames=number - begin)
        begin = number


def _time(stream: HashedStream, key: _Key) -> float | None:
    return None if key[0] is None else round(stream.seconds(key[0]), 3)
