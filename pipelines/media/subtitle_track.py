"""A subtitle track: text decoded and written in the form the output's container holds."""

from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet

from pipelines.media.mux import Writer, write_errors
from pipelines.media.tracks import Clock


class SubtitleTrack:
    """``warnings``: what of the part that is wanted is lost."""

    def __init__(self, source: SubtitleStream, writer: Writer, clock: Clock) -> None:
        assert isinstance(writer.stream, SubtitleStream)
        self.writer = writer
        self.done = False
        self.frames = 0
        self.decode_errors = 0
        self._encoder = writer.stream.codec_context
        self._decoder = source.codec_context
        self._time_base = source.time_base or Fraction(1, 1000)
        self._clock = clock
        self._source_index = source.index
        self._endless = 0
        self._offset = clock.offset(self._time_base)

    @property
    def warnings(self) -> tuple[str, ...]:
        if not self._endless:
            return ()
        lines = "1 line" if self._endless == 1 else f"{self._endless} lines"
        return (f"Subtitle stream {self._source_index} loses {lines}: the source doesn't tell how long to show them.",)

    def take(self, packet: "Packet[Any]") -> None:
        try:
            subtitle = self._decoder.decode2(packet)
        except av.error.FFmpegError:
            self.decode_errors += 1
            return
        if subtitle is None or not len(subtitle) or packet.pts is None:
            return
        begin = packet.pts - self._offset
        if not packet.duration:
            self._endless += begin >= 0 and not self._clock.is_past(begin, self._time_base)
            return
        end = begin + packet.duration
        if self._clock.length is not None:
            end = min(end, int(self._clock.length / self._time_base))
        begin = max(0, begin)  # what the output's borders cross is shortened
        if begin < end:
            self._write(subtitle, begin, end - begin)

    def finish(self) -> None:
        """Nothing is held back."""

    def _write(self, subtitle: SubtitleSet, begin: int, duration: int) -> None:
        with write_errors():
            packet = self._encoder.encode_subtitle(subtitle)
            packet.time_base = self._time_base
            packet.pts = packet.dts = begin
            packet.duration = duration
            self.frames += 1
            self.writer.write(packet)
