"""Compare the digests of a file's frames with those that were kept before."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.hash_file import Difference, HashComparison, HashedStream, Run, head_of

_KEPT_RUNS = 1000
_CODES = {
    "changed": "frame_changed",
    "missing": "frame_missing_now",
    "added": "frame_added",
    "moved": "frame_moved",
}


def compare(source: Source, hashes: Path) -> HashComparison:
    """Compare the digests in ``hashes`` with those in ``source``, which were kept before.

    Raises:
        SourceUnsupportedError: ``source`` isn't a file of digests.
    """
    before, now = _opened(source), pq.read_table(hashes)
    log = FindingLog()
    then = {stream.index: stream for stream in head_of(before).streams}
    rows_then, rows_now = _rows(before), _rows(now)
    totals: Counter[str] = Counter()
    runs: list[Run] = []
    for stream in sorted(head_of(now).streams, key=lambda each: each.index):
        if stream.index in then and stream.header != then[stream.index].header:
            log.add("header_differs", stream.index)
    for index in sorted(rows_then.keys() | rows_now.keys()):
        stream = then.get(index) or next(each for each in head_of(now).streams if each.index == index)
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
        moved=totals["moved"],
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
        head_of(table)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SourceUnsupportedError(
            f"{name_of(source)} isn't a file of frame hashes; give one that validate wrote with hashes set."
        ) from error
    return table


def _rows(table: pa.Table) -> dict[int, _Rows]:
    """Digests by stream and key, in their order."""
    rows: dict[int, _Rows] = {}
    seen: Counter[tuple[int, int | None]] = Counter()
    columns = (table.column(name).to_pylist() for name in ("stream", "pts", "digest"))
    for stream, pts, digest in zip(*columns, strict=True):
        rows.setdefault(stream, {})[pts, seen[stream, pts]] = digest
        seen[stream, pts] += 1
    return rows


def _differing(then: _Rows, now: _Rows) -> Iterator[tuple[_Key, Difference]]:
    places = {key: place for place, key in enumerate(now)}
    latest = -1
    for key, digest in then.items():
        if key not in now:
            yield key, "missing"
            continue
        if now[key] != digest:
            yield key, "changed"
        elif places[key] < latest:
            yield key, "moved"
        latest = max(latest, places[key])
    for key in now:
        if key not in then:
            yield key, "added"


def _runs(stream: HashedStream, found: Sequence[tuple[_Key, Difference]], order: Sequence[_Key]) -> Iterator[Run]:
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
