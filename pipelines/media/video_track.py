"""A picture track: decoded, filtered where needed, encoded, each frame at its source's time."""

from collections.abc import Sequence
from fractions import Fraction

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from pipelines.media.mux import Writer, write_errors
from pipelines.media.plan import VideoEncode
from pipelines.media.profiles import rate_of
from pipelines.media.source import shown_at
from pipelines.media.tracks import DAMAGE, Clock, flush_packet
from pipelines.media.video_filters import PictureGraph, encoding_steps, shape_of

_DEFAULT_RATE = Fraction(25)


class VideoTrack:
    def __init__(
        self, source: VideoStream, writer: Writer, clock: Clock, encode: VideoEncode, *, all_fields: bool
    ) -> None:
        """``all_fields``: take every frame for interlaced, whatever it's marked as."""
        assert isinstance(writer.stream, VideoStream)
        self.writer = writer
        self.done = False
        self.frames = 0
        self.decode_errors = 0
        self.decoded = 0
        self.position_s = 0.0
        self._encoder = writer.stream
        self._decoder = source.codec_context
        self._time_base = source.time_base or Fraction(1, 1000)
        self._clock = clock
        self._offset = clock.offset(self._time_base)
        self._encode_plan = encode
        self._all_fields = all_fields
        self._graph: PictureGraph | None = None
        self._shape: tuple[int, int, str, int, int] | None = None
        self._last_pts: int | None = None
        self._step = max(1, round(1 / (source.guessed_rate or _DEFAULT_RATE) / self._time_base))
        self._durations: dict[int, int] = {}
        rate = rate_of(encode.frame_rate) or _DEFAULT_RATE
        self._usual_duration = round(1 / rate / self._encoder.codec_context.time_base)

    def take(self, packet: "Packet[Stream]") -> None:
        try:
            frames = self._decoder.decode(packet)
        except DAMAGE:
            self.decode_errors += 1
            return
        except av.error.EOFError:
            return
        for frame in frames:
            self.decoded += 1
            self.decode_errors += frame.is_corrupt
            self._accept(frame)

    def finish(self) -> None:
        """Drain decoder, filters and encoder."""
        self.take(flush_packet(self._time_base))
        with write_errors():
            self._drain_graph()
            self._write(self._encoder.encode(None))

    def _accept(self, frame: VideoFrame) -> None:
        """Give ``frame`` its time in the output and pass it on if it's wanted there."""
        shown = self._source_pts(frame) - self._offset
        self.done = self.done or self._clock.is_past(shown, self._time_base)
        if self.done or (self._clock.cuts and shown < 0):
            return
        frame.pts = shown
        frame.time_base = self._time_base
        self.position_s = float(shown * self._time_base)
        with write_errors():
            self._filter(frame)

    def _source_pts(self, frame: VideoFrame) -> int:
        pts = shown_at(frame)
        if pts is None:  # a raw stream: pictures follow each other at its rate
            pts = self._offset if self._last_pts is None else self._last_pts + self._step
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1  # repeated times (old AVI and WMV); encoders want them rising
        self._last_pts = pts
        return pts

    def _filter(self, frame: VideoFrame) -> None:
        if self._shape != shape_of(frame):
            self._drain_graph()
            self._shape = shape_of(frame)
            steps = encoding_steps(frame, self._encode_plan, self._all_fields)
            self._graph = PictureGraph(frame, self._time_base, steps) if steps else None
        if self._graph is None:
            self._encode(frame)
            return
        for filtered in self._graph.run(frame):
            self._encode(filtered)

    def _drain_graph(self) -> None:
        if self._graph is not None:
            for filtered in self._graph.run(None):
                self._encode(filtered)
            self._graph = None

    def _encode(self, frame: VideoFrame) -> None:
        frame.pict_type = PictureType.NONE  # else x264 repeats the source's choice of keyframes
        self.frames += 1
        self._note_duration(frame)
        self._write(self._encoder.encode(frame))

    def _note_duration(self, frame: VideoFrame) -> None:
        assert frame.time_base is not None
        ratio = frame.time_base / self._encoder.codec_context.time_base
        self._durations[round((frame.pts or 0) * ratio)] = round(frame.duration * ratio) or self._usual_duration

    def _write(self, packets: "Sequence[Packet[Stream]]") -> None:
        for packet in packets:
            duration = self._durations.pop(packet.pts, self._usual_duration) if packet.pts is not None else 0
            packet.duration = packet.duration or duration  # SVT-AV1 leaves it out
            self.writer.write(packet)
