"""The index of a picture stream, read from its packets without decoding one."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import av
from av.packet import Packet
from av.video.stream import VideoStream

from pipelines.media.demuxing import packets_of, time_of
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.ticks import end_s_of


@dataclass(frozen=True)
class Entry:
    """A packet: when its frame is shown, in the stream's time base, and how many bytes it has.

    ``shown``: an edit list doesn't take it out.
    """

    pts: int
    size_bytes: int
    keyframe: bool
    shown: bool


def entry_of(packet: "Packet[Any]") -> Entry:
    """The entry of a packet that has a time."""
    pts = time_of(packet)
    assert pts is not None
    return Entry(pts, packet.size, packet.is_keyframe, not packet.is_discard)


@dataclass(frozen=True)
class PacketIndex:
    """The packets of a stream. ``entries`` are in order of decoding, ``times`` when their frames are shown, rising.

    ``doubtful``: why the times can't be relied on.
    """

    entries: tuple[Entry, ...]
    times: tuple[int, ...]
    time_base: Fraction
    doubtful: str | None
    end_s: float

    def keyframe_before(self, pts: int) -> Entry:
        """The last keyframe, in order of decoding, that is shown at ``pts`` or before; else the first packet."""
        keys = self._keyframes
        place = bisect_right(keys, pts, key=lambda entry: entry.pts)
        return keys[place - 1] if place else self.entries[0]

    def leads(self, pts: int) -> bool:
        """Whether the frame shown at ``pts`` comes before the first keyframe: it may need one that isn't there."""
        return pts < self.entries[0].pts

    @property
    def trimmed(self) -> bool:
        """Whether an edit list takes some out, which are decoded all the same."""
        return not all(entry.shown for entry in self.entries)

    @property
    def even(self) -> bool:
        """Whether frames follow each other at one rate, but for the rounding of their times."""
        return evenly_spaced(self.times)

    @cached_property
    def _keyframes(self) -> Sequence[Entry]:
        return sorted((entry for entry in self.entries if entry.keyframe), key=lambda entry: entry.pts)


def evenly_spaced(times: Sequence[int]) -> bool:
    """Whether rising times have one step, but for their rounding."""
    steps = [after - before for before, after in pairwise(times)]
    return bool(steps) and max(steps) - min(steps) <= 1


def read_index(source: Source, stream_index: int) -> PacketIndex:
    """Read every packet of ``source`` and note those of one stream.

    Raises:
        SourceUnreadableError: it can't be read to its end.
    """
    entries: list[Entry] = []
    undated = False
    end_s = 0.0
    with open_input(source) as container:
        stream = container.streams[stream_index]
        time_base = stream.time_base or Fraction(1, 1000)
        reordered = isinstance(stream, VideoStream) and stream.codec_context.has_b_frames
        try:
            for packet in packets_of(container):
                end_s = max(end_s, end_s_of(packet))
                if packet.stream_index != stream_index or not packet.size:
                    continue
                pts = time_of(packet)
                # Where frames are reordered, the time of decoding says nothing about the time of showing.
                undated = undated or pts is None or (packet.pts is None and reordered)
                if pts is not None:
                    entries.append(entry_of(packet))
        except av.error.FFmpegError as error:
            raise SourceUnreadableError(
                f"{name_of(source)} is damaged and can't be read to its end: {error}."
            ) from error
    times = sorted(entry.pts for entry in entries if entry.shown)
    return PacketIndex(tuple(entries), tuple(times), time_base, _doubt(entries, times, undated), end_s)


def _doubt(entries: Sequence[Entry], times: Sequence[int], undated: bool) -> str | None:
    if undated:
        return "some of its frames have no times"
    if len(set(times)) < len(times):
        return "some of its frames have the same time"
    if not entries or not entries[0].keyframe:
        return "it doesn't start with a keyframe"
    return None
