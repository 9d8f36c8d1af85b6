"""A sound track: decoded, its gaps filled with silence, resampled, encoded."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph
from av.packet import Packet

from pipelines.media.damage import Damage
from pipelines.media.mux import Writer, write_errors
from pipelines.media.plan import AudioEncode
from pipelines.media.source import shown_at
from pipelines.media.ticks import seconds
from pipelines.media.tracks import DAMAGE, Clock, flush_packet


class SoundDecoder:
    """Decodes a track into sound as the output has it, without gaps, which goes to ``on_frame``.

    ``gain_db`` makes it louder or softer, before it's brought into the encoder's ``sample_format``.
    """

    def __init__(
        self,
        source: AudioStream,
        clock: Clock,
        encode: AudioEncode,
        damage: Damage,
        sample_format: str,
        on_frame: Callable[[AudioFrame], None],
        gain_db: float = 0.0,
    ) -> None:
        self.done = False
        self.damage = damage
        self.decoded = 0
        self.position_s = 0.0
        self._decoder = source.codec_context
        self._time_base = source.time_base or Fraction(1, source.sample_rate)
        self._clock = clock
        self._offset = clock.offset(self._time_base)
        self._encode_plan = encode
        self._sample_format = sample_format
        self._on_frame = on_frame
        self._gain_db = gain_db
        self._graph: Graph | None = None
        self._shape: tuple[str, str, int] | None = None
        self._next_pts = self._offset

    @property
    def decode_errors(self) -> int:
        return self.damage.errors

    def take(self, packet: "Packet[Any]") -> None:
        self.damage.reading(packet)
        try:
            frames = self._decoder.decode(packet)
        except DAMAGE:
            self.damage.found()
            return
        except av.error.EOFError:
            return
        for frame in frames:
            self.accept(frame)

    def drain(self) -> None:
        """Drain decoder and filters."""
        self.take(flush_packet(self._time_base))
        self.drain_filters()

    def drain_filters(self) -> None:
        with write_errors():
            self._drain_graph()

    def accept(self, frame: AudioFrame) -> None:
        """Take a decoded frame; its time becomes that of the output."""
        self.decoded += 1
        ticks = round(Fraction(frame.samples, frame.sample_rate) / self._time_base)
        pts = shown_at(frame)
        pts = self._next_pts if pts is None else pts
        self._next_pts = pts + ticks
        shown = pts - self._offset
        self.done = self.done or self._clock.is_past(shown, self._time_base)
        if self.done or (self._clock.cuts and shown + ticks <= 0):
            return
        frame.pts = shown
        frame.time_base = self._time_base
        self.position_s = seconds(shown, self._time_base)
        with write_errors():
            self._filter(frame)

    def _filter(self, frame: AudioFrame) -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._graph is None or self._shape != shape:
            self._drain_graph()
            self._graph, self._shape = self._build_graph(frame), shape
        self._pass(frame)

    def _drain_graph(self) -> None:
        if self._graph is not None:
            self._pass(None)
            self._graph = None

    def _pass(self, frame: AudioFrame | None) -> None:
        assert self._graph is not None
        for filtered in through(self._graph, frame):
            self._on_frame(filtered)

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
        shape = f"channel_layouts={plan.channel_layout}:sample_rates={plan.sample_rate_hz}"
        if self._gain_db:
            # In floating point, as it was measured: other formats clip what is mixed down, and libav mixes it softer.
            nodes.append(graph.add("aformat", f"sample_fmts=fltp:{shape}"))
            nodes.append(graph.add("volume", f"volume={self._gain_db:.3f}dB"))
        nodes += [graph.add("aformat", f"sample_fmts={self._sample_format}:{shape}"), graph.add("abuffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


def through(graph: Graph, frame: AudioFrame | None) -> Iterator[AudioFrame]:
    """Push ``frame`` (``None`` ends the stream) and yield what comes out."""
    graph.push(frame)
    while True:
        try:
            filtered = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(filtered, AudioFrame)
        yield filtered


class AudioTrack(SoundDecoder):
    """``frames`` counts samples."""

    def __init__(
        self,
        source: AudioStream,
        writer: Writer,
        clock: Clock,
        encode: AudioEncode,
        damage: Damage,
        gain_db: float = 0.0,
    ) -> None:
        assert isinstance(writer.stream, AudioStream)
        self.writer = writer
        self.frames = 0
        self.warnings: tuple[str, ...] = ()
        self._encoder = writer.stream
        super().__init__(source, clock, encode, damage, self._encoder.format.name, self._encode, gain_db)

    def finish(self) -> None:
        """Drain decoder, filters and encoder."""
        self.drain()
        with write_errors():
            for packet in self._encoder.encode(None):
                self.writer.write(packet)

    def _encode(self, frame: AudioFrame) -> None:
        self.frames += frame.samples
        for packet in self._encoder.encode(frame):
            self.writer.write(packet)
