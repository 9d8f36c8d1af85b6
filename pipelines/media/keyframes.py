"""Where the keyframes of a picture are."""

import contextlib
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile

import av
from av.container import InputContainer
from av.stream import Stream

from pipelines.media.demuxing import packets_of, time_of
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.output_streams import MATROSKA
from pipelines.media.progress import ProgressMeter
from pipelines.media.reading import Reading
from pipelines.media.source import Source, open_input
from pipelines.media.ticks import end_s_of, seconds
from pipelines.media.truncation import ends_early, film_end_s

# What others call an index is of packets that were just read, keyframes or not (MPEG-TS).
_INDEXED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", MATROSKA, "avi", "flv"})
# An index whose last entry is farther from the end is of a part of the stream only.
_MOST_MISSING_S = 30.0
_MOST_MISSING = 0.1  # of the stream


@dataclass(frozen=True)
class Keyframes:
    """``times``: when keyframes are shown, rising, in the stream's time base.

    From an index that tells when they are decoded, they are a few frames early. ``end_s``: where the pictures that are
    there end, on the container's own clock, if the header doesn't tell rightly. ``cut_off``: a part of the file is
    missing. ``scanned``: all packets were read.
    """

    times: tuple[int, ...]
    end_s: float | None = None
    cut_off: bool = False
    scanned: bool = False

    def nearest(self, pts: int) -> int | None:
        """The place in ``times`` of the keyframe nearest to ``pts``; ``None`` if there is none."""
        if not self.times:
            return None
        after = bisect_left(self.times, pts)
        around = [place for place in (after - 1, after) if 0 <= place < len(self.times)]
        return min(around, key=lambda place: abs(self.times[place] - pts))


def find_keyframes(source: Source, info: MediaInfo, stream_index: int, meter: ProgressMeter) -> Keyframes:
    """Read them from the container's index; where it has none, or of a part only, from all packets.

    Packets are read as far as they can be: what is behind damage isn't there.
    """
    with open_input(source) as container:
        stream = container.streams[stream_index]
        found = _from_index(container, stream, info.size_bytes)
    if found is not None:
        return found
    with open_input(source) as container:
        return _from_packets(source, container, info, stream_index, meter)


def pictures_end_s(info: MediaInfo, video: VideoInfo, keyframes: Keyframes, start_s: float) -> float:
    """Where the pictures end, in seconds from the container's start, which is ``start_s`` on its own clock."""
    if keyframes.end_s is not None:
        return max(0.0, keyframes.end_s - start_s)
    return told_end_s(info, video, start_s)


def told_end_s(info: MediaInfo, video: VideoInfo, start_s: float) -> float:
    """``pictures_end_s`` as far as the headers tell."""
    if video.duration_s is not None:
        return max(0.0, (video.start_s or 0.0) - start_s) + video.duration_s
    return info.duration_s or 0.0


def cut_off_warning(name: str, info: MediaInfo, keyframes: Keyframes, end_s: float) -> tuple[str, ...]:
    """What is told of a film of which a part is missing; nothing of one that is whole."""
    if not keyframes.cut_off:
        return ()
    told = "" if info.duration_s is None else f" of {info.duration_s:.1f}"
    return (f"{name} was cut off: its pictures end after {end_s:.1f}{told} s.",)


def _from_index(container: InputContainer, stream: Stream, size_bytes: int) -> Keyframes | None:
    told = _told_span_s(container, stream)
    if told is None or container.format.name not in _INDEXED:
        return None
    with contextlib.suppress(av.error.FFmpegError):
        container.seek(stream.start_time or 0, stream=stream)  # Matroska's index is read when it's needed
    entries = list(stream.index_entries)
    time_base = stream.time_base or Fraction(1, 1000)
    if not entries or seconds(entries[-1].timestamp, time_base) < told[1] - min(
        _MOST_MISSING_S, _MOST_MISSING * (told[1] - told[0])
    ):
        return None
    there = list(takewhile(lambda entry: entry.pos + entry.size <= size_bytes, entries))
    cut_off = len(there) < len(entries)
    times = sorted({entry.timestamp for entry in there if entry.is_keyframe and not entry.is_discard})
    return Keyframes(
        tuple(times), seconds(entries[len(there)].timestamp, time_base) if cut_off else None, cut_off=cut_off
    )


def _told_span_s(container: InputContainer, stream: Stream) -> tuple[float, float] | None:
    """From when to when the stream is shown, as the header has it."""
    if stream.duration and stream.time_base:
        start_s = float((stream.start_time or 0) * stream.time_base)
        return start_s, start_s + float(stream.duration * stream.time_base)
    if container.duration:
        start_s = (container.start_time or 0) / av.time_base
        return start_s, start_s + container.duration / av.time_base
    return None


def _from_packets(
    source: Source, container: InputContainer, info: MediaInfo, stream_index: int, meter: ProgressMeter
) -> Keyframes:
    times: set[int] = set()
    end_s = None
    read = Reading(container)
    with contextlib.suppress(av.error.FFmpegError):
        for packet in packets_of(container):
            read.take(packet)
            shown = time_of(packet)
            if packet.stream_index != stream_index or not packet.size or shown is None:
                continue
            if packet.is_keyframe and not packet.is_discard:
                times.add(shown)
            end_s = max(end_s or 0.0, end_s_of(packet), seconds(shown, packet.time_base))
            meter.update(end_s, 0)
    cut_off = bool(read.shown_s) and ends_early(info, film_end_s(source, info, read.played_s, read.shown_s))
    return Keyframes(tuple(sorted(times)), end_s, cut_off=cut_off, scanned=True)
