"""What becomes of a stream's packets: the interface of all tracks, and what they share."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
from av.packet import Packet

from pipelines.media.mux import Writer


@dataclass(frozen=True)
class Clock:
    """The output's zero on the source's clock, and its length where it's cut; ``start``: how much is cut off before."""

    zero: Fraction
    length: Fraction | None = None
    start: Fraction = Fraction(0)

    def offset(self, time_base: Fraction) -> int:
        return round(self.zero / time_base)

    def source_start(self, time_base: Fraction) -> int:
        return round((self.zero - self.start) / time_base)

    def window(self, time_base: Fraction) -> "Window":
        """What of a stream is wanted, in its own times."""
        if self.length is None:
            return Window()
        begin = self.offset(time_base)
        return Window(begin, begin + math.ceil(self.length / time_base))

    def is_past(self, pts: int, time_base: Fraction) -> bool:
        return self.length is not None and pts * time_base >= self.length

    @property
    def end(self) -> Fraction | None:
        """When the part that is wanted ends, on the source's clock; ``None`` is open."""
        return None if self.length is None else self.zero + self.length

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
    """Takes a stream's packets in order, then is finished once. ``done``: nothing that follows is wanted.

    ``decode_errors`` counts what is damaged of the source; ``warnings`` tell what else of it is lost.
    """

    writer: Writer
    done: bool
    frames: int

    @property
    def decode_errors(self) -> int: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def take(self, packet: "Packet[Any]") -> None: ...

    def finish(self) -> None: ...


# What decoders say of data they can't make sense of; everything else is a fault of ours.
DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UndefinedError)


def flush_packet(time_base: Fraction) -> "Packet[Any]":
    """The empty packet that makes a decoder give out what it holds back."""
    packet: Packet[Any] = Packet()
    packet.time_base = time_base
    return packet
