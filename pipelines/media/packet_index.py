"""The index of a picture stream, read from its packets without decoding one."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipelines.media.demuxing import UNDATED, PacketTable, Ticks, packets_of, to_end
from pipelines.media.plan import TranscodePlan
from pipelines.media.reading import Reading, opened_reading
from pipelines.media.source import Source, name_of
from pipelines.media.timing import start_of
from pipelines.media.tracks import Window


@dataclass(frozen=True)
class PacketIndex:
    """The packets of a stream.

    ``doubtful``: why the times can't be relied on.
    """

    table: PacketTable
    time_base: Fraction
    doubtful: str | None = None

    @cached_property
    def shown(self) -> Ticks:
        """When the frame of each packet is shown, in order of decoding; ``UNDATED`` where that isn't known."""
        return self.table.times

    @cached_property
    def times(self) -> Ticks:
        """When frames are shown, rising; without those that an edit list takes out, which are decoded all the same."""
        return _rising(self.table)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Of the packets of ``times``, in bytes, in that order."""
        return np.array(self.table.sizes, np.int64)[_in_order(self.table)]

    @cached_property
    def key_places(self) -> NDArray[np.intp]:
        """The places of the keyframes that have a time."""
        return np.flatnonzero(np.array(self.table.keys, bool) & (self.shown != UNDATED))

    @cached_property
    def key_times(self) -> Ticks:
        """When keyframes are shown, rising."""
        return np.sort(self.shown[self.key_places])

    def within(self, window: Window) -> Ticks:
        """When the frames in ``window`` are shown, rising."""
        begin = 0 if window.begin_pts is None else np.searchsorted(self.times, window.begin_pts)
        end = len(self.times) if window.end_pts is None else np.searchsorted(self.times, window.end_pts)
        return self.times[begin:end]

    def usual_size(self, times: Ticks) -> float:
        """The median of the packets of ``times``, which follow each other, in bytes: keyframes don't weigh in it."""
        begin = int(np.searchsorted(self.times, times[0]))
        return float(np.median(self.sizes[begin : begin + len(times)]))

    def keyframe_before(self, pts: int) -> int:
        """When the last keyframe is shown of those shown at ``pts`` or before; else when the first packet is."""
        place = int(np.searchsorted(self.key_times, pts, "right"))
        return int(self.key_times[place - 1] if place else self.shown[0])

    def leading(self, times: Ticks) -> int:
        """How many of ``times`` come before the first keyframe: their frames may need one that isn't there."""
        return int((times < self.shown[0]).sum())

    def is_at(self, place: int, packets: "Sequence[Packet[Any]]") -> bool:
        """Whether ``packets`` are those of the index from ``place`` on."""
        here = PacketTable()
        for packet in packets:
            here.note(packet)
        there = slice(place, place + len(here))
        return (
            here.times.tolist() == self.shown[there].tolist()
            and here.sizes == self.table.sizes[there]
            and here.keys == self.table.keys[there]
            and here.hidden == self.table.hidden[there]
        )

    @property
    def even(self) -> bool:
        """Whether frames follow each other at one rate, but for the rounding of their times."""
        return evenly_spaced(self.times)


def evenly_spaced(times: Sequence[int] | Ticks) -> bool:
    """Whether rising times have one step, but for their rounding."""
    steps = np.diff(times)
    return bool(len(steps)) and int(steps.max() - steps.min()) <= 1


def read_index(source: Source, stream_index: int, plan: TranscodePlan | None = None) -> tuple[PacketIndex, Reading]:
    """Read every packet of ``source`` and note those of one stream, and what reading told.

    ``plan``: how far they are needed, and what becomes of damage.

    Raises:
        SourceUnreadableError: it can't be read to its end, or not as far; or it's damaged and the plan is to fail then.
    """
    table = PacketTable()
    with opened_reading(source, plan) as (container, read):
        stream = container.streams[stream_index]
        end = None if plan is None or plan.end_s is None else start_of(container) + Fraction(plan.end_s)
        for packet in to_end(packets_of(container), name_of(source), end, {stream_index}):
            read.take(packet)
            if packet.stream_index == stream_index and packet.size:
                table.note(packet)
        reordered = isinstance(stream, VideoStream) and bool(stream.codec_context.has_b_frames)
        doubtful = _doubt(table, reordered=reordered)
        return PacketIndex(table, stream.time_base or Fraction(1, 1000), doubtful), read


def _rising(table: PacketTable) -> Ticks:
    return table.times[_in_order(table)]


def _in_order(table: PacketTable) -> NDArray[np.intp]:
    """The places of the packets whose frames are shown, in order of showing."""
    times = table.times
    shown = np.flatnonzero((times != UNDATED) & ~np.array(table.hidden, bool))
    return shown[np.argsort(times[shown], kind="stable")]


def _doubt(table: PacketTable, *, reordered: bool) -> str | None:
    # Where frames are reordered, the time of decoding says nothing about the time of showing.
    known = np.array(table.shown, np.int64) if reordered else table.times
    if (known == UNDATED).any():
        return "some of its frames have no times"
    if (np.diff(_rising(table)) == 0).any():
        return "some of its frames have the same time"
    return None if len(table) and table.keys[0] else "it doesn't start with a keyframe"
