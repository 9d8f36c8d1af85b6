"""What whole sound tracks sound like: their loudness by EBU R 128 and their silences, in one pass over all tracks."""

import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from pipelines.media.audio_plan import LAYOUTS
from pipelines.media.audio_track import SoundDecoder
from pipelines.media.damage import Damage, first_times
from pipelines.media.demuxing import packets_of
from pipelines.media.errors import EncodeError
from pipelines.media.info import AudioInfo, MediaInfo
from pipelines.media.loudness import SAMPLE_FORMAT, LoudnessMeter
from pipelines.media.passes import Fault
from pipelines.media.plan import AudioEncode
from pipelines.media.probing.probe_result import AllSoundFindings, SoundFindings
from pipelines.media.probing.silence import SILENCE_DBFS, SILENCE_S, SilenceMeter
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.ticks import seconds
from pipelines.media.timing import start_of
from pipelines.media.tracks import Clock, Window

_KEPT_SILENCES = 1000
# Gaps are filled with silence, which is measured: times that a fault sends far ahead would never come to an end.
_MOST_GAPS_S = 3600.0
_LONGEST_S = 24 * 3600.0


def listen(source: Source, info: MediaInfo, on_progress: OnProgress) -> AllSoundFindings:
    """Decode all sound of ``source``, whose headers tell ``info``, as far as it can be read.

    Raises:
        SourceError: see ``open_input``.
    """
    started_s = time.monotonic()
    meter = ProgressMeter(on_progress, info.duration_s)
    with open_input(source) as container:
        tracks = _tracks(container, info)
        failed = _read(container, tracks, meter)
        for track in tracks.values():
            track.drain()
        found = _findings(name_of(source), tracks, failed)
    meter.finish(info.duration_s or 0.0, 0)
    return found.model_copy(update={"elapsed_s": round(time.monotonic() - started_s, 3)})


class SoundListener:
    """Measures the sound of a file, whose headers tell ``info``, as a pass decodes it.

    Frames get other times as they are measured: others who listen to the pass come before it.
    """

    def __init__(self, info: MediaInfo) -> None:
        self._info = info
        self._tracks: dict[int, _Track] = {}

    def opened(self, container: InputContainer) -> None:
        self._tracks = _tracks(container, self._info)

    def packet(self, packet: "Packet[Any]") -> None:
        if packet.stream_index in self._tracks:
            self._tracks[packet.stream_index].note(packet)

    def picture(self, stream: int, frame: VideoFrame) -> None: ...

    def sound(self, stream: int, frame: AudioFrame) -> None:
        if stream in self._tracks:
            self._tracks[stream].accept(frame)

    def fault(self, fault: Fault) -> None:
        if fault.raised is not None and fault.stream in self._tracks:
            self._tracks[fault.stream].damaged()

    def result(self, name: str, streams: Sequence[int], failed: str | None) -> AllSoundFindings:
        """What was heard of ``streams``, once the pass is over. ``failed``: why it didn't come to its end, if so."""
        return _findings(name, {index: self._tracks[index] for index in streams if index in self._tracks}, failed)


def _findings(name: str, tracks: "Mapping[int, _Track]", failed: str | None) -> AllSoundFindings:
    warnings = []
    if failed is not None:
        reached_s = max((track.reached_s for track in tracks.values()), default=0.0)
        warnings.append(f"The sound of {name} can't be read beyond {reached_s:.1f} s: {failed}.")
    found = tuple(findings for track in tracks.values() if (findings := track.findings()) is not None)
    warnings += [warning for track in tracks.values() for warning in track.warnings]
    return AllSoundFindings(tracks=found, warnings=tuple(warnings), elapsed_s=0.0)


def _tracks(container: InputContainer, info: MediaInfo) -> "dict[int, _Track]":
    clock = Clock(start_of(container))
    most_s = min(info.duration_s or 0.0, _LONGEST_S)
    return {stream.index: _Track(container.streams[stream.index], stream, clock, most_s) for stream in info.audio}


def _read(container: InputContainer, tracks: "Mapping[int, _Track]", meter: ProgressMeter) -> str | None:
    """Why it can't be read to its end, if so."""
    if not tracks:  # to libav, none are all
        return None
    last_s = 0.0
    try:
        for packet in packets_of(container, *(container.streams[index] for index in tracks)):
            if packet.size:
                track = tracks[packet.stream_index]
                track.take(packet)
                last_s = max(last_s, track.reached_s)
                meter.update(last_s, 0)
    except av.error.FFmpegError as error:
        return str(error.strerror)
    return None


