"""What becomes of a stream's packets: the interface of all tracks, and those that are copied."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
from av.packet import Packet
from av.stream import Disposition, Stream

from pipelines.media.mux import Writer, write_errors


@dataclass(frozen=True)
class Clock:
    """The output's zero on the source's clock, and the output's length where it's cut."""

    zero: Fraction
    length: Fraction | None = None

    def offset(self, time_base: Fraction) -> int:
        return round(self.zero / time_base)

    def window(self, time_base: Fraction) -> "Window":
        """What of a stream is wanted, in its own times."""
        if self.length is None:
            return Window()
        begin = self.offset(time_base)
        return Window(begin, begin + math.ceil(self.length / time_base))

    def is_past(self, pts: int, time_base: Fraction) -> bool:
        return self.length is not None and pts * time_base >= self.length

    @property
    def cuts(self) -> bool:
        return self.length is not None


@dataclass(frozen=True)
class Window:
    """The part of a stream that is wanted: what is shown from ``begin_pts`` up to, but not at, ``end_pts``.

    In the stream's time base; ``None`` is open.
    """

    begin_pts: int | None = None
    end_pts: int | None = None

    def starts_after(self, pts: int) -> bool:
        return self.begin_pts is not None and pts < self.begin_pts

    def ends_before(self, pts: int) -> bool:
        return self.end_pts is not None and pts >= self.end_pts

    def holds(self, pts: int) -> bool:
        return not self.starts_after(pts) and not self.ends_before(pts)


class Track(Protocol):
    """Takes a stream's packets in order, then is finished once. ``done``: nothing that follows is wanted."""

    writer: Writer
    done: bool
    frames: int

    @property
    def decode_errors(self) -> int: ...

    def take(self, packet: "Packet[Any]") -> None: ...

    def finish(self) -> None: ...


class CopyTrack:
    """Passes packets on, shifted to the output's zero, up to its end.

    ``from_zero``: what lies before zero is cut off, since Matroska would shift every stream to make room for it.
    Sound that MP4 keeps there is an encoder's run-in, which isn't played.
    """

    def __init__(self, source: Stream, writer: Writer, clock: Clock, *, from_zero: bool = False) -> None:
        self.writer = writer
        self.done = False
        self.frames = 0
        self.decode_errors = 0
        self._from_zero = from_zero
        self._is_sound = source.type == "audio"
        self._is_cover = source.type == "video" and bool(source.disposition & Disposition.attached_pic)
        self._time_base = source.time_base or Fraction(1, 1000)
        self._clock = clock
        self._offset = clock.offset(self._time_base)
        self._undated: list[Packet[Any]] = []
        self._last_dts: int | None = None

    def take(self, packet: "Packet[Any]") -> None:
        if self._is_cover:  # it has no time, and libav writes none without
            packet.pts = packet.dts = 0
            self._write(packet)
            return
        if packet.pts is not None:
            packet.pts -= self._offset
        if packet.dts is not None:
            packet.dts -= self._offset
        elif self._last_dts is None:
            self._undated.append(packet)
            return
        else:
            packet.dts = self._last_dts + 1
        assert packet.dts is not None
        if packet.pts is None:
            packet.pts = packet.dts
        if self._clock.is_past(packet.pts, self._time_base):
            self.done = True
            return
        if self._is_sound and not packet.duration and self._last_dts is not None:
            packet.duration = packet.dts - self._last_dts  # MP4's last packet would end as it begins, and be left out
        if self._from_zero and packet.pts < 0:
            left = packet.pts + (packet.duration or 0)
            if left <= 0:
                return
            packet.pts, packet.dts, packet.duration = 0, 0, left
        if self._clock.length is not None and packet.duration:
            packet.duration = min(packet.duration, math.ceil(self._clock.length / self._time_base) - packet.pts)
        self._write_undated(packet.dts)
        self._write(packet)

    def finish(self) -> None:
        first = self._undated[0].pts if self._undated else None
        if first is not None:  # no packet has a decoding time: nothing is reordered
            self._write_undated(first + len(self._undated))

    def _write_undated(self, before: int) -> None:
        """Matroska doesn't tell when its first pictures are decoded: before the first that does, one tick apart."""
        for back, packet in zip(range(len(self._undated), 0, -1), self._undated, strict=True):
            packet.dts = before - back
            self._write(packet)
        self._undated = []

    def _write(self, packet: "Packet[Any]") -> None:
        self._last_dts = packet.dts
        with write_errors():
            self.writer.write(packet)


# What decoders say of data they can't make sense of; everything else is a fault of ours.
DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UndefinedError)


def flush_packet(time_base: Fraction) -> "Packet[Any]":
    """The empty packet that makes a decoder give out what it holds back."""
    packet: Packet[Any] = Packet()
    packet.time_base = time_base
    return packet
