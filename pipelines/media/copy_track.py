"""A track that is copied: its packets as they are, at the output's times."""

import math
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.stream import Disposition, Stream

from pipelines.media.bitmap_subtitles import shows
from pipelines.media.damage import Damage
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.mux import Writer, write_errors
from pipelines.media.tracks import DAMAGE, Clock

_REFUSALS = (*DAMAGE, av.error.ArgumentError)  # of a packet without sense, or one that is decoded before the last


class CopyTrack:
    """Passes packets on, shifted to the output's zero, up to its end.

    ``from_zero``: what lies before zero is cut off, since Matroska would shift every stream to make room for it.
    Sound that MP4 keeps there is an encoder's run-in, which isn't played. ``damage``: packets that the container's
    muxer can't make sense of are left out, as far as that goes by it; else they are errors of writing.
    """

    def __init__(
        self, source: Stream, writer: Writer, clock: Clock, *, damage: Damage | None = None, from_zero: bool = False
    ) -> None:
        self.writer = writer
        self.done = False
        self.frames = 0
        self.damage = damage
        self._index = source.index
        self._from_zero = from_zero
        self._is_sound = source.type == "audio"
        self._is_cover = source.type == "video" and bool(source.disposition & Disposition.attached_pic)
        self._time_base = source.time_base or Fraction(1, 1000)
        self._clock = clock
        self._offset = clock.offset(self._time_base)
        self._decoder = source.codec_context.name if source.codec_context is not None else ""
        self._on_screen = False  # at the start, of what began before it
        self._undated: list[Packet[Any]] = []
        self._last_dts: int | None = None

    @property
    def decode_errors(self) -> int:
        return 0 if self.damage is None else self.damage.errors

    @property
    def warnings(self) -> tuple[str, ...]:
        if self._on_screen:
            return (f"Subtitle stream {self._index} loses what is on screen at the start: it began before.",)
        if not self.decode_errors:
            return ()
        lost = "1 packet is" if self.decode_errors == 1 else f"{self.decode_errors} packets are"
        way = "set audio_bitrate to have silence there" if self._is_sound else "set crf to encode it"
        return (f"Of copied stream {self._index}, {lost} damaged and left out; {way}.",)

    def take(self, packet: "Packet[Any]") -> None:
        if self.damage is not None:
            self.damage.reading(packet)
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
                self._on_screen = not packet.duration and shows(self._decoder, bytes(packet))
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
        if self.decode_errors and not self.writer.packets:
            raise SourceUnreadableError(
                f"Stream {self._index} can't be copied: not one packet is whole. "
                f"To encode it, set {'audio_bitrate' if self._is_sound else 'crf'}."
            )

    def _write_undated(self, before: int) -> None:
        """Matroska doesn't tell when its first pictures are decoded: before the first that does, one tick apart."""
        for back, packet in zip(range(len(self._undated), 0, -1), self._undated, strict=True):
            packet.dts = before - back
            self._write(packet)
        self._undated = []

    def _write(self, packet: "Packet[Any]") -> None:
        self._last_dts = packet.dts
        with write_errors():
            try:
                self.writer.write(packet)
            except _REFUSALS:
                if self.damage is None:
                    raise
                self.damage.found()
