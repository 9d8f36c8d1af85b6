"""Read what a file holds from its headers, and from its packets only where the headers don't tell."""

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.container import InputContainer

from pipelines.media.demuxing import packets_of
from pipelines.media.info import Chapter, MediaInfo
from pipelines.media.probing.header_dump import StreamDump, header_dump
from pipelines.media.probing.stream_info import stream_info
from pipelines.media.source import Source, open_input, size_of
from pipelines.media.timing import start_of

if TYPE_CHECKING:
    from av.container.core import Chapter as ContainerChapter

_LOWEST_BIT_RATE_BPS = 1000  # a header that implies less than this tells a duration that isn't so
_SCAN_LIMIT_BYTES = 256 * 2**20


def probe(source: Source, *, measured: bool = False) -> MediaInfo:
    """Read the technical metadata of ``source``.

    Where the headers don't tell how long it lasts, its packets do: of a file of more than 256 MiB only if it is to be
    ``measured``, for that takes as long as reading it.

    Raises:
        SourceError: see ``open_input``.
    """
    size_bytes = size_of(source)
    with open_input(source) as container:
        info = _read(container, size_bytes)
    if not _duration_is_plausible(info.duration_s, size_bytes) and (measured or size_bytes <= _SCAN_LIMIT_BYTES):
        info = _with_scanned_duration(source, info)
    return info


def _read(container: InputContainer, size_bytes: int) -> MediaInfo:
    dump = header_dump(container)
    start = start_of(container)
    return MediaInfo(
        container=container.format.name,
        container_name=container.format.long_name,
        size_bytes=size_bytes,
        duration_s=container.duration / av.time_base if container.duration else None,
        start_s=float(start),
        container_start_s=None if container.start_time is None else container.start_time / av.time_base,
        bit_rate_bps=container.bit_rate or None,
        streams=tuple(
            stream_info(container, stream, dump.streams.get(stream.index, StreamDump())) for stream in container.streams
        ),
        chapters=tuple(_chapter_info(chapter, start) for chapter in container.chapters()),
        programs=dump.programs,
        tags=dict(container.metadata),
    )


def _chapter_info(chapter: "ContainerChapter", start: Fraction) -> Chapter:
    time_base = chapter["time_base"] or Fraction(1)
    return Chapter(
        start_s=float(max(Fraction(0), chapter["start"] * time_base - start)),
        end_s=float(max(Fraction(0), chapter["end"] * time_base - start)),
        title=chapter["metadata"].get("title"),
        id=chapter["id"],
        time_base=str(time_base),
        start_pts=chapter["start"],
        end_pts=chapter["end"],
        tags=dict(chapter["metadata"]),
    )


def _duration_is_plausible(duration_s: float | None, size_bytes: int) -> bool:
    return duration_s is not None and size_bytes * 8 / duration_s >= _LOWEST_BIT_RATE_BPS


def _with_scanned_duration(source: Source, info: MediaInfo) -> MediaInfo:
    """Take the duration from the packets."""
    ends: dict[int, Fraction] = {}
    with open_input(source) as container:
        start = start_of(container)
        try:
            for packet in packets_of(container):
                if not packet.size or packet.stream.type not in {"video", "audio"}:
                    continue
                before = ends.get(packet.stream_index, Fraction(0))
                shown = before if packet.pts is None else packet.pts * packet.time_base  # raw streams have no times
                ends[packet.stream_index] = max(before, shown + (packet.duration or 0) * packet.time_base)
        except av.error.FFmpegError:
            pass  # what could be read until here tells the duration
    if not ends:
        return info.model_copy(update={"duration_s": None, "bit_rate_bps": None})
    duration_s = float(max(ends.values()) - start)
    bit_rate_bps = round(info.size_bytes * 8 / duration_s) if duration_s > 0 else None
    return info.model_copy(update={"duration_s": duration_s, "bit_rate_bps": bit_rate_bps})
