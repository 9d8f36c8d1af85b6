"""A picture track: decoded, filtered where needed, encoded, each frame at its source's time."""

from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from pipelines.media.damage import Damage
from pipelines.media.errors import OutputInvalidError
from pipelines.media.mux import Writer, write_errors
from pipelines.media.plan import VideoEncode
from pipelines.media.rate_cap import RateCap
from pipelines.media.source import shown_at
from pipelines.media.ticks import rescaled, seconds
from pipelines.media.tracks import DAMAGE, Clock, Window, flush_packet
from pipelines.media.video_filters import WARM_UP, PictureFilter, spatial_steps, temporal_steps

_MAX_DRIFT_S = 0.1  # three pictures of 30 a second


class VideoTrack:
    """``window`` is the part that is wanted, ``next_pts`` the first frame behind it that another track will take.

    ``times``: when the encoded frames are shown, in the encoder's time base. ``edges``: the first and the last encoded.
    ``last_duration``: how long the last is shown.
    ``first_pts`` and ``beyond_pts``: the first frame of the window, and the first behind it, on the source's clock.
    """

    def __init__(
        self,
        source: VideoStream,
        writer: Writer,
        clock: Clock,
        encode: VideoEncode,
        damage: Damage,
        *,
        window: Window | None = None,
        next_pts: int | None = None,
    ) -> None:
        assert isinstance(writer.stream, VideoStream)
        self.warnings: tuple[str, ...] = ()
        self.writer = writer
        self.done = False
        self.frames = 0
        self.damage = damage
        self.decoded = 0
        self.position_s = 0.0
        self.times: list[int] = []
        self.edges: list[VideoFrame] = []
        self.first_pts: int | None = None
        self.beyond_pts: int | None = None
        self.source_frames = 0
        self.last_duration = 0
        self._encoder = writer.stream
        self._decoder = source.codec_context
        self._time_base = source.time_base or Fraction(1, 1000)
        self._offset = clock.offset(self._time_base)
        self._source_start = clock.source_start(self._time_base)
        self._window = window or clock.window(self._time_base)
        self._next_shown = None if next_pts is None else next_pts - self._offset
        temporal = temporal_steps(encode)
        threads = self._decoder.thread_count
        self._temporal = PictureFilter(lambda _: temporal, threads, encode.telecine_rate)
        self._undoes_telecine = encode.telecine_rate is not None
        self._entered: int | None = None  # when the first frame that was filtered is shown
        self._ahead: int | None = None
        self._spatial = PictureFilter(lambda frame: spatial_steps(frame, encode), threads)
        self._warm_up = WARM_UP if temporal else 0
        self._before: deque[VideoFrame] = deque(maxlen=self._warm_up)
        self._beyond = 0
        self._last_pts: int | None = None
        self._step = max(1, round(1 / (source.guessed_rate or encode.frame_rate) / self._time_base))
        self._durations: dict[int, int] = {}
        self._cap = RateCap(encode.frame_rate, self._time_base) if encode.capped else None
        self._ticks = self._encoder.codec_context.time_base
        self._usual_duration = round(1 / encode.frame_rate / self._ticks)

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
            self.decoded += 1
            if frame.is_corrupt:
                self.damage.found(shown_at(frame))
            self._accept(frame)

    def finish(self, on_packet: Callable[[], None] = lambda: None) -> None:
        """Drain decoder, filters and encoder, which may hold back most of a chunk; ``on_packet`` after each packet."""
        if not self.done:
            self.take(flush_packet(self._time_base))
        with write_errors():
            for filtered in self._temporal.drain():
                self._choose(filtered)
            if self._cap is not None and (last := self._cap.finish(self._next_shown)) is not None:
                self._scale(last)
            for scaled in self._spatial.drain():
                self._encode(scaled)
            for packet in self._encoder.encode_lazy(None):
                self._write([packet])
                on_packet()
        if self._undoes_telecine and self.times:  # the filter counts pictures, and gives them times by that
            drift_s = seconds(self.times[-1], self._ticks) - self.position_s
            if abs(drift_s) > _MAX_DRIFT_S + seconds(self._usual_duration, self._ticks):
                raise OutputInvalidError(
                    f"Undoing telecine moved the picture by {drift_s:.2f} s; set deinterlace to on."
                )

    def _accept(self, frame: VideoFrame) -> None:
        """Give ``frame`` its time in the output and pass it on if it's wanted there, or beside it by the filters."""
        pts = self._source_pts(frame)
        if self.done:
            return
        frame.pts = pts - self._offset
        frame.time_base = self._time_base
        if self._window.starts_after(pts):
            self._before.append(frame)
            return
        if self._window.ends_before(pts):
            self.beyond_pts = pts if self.beyond_pts is None else self.beyond_pts
            self.done = self._beyond >= self._warm_up
            self._beyond += 1
            if not self.done:
                with write_errors():
                    self._filter(frame)
            return
        self.first_pts = pts if self.first_pts is None else self.first_pts
        self.source_frames += 1
        self.position_s = seconds(frame.pts, self._time_base)
        with write_errors():
            while self._before:
                self._filter(self._before.popleft())
            self._filter(frame)

    def _source_pts(self, frame: VideoFrame) -> int:
        pts = shown_at(frame)
        if pts is None:  # a raw stream: pictures follow each other at its rate
            pts = self._source_start if self._last_pts is None else self._last_pts + self._step
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1  # repeated times (old AVI and WMV); encoders want them rising
        self._last_pts = pts
        return pts

    def _filter(self, frame: VideoFrame) -> None:
        assert frame.pts is not None
        self._entered = frame.pts if self._entered is None else self._entered
        for filtered in self._temporal.run(frame):
            self._choose(filtered)

    def _choose(self, frame: VideoFrame) -> None:
        """Leave out what only warmed up the filters, and what is above the frame rate's bound."""
        assert frame.pts is not None
        assert frame.time_base is not None
        if self._undoes_telecine:  # the filter counts on from a time of its own
            if self._ahead is None:
                self._ahead = frame.pts - rescaled(self._entered or 0, self._time_base, frame.time_base)
            frame.pts -= self._ahead
        shown = rescaled(frame.pts, frame.time_base, self._time_base)
        if not self._window.holds(shown + self._offset):
            return
        if self._cap is None:
            self._scale(frame)
        elif (chosen := self._cap.push(frame, shown, self._step)) is not None:
            self._scale(chosen)

    def _scale(self, frame: VideoFrame) -> None:
        for scaled in self._spatial.run(frame):
            self._encode(scaled)

    def _encode(self, frame: VideoFrame) -> None:
        frame.pict_type = PictureType.NONE  # else x264 repeats the source's choice of keyframes
        self.frames += 1
        self._note(frame)
        self._write(self._encoder.encode(frame))

    def _note(self, frame: VideoFrame) -> None:
        assert frame.time_base is not None
        time = rescaled(frame.pts or 0, frame.time_base, self._ticks)
        duration = rescaled(frame.duration, frame.time_base, self._ticks) or self._usual_duration
        self.last_duration = self._durations[time] = duration
        self.times.append(time)
        self.edges[1:] = [frame]

    def _write(self, packets: "Sequence[Packet[Any]]") -> None:
        for packet in packets:
            duration = self._durations.pop(packet.pts, self._usual_duration) if packet.pts is not None else 0
            packet.duration = packet.duration or duration  # SVT-AV1 leaves it out
            self.writer.write(packet)
