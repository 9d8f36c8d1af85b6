"""Digests of a file's frames, kept as Parquet: what later differs from them is rot, or another file.

A row for each frame of pictures in the order they are shown, and for each packet of sound in the order of decoding:
decoders of lossy sound round differently from one processor to the next.
"""

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from pipelines.media.validation.report import Finding

DIGEST_BYTES = 8
_KEY = b"mediaray.frame_hashes"
_VERSION = 1
_SCHEMA = pa.schema([("stream", pa.int16()), ("pts", pa.int64()), ("digest", pa.binary(DIGEST_BYTES))])


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


class Head(BaseModel, extra="forbid"):
    version: int
    streams: tuple[HashedStream, ...]


class HashFile(BaseModel, frozen=True, extra="forbid"):
    """What was written: how many digests."""

    count: int


Difference = Literal["changed", "missing", "added", "moved"]


class Run(BaseModel, frozen=True, extra="forbid"):
    """Frames of a stream that follow each other and differ: from the first to the last, in seconds from the start."""

    stream: int
    what: Difference
    begin_s: float
    last_s: float
    frames: int


class HashComparison(BaseModel, frozen=True, extra="forbid"):
    """``runs``: the first thousand, by stream and time."""

    compared: int
    changed: int
    missing: int
    added: int
    moved: int
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]


def write_rows(
    path: Path, streams: Iterable[HashedStream], numbers: Sequence[int], times: Sequence[int | None], digests: bytes
) -> None:
    """Write digests, ``DIGEST_BYTES`` each one behind the other, with their streams and times."""
    head = Head(version=_VERSION, streams=tuple(streams))
    parts = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    table = pa.table([numbers, times, parts], schema=_SCHEMA)
    pq.write_table(table.replace_schema_metadata({_KEY: head.model_dump_json()}), path, compression="zstd")


def join_files(paths: Sequence[Path], target: Path) -> HashFile:
    """One file of the digests of several, each stream's in the order of the files."""
    tables = [pq.read_table(path) for path in paths]
    streams = {stream.index: stream for table in tables for stream in head_of(table).streams}
    table = pa.concat_tables([each.replace_schema_metadata(None) for each in tables])
    head = Head(version=_VERSION, streams=tuple(streams[index] for index in sorted(streams)))
    table = table.take(pc.sort_indices(table.column("stream")))  # which is stable
    table = table.replace_schema_metadata({_KEY: head.model_dump_json()})
    pq.write_table(table, target, compression="zstd")
    return HashFile(count=len(table))


def head_of(table: pa.Table) -> Head:
    """What a file of digests says of itself. Raises ValueError or KeyError where it is none."""
    try:
        head = Head.model_validate(json.loads((table.schema.metadata or {})[_KEY]))
    except ValidationError as error:
        raise ValueError("not a head of frame hashes") from error
    if head.version != _VERSION or not table.schema.remove_metadata().equals(_SCHEMA):
        raise ValueError("frame hashes of another version")
    if not {stream.index for stream in head.streams}.issuperset(table.column("stream").unique().to_pylist()):
        raise ValueError("frame hashes of a stream that the head doesn't name")
    return head
