"""Read packets without decoding one, and note what they tell."""

import math
from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.ticks import seconds

UNDATED = -(1 << 63)  # in place of a time
Ticks = NDArray[np.int64]
_ROUNDED_S = 0.002  # of two millisecond clocks


def packets_of(
    container: InputContainer, *streams: Stream, on_unlisted: Callable[[], None] = lambda: None
) -> "Iterator[Packet[Any]]":
    """The packets of some streams, or of all; at the end an empty one of each, which drains its decoder.

    ``on_unlisted`` is called at the end where libav came upon a stream that wasn't there when it opened the file, as in
    FLV: PyAV fails then, after all others were read.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:
            on_unlisted()
            return
        yield packet


def packets_to_end(container: InputContainer, name: str, *streams: Stream) -> "Iterator[Packet[Any]]":
    """As ``packets_of``.

    Raises:
        SourceUnreadableError: ``name`` can't be read to its end.
    """
    yield from to_end(packets_of(container, *streams), name)


def to_end(
    packets: "Iterator[Packet[Any]]", name: str, end: Fraction | None = None, needed: Collection[int] = ()
) -> "Iterator[Packet[Any]]":
    """``packets``, which may end where they can't be read on if ``needed``, some streams, were read up to ``end``.

    ``end`` is on the source's clock; ``None`` is its own.

    Raises:
        SourceUnreadableError: ``name`` can't be read as far.
    """
    read_s = dict.fromkeys(needed if end is not None else (), -math.inf)
    try:
        for packet in packets:
            index = packet.stream_index
            if index in read_s and packet.dts is not None:
                read_s[index] = max(read_s[index], seconds(packet.dts + (packet.duration or 0), packet.time_base))
            yield packet
    except av.error.FFmpegError as error:
        if end is None or min(read_s.values(), default=-math.inf) < float(end) - _ROUNDED_S:
            what = error.strerror or error
            raise SourceUnreadableError(f"{name} is damaged and can't be read to its end: {what}.") from error


def time_of(packet: "Packet[Any]") -> int | None:
    """When a packet is shown, as far as known: else when it is decoded."""
    return packet.pts if packet.pts is not None else packet.dts


@dataclass(kw_only=True)
class PacketTable:
    """The packets of a stream in order of decoding. Times are in its time base; ``UNDATED`` where there is none.

    ``hidden``: an edit list takes it out.
    """

    shown: "array[int]" = field(default_factory=lambda: array("q"))
    decoded: "array[int]" = field(default_factory=lambda: array("q"))
    durations: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    keys: "array[int]" = field(default_factory=lambda: array("b"))
    hidden: "array[int]" = field(default_factory=lambda: array("b"))

    def __len__(self) -> int:
        return len(self.sizes)

    def note(self, packet: "Packet[Any]") -> None:
        pts, dts = packet.pts, packet.dts
        self.shown.append(UNDATED if pts is None else pts)
        self.decoded.append(UNDATED if dts is None else dts)
        self.durations.append(packet.duration or 0)
        self.sizes.append(packet.size)
        self.keys.append(packet.is_keyframe)
        self.hidden.append(packet.is_discard)

    @property
    def times(self) -> Ticks:
        """When each packet is shown, as far as known: else when it is decoded."""
        shown, decoded = np.array(self.shown, np.int64), np.array(self.decoded, np.int64)
        return np.where(shown == UNDATED, decoded, shown)
