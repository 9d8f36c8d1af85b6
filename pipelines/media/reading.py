"""What reading a source tells of it, whichever stream a packet is of: where it ends, and what its container lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from av.container import InputContainer
from av.packet import Packet

from pipelines.media.damage import first_of
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.libav_log import ERROR, Message, captured_messages
from pipelines.media.plan import TranscodePlan
from pipelines.media.source import Source, open_input
from pipelines.media.ticks import end_s_of
from pipelines.media.timing import start_of

_LOOKED_AHEAD_S = 5.0  # libav reads as much when it opens a container, to see what is in it


class Reading:
    """``played_s`` and ``shown_s``: until when pictures and sound are shown, and anything, on the source's clock.

    A subtitle may be shown longer than there is a film.
    """

    def __init__(self, container: InputContainer, said: list[Message]) -> None:
        """``said``: what libav said while it opened the container; fills with what it says of what is read."""
        self.played_s = 0.0
        self.shown_s = 0.0
        self._read_s = 0.0  # until when the last packet is shown
        self._container = container.format.name
        self._played = {stream.index for stream in container.streams if stream.type in ("video", "audio")}
        self._start_s = float(start_of(container))
        self._said = said
        self._lost: list[tuple[float, float]] = []  # when the packets before and behind it are shown
        if self._damage_said():
            self._lost.append((self._start_s, self._start_s + _LOOKED_AHEAD_S))

    def take(self, packet: "Packet[Any]") -> None:
        """Note a packet; the empty ones at the end tell nothing."""
        if not packet.size:
            return
        before_s, end_s = self._read_s, end_s_of(packet)
        self.shown_s = max(self.shown_s, end_s)
        if packet.stream_index in self._played:
            self.played_s = max(self.played_s, end_s)
        if packet.is_corrupt or self._damage_said():
            self._lost.append((before_s, max(before_s, end_s)))
        self._read_s = end_s

    def lost_at_s(self, begin_s: float, end_s: float | None) -> list[float]:
        """When something is missing of what lies between, in seconds from the source's start."""
        if self._damage_said():  # behind the last packet
            self._lost.append((self._read_s, self._read_s))
        lost = [(begin - self._start_s, end - self._start_s) for begin, end in self._lost]
        return [round(begin, 3) for begin, end in lost if end >= begin_s and (end_s is None or begin < end_s)]

    def _damage_said(self) -> bool:
        damage = any(message[1] == self._container for message in self._said)
        del self._said[:]
        return damage


@contextmanager
def opened_reading(source: Source) -> "Iterator[tuple[InputContainer, Reading]]":
    """Open ``source``, as ``open_input`` does, and listen to what libav says of it.

    For one work of the process at a time, and without a decoder that has threads.
    """
    with captured_messages(ERROR) as said, open_input(source) as container:
        yield container, Reading(container, said)


def lost(plan: TranscodePlan, read: Reading) -> tuple[str, ...]:
    """The warning that goes with a source whose container lost some of what is wanted.

    Raises:
        SourceUnreadableError: it did, and the plan is to fail then.
    """
    times_s = read.lost_at_s(plan.start_s or 0.0, plan.end_s)
    if not times_s:
        return ()
    message = f"The source is damaged{first_of(len(times_s), times_s)}: what was there is lost"
    if plan.damage == "fail":
        raise SourceUnreadableError(f"{message}; repair it, or set damage to conceal.", time_s=times_s[0])
    return (f"{message}; look at the result.",)
