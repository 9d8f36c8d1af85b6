"""A sound track decoded into its peaks, each sample in the place that its time gives it."""

from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.stream import Discard
from numpy.typing import NDArray

from pipelines.media.demuxing import packets_of
from pipelines.media.errors import LimitError
from pipelines.media.info import AudioInfo, MediaInfo
from pipelines.media.source import shown_at
from pipelines.media.timing import Timing
from pipelines.media.waveform.peaks import Peaks
from pipelines.media.waveform.waveform_spec import WaveformSpec

_MOST_PEAKS = 4_000_000  # of all channels together
_SHORT_S = 60.0  # taken for a duration that isn't told: where it's longer, peaks are put together
_AT_ONCE = 1 << 16  # samples
_GAP_S = 0.03  # less is the jitter of clocks that count milliseconds

Samples = NDArray[np.int16]  # (channels, count)


class SoundPeaks:
    """Reads a track, what is damaged left out. ``peaks`` is ``None`` until something decodes, ``rate`` in Hz."""

    def __init__(self, container: InputContainer, track: AudioInfo, info: MediaInfo, spec: WaveformSpec) -> None:
        self.peaks: Peaks | None = None
        self.rate = track.sample_rate_hz
        self.decode_errors = 0
        self._container = container
        self._stream = container.streams[track.index]
        self._spec = spec
        self._duration_s = info.duration_s
        timing = Timing.of(container, track.index)
        self._tick_s, self._start_s = float(timing.time_base), float(timing.start)
        self._first: AudioFrame | None = None
        self._resampler: AudioResampler | None = None
        self._waiting: list[list[NDArray[Any]]] = []  # of each frame the samples of each channel
        self._waiting_samples = 0
        self._begin = 0  # the number of the first sample that waits

    def read(self) -> Iterator[float]:
        """Read all of it; yields now and then how far it is, in seconds.

        Raises:
            LimitError: there would be too many peaks.
        """
        for other in self._container.streams:
            if other is not self._stream:
                other.discard = Discard.all  # MP4 then needn't read them
        packets = packets_of(self._container, self._stream)
        failed = 0  # since the last that decoded: one at the end is a tag, or was cut off
        while True:
            try:
                frames = next(packets).decode()
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                failed += 1
                continue
            for frame in frames:
                assert isinstance(frame, AudioFrame)
                self._take(frame)
                self.decode_errors, failed = self.decode_errors + failed, 0
            if self._waiting_samples >= _AT_ONCE:
                self._add_waiting()
                yield self._begin / self.rate
        self.decode_errors += failed if failed > 1 else 0
        self._add_waiting()

    def _take(self, frame: AudioFrame) -> None:
        if self._first is None:
            self._first, self.rate = frame, frame.sample_rate
            self.peaks = self._new_peaks(frame.layout.nb_channels)
        self._go_to(shown_at(frame), frame.samples)
        for part in self._alike(frame):
            self._waiting.append(channels_of(part))
            self._waiting_samples += part.samples

    def _alike(self, frame: AudioFrame) -> list[AudioFrame]:
        """The frame in the format, layout and rate of the first."""
        assert self._first is not None
        if form_of(frame) == form_of(self._first):
            self._resampler = None
            return [frame]
        if self._resampler is None:
            self._resampler = AudioResampler(self._first.format, self._first.layout, self.rate)
        return self._resampler.resample(frame)

    def _new_peaks(self, channels: int) -> Peaks:
        count = channels if self._spec.channels == "split" else 1
        samples = int((self._duration_s or _SHORT_S) * self.rate)
        if self._spec.samples_per_pixel is None:
            return Peaks(count, max(2, -(-samples // self._spec.width)), 2 * self._spec.width)
        if samples / self._spec.samples_per_pixel * count > _MOST_PEAKS:
            raise LimitError(f"It would be more than {_MOST_PEAKS} peaks; give more samples per pixel, or a width.")
        return Peaks(count, self._spec.samples_per_pixel, _MOST_PEAKS // count)

    def _go_to(self, pts: int | None, samples: int) -> None:
        """Leave out what the times leave out, where the file is as long. Times that go back count for nothing."""
        if pts is None:
            return
        ahead = self._begin + self._waiting_samples
        at = round((pts * self._tick_s - self._start_s) * self.rate)
        fits = self._duration_s is None or at + samples <= (self._duration_s + 1) * self.rate
        if fits and at - ahead > (_GAP_S * self.rate if ahead else 0):
            self._add_waiting()
            self._begin = at

    def _add_waiting(self) -> None:
        if not self._waiting:
            return
        assert self.peaks is not None
        channels = [np.concatenate(parts) for parts in zip(*self._waiting, strict=True)]
        samples = _TO_16_BITS[channels[0].dtype.name](np.stack(channels))
        self.peaks.add(self._begin, samples if self._spec.channels == "split" else _mixed(samples))
        self._begin += samples.shape[1]
        self._waiting, self._waiting_samples = [], 0


def form_of(frame: AudioFrame) -> tuple[str, str, int]:
    """What its samples are: their format, the channels, and the rate in Hz."""
    return frame.format.name, frame.layout.name, frame.sample_rate


_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def channels_of(frame: AudioFrame) -> list[NDArray[Any]]:
    """The samples of each channel as they were decoded, without a copy."""
    dtype = _DTYPES[frame.format.packed.name]
    if frame.format.is_planar:
        return [np.frombuffer(memoryview(plane), dtype, frame.samples) for plane in frame.planes]
    channels = frame.layout.nb_channels
    return list(np.frombuffer(memoryview(frame.planes[0]), dtype, frame.samples * channels).reshape(-1, channels).T)


def _of_floats(samples: NDArray[Any]) -> Samples:
    return np.asarray(np.clip(np.rint(samples * 32768), -32768, 32767), np.int16)


# As libswresample does it.
_TO_16_BITS: dict[str, Callable[[NDArray[Any]], Samples]] = {
    "uint8": lambda samples: (samples.astype(np.int16) - 128) << 8,
    "int16": lambda samples: samples,
    "int32": lambda samples: (samples >> 16).astype(np.int16),
    "int64": lambda samples: (samples >> 48).astype(np.int16),
    "float32": _of_floats,
    "float64": _of_floats,
}


def _mixed(samples: Samples) -> Samples:
    """The mean of the channels, cut to a whole number, as audiowaveform has it."""
    return np.asarray(np.trunc(samples.sum(0, dtype=np.int32) / len(samples)), np.int16)[None]
