"""From a source's packets to the output's: one track per stream that is kept."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from pipelines.media.mux import Writer, write_errors
from pipelines.media.plan import AudioEncode, VideoEncode
from pipelines.media.profiles import rate_of
from pipelines.media.video_filters import PictureGraph, encoding_steps, shape_of


@dataclass(frozen=True)
class Clock:
    """The output's zero on the source's clock, and the output's length where it's cut."""

    zero: Fraction
    length: Fraction | None = None

    def offset(self, time_base: Fraction) -> int:
        return round(self.zero / time_base)

    def is_past(self, pts: int, time_base: Fraction) -> bool:
        return self.length is not None and pts * time_base >= self.length


class Track(Protocol):
    """Takes a stream's packets in order, then is finished once. ``done``: nothing that follows is wanted."""

    writer: Writer
    done: bool
    frames: int
    decode_errors: int

    def take(self, packet: "Packet[Stream]") -> None: ...

    def finish(self) -> None: ...


class CopyTrack:
    """Passes packets on, shifted to the output's zero.

    ``from_zero``: what lies before zero is cut off, since Matroska would shift every stream to make room for it.
    Sound that MP4 keeps there is an encoder's run-in, which isn't played.
    """

    def __init__(self, source: Stream, writer: Writer, clock: Clock, *, from_zero: bool = False) -> None:
        self._from_zero = from_zero
        self.writer = writer
        self.done = False
        self.frames = 0
        self.decode_errors = 0
        self._offset = clock.offset(source.time_base or Fraction(1, 1000))
        self._undated: list[Packet[Stream]] = []
        self._last_dts: int | None = None

    def take(self, packet: "Packet[Stream]") -> None:
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
        if self._from_zero and packet.pts is not None and packet.pts < 0:
            left = packet.pts + (packet.duration or 0)
            if left <= 0:
                return
            packet.pts, packet.dts, packet.duration = 0, 0, left
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

    def _write(self, packet: "Packet[Stream]") -> None:
        self._last_dts = packet.dts
        with write_errors():
            self.writer.write(packet)


class VideoTrack:
    """Decodes, filters where needed, encodes."""

    def __init__(
        self, source: VideoStream, writer: Writer, clock: Clock, encode: VideoEncode, all_fields: bool
    ) -> None:
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
        self._offset = clock.offset(self._time_base)
        self._clock = clock
        self._encode_plan = encode
        self._all_fields = all_fields
        self._graph: PictureGraph | None = None
        self._shape: tuple[int, int, str, int, int] | None = None
        self._last_in: int | None = None
        self._durations: dict[int, int] = {}
        rate = rate_of(encode.frame_rate) or Fraction(30)
        self._usual_duration = round(1 / rate / self._encoder.codec_context.time_base)

    def take(self, packet: "Packet[Stream]") -> None:
        self._decode(packet)

    def finish(self) -> None:
        """Drain decoder, filters and encoder."""
        flush: Packet[Stream] = Packet()
        flush.time_base = self._time_base
        self._decode(flush)
        with write_errors():
            self._drain_graph()
            self._write(self._encoder.encode(None))

    def _decode(self, packet: "Packet[Stream]") -> None:
        try:
            frames = self._decoder.decode(packet)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UndefinedError):
            self.decode_errors += 1
            return
        except av.error.EOFError:
            return
        for frame in frames:
            self.decoded += 1
            self.decode_errors += frame.is_corrupt
            self._accept(frame)

    def _accept(self, frame: VideoFrame) -> None:
        """Give ``frame`` its time in the output and pass it on if it's wanted there."""
        pts = self._last_in + 1 if frame.pts is None and self._last_in is not None else (frame.pts or 0)
        if self._last_in is not None and pts <= self._last_in:
            pts = self._last_in + 1  # repeated timestamps (old AVI and WMV): encoders want them rising
        self._last_in = pts
        shown = pts - self._offset
        if self._clock.length is not None or self._clock.zero > 0:
            if self._clock.is_past(shown, self._time_base):
                self.done = True
            if self.done or (shown < 0 and self._clock.length is not None):
                return
        frame.pts = shown
        frame.time_base = self._time_base
        self.position_s = float(shown * self._time_base)
        with write_errors():
            self._filter(frame)

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
        pts = round((frame.pts or 0) * ratio)
        self._durations[pts] = round(frame.duration * ratio) or self._usual_duration

    def _write(self, packets: "list[Packet[Stream]]") -> None:
        for packet in packets:
            duration = self._durations.pop(packet.pts, self._usual_duration) if packet.pts is not None else 0
            packet.duration = packet.duration or duration  # SVT-AV1 leaves it out
            self.writer.write(packet)