class _Track:
    """One track on its way through the decoder and the meters.

    What begins after ``most_s``, and an hour after all that was heard, is left out.
    """

    def __init__(self, stream: Stream, info: AudioInfo, clock: Clock, most_s: float) -> None:
        assert isinstance(stream, AudioStream)
        self.warnings: list[str] = []
        self.reached_s = 0.0
        self._index = info.index
        self._samples = 0
        self._end_s = 0.0
        self._rate_hz = info.sample_rate_hz
        self._silences = SilenceMeter()
        time_base = stream.time_base or Fraction(1, 1000)
        self._time_base = time_base
        self._zero = clock.offset(time_base)
        self._most_s = most_s
        self._read_s = 0.0
        self._leapt = False
        self._passes_over = False
        self._damage = Damage("sound", "conceal", time_base, self._zero, Window())
        self._decoder: SoundDecoder | None = None
        layout = info.channel_layout or LAYOUTS.get(info.channels)
        if not info.channels or not info.sample_rate_hz:
            self._fail("its header doesn't tell its channels or its sample rate")
            return
        if layout is None:
            self._fail(f"its header doesn't tell which of its {info.channels} channels is which")
            return
        try:
            self._loudness = LoudnessMeter(info.sample_rate_hz, layout)
        except (av.error.FFmpegError, ValueError) as error:
            self._fail(f"{layout} at {info.sample_rate_hz} Hz can't be measured ({error})")
            return
        # As it is, but in floating point and without gaps; nothing is encoded.
        encode = AudioEncode(codec="flac", bit_rate_bps=None, sample_rate_hz=info.sample_rate_hz, channel_layout=layout)
        self._decoder = SoundDecoder(stream, clock, encode, self._damage, SAMPLE_FORMAT, self._hear)

    def take(self, packet: "Packet[Any]") -> None:
        """Decode and measure a packet."""
        if self._decoder is not None and not self._leaps(packet):
            self._measure(partial(self._decoder.take, packet))

    def drain(self) -> None:
        """Measure what the decoder holds back."""
        if self._decoder is not None:
            self._measure(self._decoder.drain)

    def note(self, packet: "Packet[Any]") -> None:
        """Take note of a packet that somebody else decodes."""
        self._passes_over = self._decoder is None or self._leaps(packet)
        if not self._passes_over:
            self._damage.reading(packet)

    def accept(self, frame: AudioFrame) -> None:
        """Measure what was decoded."""
        if self._decoder is not None and not self._passes_over:
            self._measure(partial(self._decoder.accept, frame))

    def damaged(self) -> None:
        """What was noted last can't be decoded."""
        if not self._passes_over:
            self._damage.found()

    def _measure(self, work: Callable[[], None]) -> None:
        assert self._decoder is not None
        try:
            work()
        except EncodeError as error:
            self._fail(error.message)
        else:
            self.reached_s = max(self.reached_s, self._decoder.position_s)

    def _leaps(self, packet: "Packet[Any]") -> bool:
        self._read_s += seconds(packet.duration or 0, self._time_base)
        begin_s = 0.0 if packet.pts is None else seconds(packet.pts - self._zero, self._time_base)
        if begin_s <= max(self._most_s, self._read_s) + _MOST_GAPS_S:
            return False
        if not self._leapt:
            self.warnings.append(f"Sound stream {self._index} leaps to {begin_s:.0f} s; what is there isn't measured.")
        self._leapt = True
        return True

    def findings(self) -> SoundFindings | None:
        """What was heard, to be asked for once; ``None`` where nothing could be measured."""
        if self._decoder is None:
            return None
        try:
            self._decoder.drain_filters()
            measured = self._loudness.finish()
        except EncodeError as error:
            self._fail(error.message)
            return None
        if not self._samples:
            self.warnings.append(f"Nothing of sound stream {self._index} decodes.")
        silences = self._silences.finish(self._end_s)
        return SoundFindings(
            index=self._index,
            duration_s=round(self._samples / self._rate_hz, 6),
            integrated_lufs=measured.lufs,
            range_lu=measured.range_lu,
            true_peak_dbtp=measured.peak_dbtp,
            silence_dbfs=SILENCE_DBFS,
            silence_s=SILENCE_S,
            silences=tuple(silences[:_KEPT_SILENCES]),
            silent_s=round(sum(silence.end_s - silence.start_s for silence in silences), 6),
            decode_errors=self._damage.errors,
            damaged_at_s=first_times(self._damage.times_s),
        )

    def _hear(self, frame: AudioFrame) -> None:
        self._samples += frame.samples
        self._end_s = seconds(frame.pts or 0, frame.time_base or Fraction(0)) + frame.samples / self._rate_hz
        self._silences.push(frame)
        self._loudness.push(frame)

    def _fail(self, why: str) -> None:
        self._decoder = None
        self.warnings.append(f"Sound stream {self._index} isn't measured: {why}.")
