"""The quick look: container, timeline, and the first and last frames of each stream."""

import time
from collections.abc import Iterator

import numpy as np

from pipelines.media.demuxing import UNDATED
from pipelines.media.parts import Part
from pipelines.media.progress import OnProgress
from pipelines.media.source import Source
from pipelines.media.validation.cutting import entrances
from pipelines.media.validation.decoding import check_part
from pipelines.media.validation.entering import opens
from pipelines.media.validation.look import TAIL_S, Looked, look
from pipelines.media.validation.report import Checked, ValidationResult, conclude, merge
from pipelines.media.validation.scan import ScannedStream
from pipelines.media.validation.validate_spec import QUICK_BYTES

_PICTURES = 300  # of a long group of pictures
_SOUNDS = 25  # packets, about half a second
_TRIED = 3  # of the last keyframes: some can't be begun with, or are damaged
_RUN_IN = 12  # packets before: sound is carried over from some before it


def validate_quick(
    source: Source, on_progress: OnProgress, limit_bytes: int = QUICK_BYTES, tail_s: float = TAIL_S
) -> ValidationResult:
    """Validate ``source`` without decoding more than its edges.

    Of more than ``limit_bytes`` only so many are read, and the last ``tail_s`` seconds.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file, or it isn't a regular one.
    """
    started_s = time.monotonic()
    looked = look(source, on_progress, limit_bytes, tail_s)
    return validate_looked(source, looked, started_s)


def validate_looked(source: Source, looked: Looked, started_s: float) -> ValidationResult:
    """What ``look`` saw of ``source``, with the edges of its streams decoded. ``started_s``: monotonic.

    Raises:
        SourceNotFoundError, SourceUnsupportedError: there is no such file any more.
    """
    pieces = [check_part(source, part, 1, lambda _: None) for part in edges(source, looked)]
    merged = merge([looked.checked, *pieces])
    return conclude(
        Checked(findings=merged.findings, streams=merged.streams, elapsed_s=time.monotonic() - started_s),
        level="quick",
        packets_read="none" if looked.head is None else "all" if looked.whole else "part",
        decoded="edges" if pieces else "none",
    )


def edges(source: Source, looked: Looked) -> Iterator[Part]:
    """The first and the last group of pictures of each picture, and the first and last sounds of each track.

    Where packets have no times, as in raw streams, only the first can be told.
    """
    for stream in looked.decodable:
        if len(stream.sizes):
            last = stream if looked.tail is None else looked.tail.streams[stream.index]
            yield from _picture_edges(source, stream, last) if stream.kind == "video" else _sound_edges(stream, last)


def _picture_edges(source: Source, stream: ScannedStream, last: ScannedStream) -> Iterator[Part]:
    streams = (stream.index,)
    times = np.sort(stream.times)
    if len(times) <= _PICTURES and last is stream and sum(stream.keys) < 2:
        yield Part(streams=streams)
        return
    doors = entrances(stream)
    end = doors[1].pts if len(doors) > 1 and doors[1].place <= _PICTURES else int(times[min(_PICTURES, len(times) - 1)])
    if end == UNDATED:
        yield Part(streams=streams, packets=_PICTURES)
        return
    yield Part(streams=streams, end_pts=end, leading=True)
    for door in reversed(entrances(last)[-_TRIED:]):
        if last is stream and not door.place:
            return  # that is the first group, which was decoded
        rest = np.sort(last.times[door.place :])
        part = Part(
            streams=streams,
            key_pts=door.pts,
            key_bytes=door.size_bytes,
            begin_pts=door.pts,
            end_pts=int(rest[_PICTURES]) if len(rest) > _PICTURES else None,
        )
        if opens(source, last, part):
            yield part
            return


def _sound_edges(stream: ScannedStream, last: ScannedStream) -> Iterator[Part]:
    streams = (stream.index,)
    if last is stream and len(stream.sizes) <= 2 * (_SOUNDS + _RUN_IN):
        yield Part(streams=streams)
        return
    end = int(stream.times[min(_SOUNDS, len(stream.sizes) - 1)])
    if end == UNDATED:
        yield Part(streams=streams, packets=_SOUNDS)
        return
    yield Part(streams=streams, end_pts=end)
    begin = len(last.sizes) - _SOUNDS
    key = next((place for place in range(begin - _RUN_IN, -1, -1) if last.keys[place]), None)
    if key is not None and last.shown[key] != UNDATED:
        yield Part(
            streams=streams, key_pts=last.shown[key], key_bytes=last.sizes[key], begin_pts=int(last.times[begin])
        )
