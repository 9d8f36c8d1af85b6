"""What reading a source tells of it: where it ends, and where its container lost something.

A decoder doesn't hear of what a demuxer skips: the frames before and behind it are whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.packet import Packet

from pipelines.media.damage import Damage, first_of
from pipelines.media.demuxing import time_of
from pipelines.media.libav_log import ERROR, Message, captured_messages
from pipelines.media.output_streams import MATROSKA
from pipelines.media.plan import TranscodePlan
from pipelines.media.source import Source, open_input
from pipelines.media.ticks import end_s_of, rescaled
from pipelines.media.timing import start_of
from pipelines.media.tracks import Window

# What libav's demuxer says of Matroska where it looks for the next cluster, and where the file ends within an element.
# Of others of its errors nothing of the film is lost.
_SKIPPED = ("EBML number", "exceeds containing master element")
_ENDED = "ended prematurely"
_GAPLESS, _ROUNDED_MS = "flac", 2  # the container whose sound has no gap, unless libav leaves out what is no frame
_MARKS_TORN = "mpegts"  # the container whose packets are marked where some of their bytes are missing
_MARKED_BEFORE = 2  # packets: libav's parsers are one behind
_LOOKED_AHEAD_S = 5.0  # libav reads as much when it opens a container, to see what is in it
_MILLISECONDS = Fraction(1, 1000)


class Reading:
    """Shown each packet of a source.

    ``played_s`` and ``shown_s``: until when pictures and sound are shown, and anything, on the source's clock. A
    subtitle may be shown longer than there is a film. ``damage``: of the container, where that is listened to.
    """

    def __init__(self, container: InputContainer, plan: TranscodePlan | None = None, said: list[Message] | None = None):
        """``plan``: what is wanted. ``said``: what libav said, and fills with what it says.

        Raises:
            SourceUnreadableError: the container is damaged near its start, and the plan is to fail then.
        """
        self.played_s = 0.0
        self.shown_s = 0.0
        self.damage: Damage | None = None
        self._played = {stream.index for stream in container.streams if stream.type in ("video", "audio")}
        self._container = container.format.name
        self._said = [] if said is None else said
        self._read_ms = start_ms = round(start_of(container) / _MILLISECONDS)
        self._torn: dict[int, tuple[int, int]] = {}  # when a marked packet of a stream is shown; for how many it counts
        self._decoded: dict[int, int | None] = {}  # when the next packet of a stream is to be decoded
        self._ended = False
        if plan is None:
            return
        begin_ms = None if plan.start_s is None else start_ms + round(plan.start_s * 1000)
        end_ms = None if plan.end_s is None else start_ms + round(plan.end_s * 1000)
        self._wanted = Window(begin_ms, end_ms)
        self._kept = self._played & {stream.source_index for stream in plan.kept}
        self.damage = Damage("container", plan.damage, _MILLISECONDS, start_ms, self._wanted)
        if self._skipped() and (plan.start_s or 0.0) < _LOOKED_AHEAD_S:
            self.damage.found()

    def take(self, packet: "Packet[Any]") -> None:
        """Note a packet; the empty ones at the end tell nothing.

        Raises:
            SourceUnreadableError: the container is damaged before it, and the plan is to fail then.
        """
        if not packet.size:
            return
        index, end_s = packet.stream_index, end_s_of(packet)
        self.shown_s = max(self.shown_s, end_s)
        if index in self._played:
            self.played_s = max(self.played_s, end_s)
        if self.damage is None or index not in self._kept:
            return
        time = time_of(packet)
        begin_ms = self._read_ms if time is None else rescaled(time, packet.time_base, _MILLISECONDS)
        if self._skipped() or (self._container == _GAPLESS and begin_ms > self._read_ms + _ROUNDED_MS):
            self._lost(self._read_ms, begin_ms)
        torn_ms, left = self._torn.pop(index, (0, 0))
        if left and self._is_late(packet):
            self._lost(torn_ms, begin_ms)
        elif left > 1:
            self._torn[index] = torn_ms, left - 1
        if packet.is_corrupt and self._container == _MARKS_TORN:
            self._torn[index] = begin_ms, _MARKED_BEFORE
        self._decoded[index] = None if packet.dts is None else packet.dts + (packet.duration or 0)
        self._read_ms = max(begin_ms, round(end_s * 1000))

    def finish(self) -> None:
        """Note that the file ended within an element. Raises as ``take``."""
        if self.damage is not None and (self._skipped() or self._ended):
            end_ms = round(self.played_s * 1000)
            self._lost(end_ms, end_ms)

    def _is_late(self, packet: "Packet[Any]") -> bool:
        """Whether packets are missing before it. Where streams were joined, all are there, and one is marked."""
        expected = self._decoded.get(packet.stream_index)
        return expected is not None and packet.dts is not None and packet.dts - expected > (packet.duration or 0) // 2

    def _lost(self, begin_ms: int, end_ms: int) -> None:
        """Something between these: where that begins before what is wanted, it may reach into it."""
        assert self.damage is not None
        first_ms = self._wanted.begin_pts
        if first_ms is not None and begin_ms < first_ms < end_ms:
            begin_ms = first_ms
        self.damage.found(begin_ms)

    def _skipped(self) -> bool:
        """Whether the demuxer has said since the last time that it skips something."""
        if not self._said:
            return False
        texts = [text for _, name, text in self._said if name == self._container == MATROSKA]
        del self._said[:]
        self._ended = self._ended or any(_ENDED in text for text in texts)
        return any(part in text for text in texts for part in _SKIPPED)


@contextmanager
def opened_reading(source: Source, plan: TranscodePlan | None) -> "Iterator[tuple[InputContainer, Reading]]":
    """Open ``source``, as ``open_input`` does, and listen to what libav says of it; not where there is no ``plan``.

    For one work of the process at a time, and without a decoder that has threads.
    """
    if plan is None:
        with open_input(source) as container:
            yield container, Reading(container)
    else:
        with captured_messages(ERROR) as said, open_input(source) as container:
            yield container, Reading(container, plan, said)


def with_losses(plan: TranscodePlan, read: Reading) -> TranscodePlan:
    """``plan`` with what reading its source told to be lost."""
    if read.damage is None or not read.damage.errors:
        return plan
    times_s = tuple(read.damage.times_s)
    places = "" if read.damage.errors == 1 else f" in {read.damage.errors} places"
    where = first_of(read.damage.errors, times_s)
    warning = f"The source's container is damaged{places}{where}: what was there is lost; look at the result."
    return plan.model_copy(update={"warnings": (*plan.warnings, warning), "lost_at_s": times_s})
