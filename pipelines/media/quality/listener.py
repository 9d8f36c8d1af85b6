"""Measures quality as a pass over a film goes on."""

import math
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipelines.media.info import VideoInfo
from pipelines.media.passes import Fault
from pipelines.media.probing.bars import luma_of
from pipelines.media.probing.probe_result import Silence
from pipelines.media.probing.silence import SilenceMeter
from pipelines.media.quality.flaws import FlawMeter
from pipelines.media.quality.measures import Luma, measure
from pipelines.media.quality.quality_spec import Flaw, Measured, Point
from pipelines.media.quality.quantiser import QuantiserMeter
from pipelines.media.source import shown_at
from pipelines.media.ticks import seconds
from pipelines.media.timing import start_of
from pipelines.media.video_plan import nominal_rate
from pipelines.media.waveform.sound_peaks import channels_of, form_of

_STEP = 4  # pixels: every fourth of every fourth line tells whether a picture is black, or as the one before
_BLACK_SHARE = 0.98  # blackdetect's picture_black_ratio_th
_FROZEN = 0.001  # freezedetect's noise, of the whole range
_FULL_SCALE = 1 - 2**-15  # of 16 bits, the highest sample
_CLIPPED_RUN = 3  # samples in a row: one may be there by chance


class QualityListener:
    """Measures the picture ``video``, if there is one, each ``every_s`` seconds, and all sound that it hears."""

    def __init__(self, video: VideoInfo | None, every_s: float) -> None:
        self._video = video
        self._every_s = every_s
        self._start = Fraction(0)
        self._picture: _Picture | None = None
        self._sounds: dict[int, _Sound] = {}

    def opened(self, container: InputContainer) -> None:
        self._start = start_of(container)
        if self._video is not None:
            stream = container.streams[self._video.index]
            self._picture = _Picture(stream, float(1 / nominal_rate(self._video)), self._every_s, self._start)

    def packet(self, packet: "Packet[Any]") -> None:
        if self._picture is not None and packet.stream_index == self._picture.index:
            self._picture.packet(packet)

    def picture(self, stream: int, frame: VideoFrame) -> None:
        if self._picture is not None and stream == self._picture.index:
            self._picture.take(frame)

    def sound(self, stream: int, frame: AudioFrame) -> None:
        if stream not in self._sounds:
            self._sounds[stream] = _Sound(stream, self._start)
        self._sounds[stream].take(frame)

    def fault(self, fault: Fault) -> None:
        """Damage is for others to tell of."""

    def leap(self) -> None:
        """What comes next doesn't follow what came before."""
        if self._picture is not None:
            self._picture.leap()
        for sound in self._sounds.values():
            sound.leap()

    def result(self) -> Measured:
        """What was measured, once the pass is over."""
        flaws: list[Flaw] = []
        points: tuple[Point, ...] = ()
        if self._picture is not None:
            points = self._picture.points()
            flaws += self._picture.flaws()
        for sound in self._sounds.values():
            flaws += sound.flaws()
        return Measured(
            points=points,
            flaws=tuple(flaws),
            pictures=0 if self._picture is None else self._picture.count,
            samples=sum(sound.samples for sound in self._sounds.values()),
        )