class AudioTrack:
    """Decodes, closes gaps with silence, resamples, encodes."""

    def __init__(self, source: AudioStream, writer: Writer, clock: Clock, encode: AudioEncode) -> None:
        assert isinstance(writer.stream, AudioStream)
        self.writer = writer
        self.done = False
        self.frames = 0
        self.decode_errors = 0
        self.decoded = 0
        self.position_s = 0.0
        self._encoder = writer.stream
        self._decoder = source.codec_context
        self._time_base = source.time_base or Fraction(1, source.sample_rate)
        self._clock = clock
        self._offset = clock.offset(self._time_base)
        self._encode_plan = encode
        self._graph: Graph | None = None
        self._shape: tuple[str, str, int] | None = None
        self._next_pts: int | None = None

    def take(self, packet: "Packet[Stream]") -> None:
        self._decode(packet)

    def finish(self) -> None:
        flush: Packet[Stream] = Packet()
        flush.time_base = self._time_base
        self._decode(flush)
        with write_errors():
            self._drain_graph()
            for packet in self._encoder.encode(None):
                self.writer.write(packet)

    def _decode(self, packet: "Packet[Stream]") -> None:
        try:
            frames = self._decoder.decode(packet)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UndefinedError):
            self.decode_errors += 1
            return
        except av.error.EOFError:
            return
        for frame in frames:
            self.decoded += 1
            self._accept(frame)

    def _accept(self, frame: AudioFrame) -> None:
        ticks = round(Fraction(frame.samples, frame.sample_rate) / self._time_base)
        if frame.pts is None:
            frame.pts = self._next_pts if self._next_pts is not None else self._offset
        self._next_pts = frame.pts + ticks
        shown = frame.pts - self._offset
        if self._clock.is_past(shown, self._time_base):
            self.done = True
            return
        if shown + ticks <= 0 and self._clock.length is not None:
            return
        frame.pts = shown
        frame.time_base = self._time_base
        self.position_s = float(shown * self._time_base)
        with write_errors():
            self._filter(frame)

    def _filter(self, frame: AudioFrame) -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._graph is None or self._shape != shape:
            self._drain_graph()
            self._graph, self._shape = self._build_graph(frame), shape
        self._graph.push(frame)
        self._pull()

    def _drain_graph(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
            self._graph = None

    def _pull(self) -> None:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, AudioFrame)
            self.frames += frame.samples
            for packet in self._encoder.encode(frame):
                self.writer.write(packet)

    def _build_graph(self, frame: AudioFrame) -> Graph:
        plan = self._encode_plan
        graph = Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=self._time_base,
            )
        ]
        if self._clock.length is not None:
            nodes.append(graph.add("atrim", f"start=0:end={float(self._clock.length):.9f}"))
        # async=1 fills gaps with silence and cuts overlaps beyond 30 ms; less is the jitter of millisecond clocks.
        nodes.append(graph.add("aresample", f"{plan.sample_rate_hz}:async=1:min_hard_comp=0.03"))
        target = (
            f"sample_fmts={self._encoder.format.name}:channel_layouts={plan.channel_layout}"
            f":sample_rates={plan.sample_rate_hz}"
        )
        nodes += [graph.add("aformat", target), graph.add("abuffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


class SubtitleTrack:
    """Decodes text subtitles and writes them in the form the output's container holds."""

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
        self._offset = clock.offset(self._time_base)

    def take(self, packet: "Packet[Stream]") -> None:
        try:
            subtitle = self._decoder.decode2(packet)
        except av.error.FFmpegError:
            self.decode_errors += 1
            return
        if subtitle is None or not len(subtitle) or packet.pts is None:
            return
        begin = packet.pts - self._offset
        end = begin + (packet.duration or 0)
        if self._clock.length is not None:
            end = min(end, int(self._clock.length / self._time_base))
        begin = max(0, begin)  # what the output's borders cross is shortened
        if begin < end:
            self._write(subtitle, begin, end - begin)

    def _write(self, subtitle: SubtitleSet, shown: int, duration: int) -> None:
        with write_errors():
            packet = self._encoder.encode_subtitle(subtitle)
            packet.time_base = self._time_base
            packet.pts = packet.dts = shown
            packet.duration = duration
            self.frames += 1
            self.writer.write(packet)

    def finish(self) -> None: ...
