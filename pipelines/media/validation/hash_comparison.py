"""Compare the digests of a file's frames with those that were kept before."""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.media.demuxing import UNDATED, Ticks
from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.hash_file import Difference, HashComparison, HashedStream, Run, head_of

_KEPT_RUNS = 1000
_CODES: dict[Difference, str] = {
    "changed": "frame_changed",
    "missing": "frame_missing_now",
    "added": "frame_added",
    "moved": "frame_moved",
}
_Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Rows:
    """The digests of a stream in their order. ``times`` are ``UNDATED`` where there are none."""

    times: Ticks
    digests: NDArray[np.int64]


_NONE = _Rows(np.empty(0, np.int64), np.empty(0, np.int64))


def compare(source: Source, hashes: Path) -> HashComparison:
    """Compare the digests in ``hashes`` with those in ``source``, which were kept before.

    Raises:
        SourceUnsupportedError: ``source`` isn't a file of digests.
    """
    before, now = _opened(source), pq.read_table(hashes)
    log = FindingLog()
    then = {stream.index: stream for stream in head_of(before).streams}
    streams = {stream.index: stream for stream in head_of(now).streams} | then
    rows_then, rows_now = _rows(before), _rows(now)
    totals: Counter[Difference] = Counter()
    runs: list[Run] = []
    compared = 0
    for stream in sorted(head_of(now).streams, key=lambda each: each.index):
        if stream.header != streams[stream.index].header:
            log.add("header_differs", stream.index)
    for index in sorted(rows_then.keys() | rows_now.keys()):
        one, other = rows_then.get(index, _NONE), rows_now.get(index, _NONE)
        both = _matched(one.times, other.times)
        compared += len(both[0])
        found: list[Run] = []
        for what, rows, places in _differing(one, other, both):
            totals[what] += len(places)
            _note(log, _CODES[what], streams[index], rows.times[places])
            found += _runs(streams[index], what, rows.times, places)
        runs += sorted(found, key=lambda run: run.begin_s)
    return HashComparison(
        compared=compared,
        changed=totals["changed"],
        missing=totals["missing"],
        added=totals["added"],
        moved=totals["moved"],
        runs=tuple(runs[:_KEPT_RUNS]),
        findings=tuple(log),
    )


def _opened(source: Source) -> pa.Table:
    opened = open_file(source)
    try:
        with io.BufferedReader(opened) as file:
            table = pq.read_table(pa.PythonFile(file))
        head_of(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SourceUnsupportedError(
            f"{name_of(source)} isn't a file of frame hashes; give one that validate wrote with hashes set."
        ) from error
    return table


def _rows(table: pa.Table) -> dict[int, _Rows]:
    """Digests by stream, in their order."""
    streams = table.column("stream").to_numpy()
    times = table.column("pts").fill_null(UNDATED).to_numpy()
    digests = table.column("digest").combine_chunks().view(pa.int64()).fill_null(0).to_numpy()
    places = {int(index): np.flatnonzero(streams == index) for index in np.unique(streams)}
    return {index: _Rows(times[at], digests[at]) for index, at in places.items()}


def _matched(then: Ticks, now: Ticks) -> tuple[_Places, _Places]:
    """Where those are that there are in both, in the order of ``then``: the n-th at one time is the n-th at that."""
    numbers = np.unique(np.concatenate([then, now]), return_inverse=True)[1]
    most = len(numbers) + 1
    keys_then, keys_now = (each * most + _repeats(each) for each in (numbers[: len(then)], numbers[len(then) :]))
    _, at_then, at_now = np.intersect1d(keys_then, keys_now, assume_unique=True, return_indices=True)
    order = np.argsort(at_then)
    return at_then[order], at_now[order]


def _repeats(numbers: _Places) -> _Places:
    """How many equal ones come before each."""
    order = np.argsort(numbers, kind="stable")
    begins = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    repeats = np.empty_like(numbers)
    repeats[order] = np.arange(len(numbers)) - np.repeat(begins, np.diff(begins, append=len(numbers)))
    return repeats


def _differing(then: _Rows, now: _Rows, both: tuple[_Places, _Places]) -> Iterator[tuple[Difference, _Rows, _Places]]:
    """What differs, and at which places of which rows."""
    at_then, at_now = both
    changed = then.digests[at_then] != now.digests[at_now]
    moved = at_now < np.maximum.accumulate(at_now)
    yield "missing", then, _others(at_then, len(then.times))
    yield "changed", then, at_then[changed]
    yield "moved", then, at_then[moved & ~changed]
    yield "added", now, _others(at_now, len(now.times))


def _others(places: _Places, count: int) -> _Places:
    mask = np.ones(count, bool)
    mask[places] = False
    return np.flatnonzero(mask)


def _note(log: FindingLog, code: str, stream: HashedStream, times: Ticks) -> None:
    if len(times):
        dated = times[times != UNDATED]
        first_s, last_s = (_time(stream, dated.min()), _time(stream, dated.max())) if len(dated) else (None, None)
        log.add(code, stream.index, first_s, last_s=last_s, count=len(times))


def _runs(stream: HashedStream, what: Difference, times: Ticks, places: _Places) -> Iterator[Run]:
    """The first of those that follow each other."""
    begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    ends = np.append(begins[1:], len(places))
    for begin, end in zip(begins[:_KEPT_RUNS], ends, strict=False):
        first_s, last_s = _time(stream, times[places[begin]]) or 0.0, _time(stream, times[places[end - 1]]) or 0.0
        yield Run(stream=stream.index, what=what, begin_s=first_s, last_s=last_s, frames=int(end - begin))


def _time(stream: HashedStream, pts: np.int64) -> float | None:
    return None if pts == UNDATED else round(stream.seconds(int(pts)), 3)