class _Picture:
    """``length_s``: how long a picture is shown, as far as the header tells."""

    def __init__(self, stream: Stream, length_s: float, every_s: float, start: Fraction) -> None:
        self.index = stream.index
        self.count = 0
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._start_s = float(start)
        self._quantiser = QuantiserMeter(stream, every_s)
        self._every_s = every_s
        self._measured_s = -math.inf
        self._length_s = length_s
        self._before: tuple[float, NDArray[Any], float] | None = None  # when, its luma, and levels of 8 bits for each
        self._black, self._frozen = FlawMeter("black", self.index), FlawMeter("freeze", self.index)
        self._points: list[Point] = []

    def packet(self, packet: "Packet[Any]") -> None:
        pts = packet.pts if packet.pts is not None else packet.dts
        self._quantiser.packet(packet, 0.0 if pts is None else seconds(pts, self._time_base))

    def take(self, frame: VideoFrame) -> None:
        self._quantiser.picture(frame)
        pts = shown_at(frame)
        time_s = self.count * self._length_s if pts is None else seconds(pts, self._time_base) - self._start_s
        luma, black = luma_of(frame)
        scale = 1 / (1 << (frame.format.components[0].bits - 8)) if luma.dtype.itemsize > 1 else 1.0
        self._note_runs(time_s, luma, black, scale)
        if self._before is not None and abs(time_s - self._measured_s) > self._every_s - self._length_s / 2:
            self._measure(time_s, _levels(luma, scale), self._before)
            self._measured_s = time_s
        self._before = (time_s, luma.copy(), scale)
        self.count += 1

    def _note_runs(self, time_s: float, luma: NDArray[Any], black: int, scale: float) -> None:
        small = luma[::_STEP, ::_STEP]
        is_black = bool((small <= black).mean() >= _BLACK_SHARE)
        self._black.add(time_s, flawed=is_black)
        since_s, still = time_s, False
        if self._before is not None and self._before[1].shape == luma.shape:
            since_s = self._before[0]
            difference = np.abs(small.astype(np.int32) - self._before[1][::_STEP, ::_STEP]).mean()
            still = bool(difference * scale <= _FROZEN * 255)
        self._frozen.add(time_s, flawed=still and not is_black, since_s=since_s)

    def _measure(self, time_s: float, luma: Luma, before: tuple[float, NDArray[Any], float] | None) -> None:
        measures = measure(luma, None if before is None else _levels(before[1], before[2]))
        log2_step = self._quantiser.taken()
        self._points.append(
            Point(
                time_s=round(time_s, 3),
                step=None if log2_step is None else round(2**log2_step, 3),
                **{name: None if value is None else round(value, 4) for name, value in vars(measures).items()},
            )
        )

    def leap(self) -> None:
        self._measure_only_one()
        if self._before is not None:
            for meter in (self._black, self._frozen):
                meter.end(self._before[0] + self._length_s)
        self._before, self._measured_s = None, -math.inf

    def points(self) -> tuple[Point, ...]:
        self._measure_only_one()
        return tuple(self._points)

    def _measure_only_one(self) -> None:
        """The picture of a film that has no other."""
        if self._before is not None and not self._points:
            time_s, luma, scale = self._before
            self._measure(time_s, _levels(luma, scale), None)

    def flaws(self) -> list[Flaw]:
        end_s = 0.0 if self._before is None else self._before[0] + self._length_s
        return [*self._black.result(end_s), *self._frozen.result(end_s)]


def _levels(luma: NDArray[Any], scale: float) -> Luma:
    return np.asarray(np.multiply(luma, np.float32(scale), dtype=np.float32), np.float32)


class _Sound:
    def __init__(self, index: int, start: Fraction) -> None:
        self.samples = 0
        self._index = index
        self._start_s = float(start)
        self._end_s = 0.0
        self._clipped = FlawMeter("clipping", index)
        self._form: tuple[str, str, int] | None = None
        self._silences: SilenceMeter | None = None
        self._silent: list[Silence] = []

    def take(self, frame: AudioFrame) -> None:
        self.samples += frame.samples
        begin_s = self._end_s
        if frame.pts is not None and frame.time_base:
            begin_s = seconds(frame.pts, frame.time_base) - self._start_s
        self._clipped.add(begin_s, flawed=_clips(frame))
        self._end_s = begin_s + frame.samples / (frame.sample_rate or 1)
        if form_of(frame) != self._form:
            self._end_silences(begin_s)
            self._form, self._silences = form_of(frame), SilenceMeter()
        if self._silences is not None:
            try:
                self._silences.push(frame)
            except (av.error.FFmpegError, ValueError):  # a form that filters don't know
                self._end_silences(begin_s)

    def leap(self) -> None:
        self._clipped.end(self._end_s)
        self._silences = None

    def _end_silences(self, time_s: float) -> None:
        if self._silences is not None:
            self._silent += self._silences.finish(time_s + self._start_s)
        self._silences = None

    def flaws(self) -> list[Flaw]:
        found = self._clipped.result(self._end_s)
        self._end_silences(self._end_s)
        return found + [
            Flaw(
                kind="silence",
                stream=self._index,
                start_s=round(max(0.0, silence.start_s - self._start_s), 6),
                end_s=round(silence.end_s - self._start_s, 6),
            )
            for silence in self._silent
        ]


def _clips(frame: AudioFrame) -> bool:
    """Whether samples in a row are at full scale: a curve that was cut off."""
    for channel in channels_of(frame):
        if channel.dtype.itemsize == 1 or len(channel) < _CLIPPED_RUN:
            continue
        full = 1.0 if channel.dtype.kind == "f" else float(np.iinfo(channel.dtype).max) + 1
        top = np.abs(channel.astype(np.float32)) >= full * _FULL_SCALE
        if top.any() and (top[2:] & top[1:-1] & top[:-2]).any():
            return True
    return False
