"""Bring sound to a loudness: measured whole, then made louder or softer by one gain from beginning to end.

Loudness is EBU R 128's (https://tech.ebu.ch/docs/r/r128.pdf): the integrated one of ITU-R BS.1770, in LUFS. One gain
for all doesn't pump, as a gain that follows the sound does, and it keeps the loudness range. Nor does it squeeze peaks:
where they would get above -1 dBTP, what R 128 allows, the gain is smaller and the target isn't reached.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph

from pipelines.media.audio_track import SoundDecoder, through
from pipelines.media.demuxing import packets_of, to_end
from pipelines.media.mux import write_errors
from pipelines.media.output_streams import clock_of, sound_damage
from pipelines.media.plan import AudioEncode, TranscodePlan
from pipelines.media.progress import ProgressMeter
from pipelines.media.results import Loudness
from pipelines.media.source import Source, name_of, open_input

SAMPLE_FORMAT = "fltp"  # louder than full scale isn't clipped before it's measured, or made softer
_MAX_TRUE_PEAK_DBTP = -1.0
_GATE_LUFS = -70.0  # BS.1770's absolute gate: below it is silence
_PEAK_STEP = 0.001  # the meter's


def measure_loudness(
    source: Source, plan: TranscodePlan, source_indexes: frozenset[int], meter: ProgressMeter
) -> dict[int, Loudness]:
    """Measure those of the given tracks whose loudness is set, as the output has them, and work out their gain.

    Raises:
        SourceUnreadableError: the source can't be read to its end, or it's damaged and the plan is to fail then.
    """
    wanted = {
        stream.source_index: stream.audio
        for stream in plan.kept
        if stream.audio is not None and stream.audio.loudness_lufs is not None and stream.source_index in source_indexes
    }
    if not wanted:
        return {}
    with open_input(source) as container:
        clock = clock_of(container, plan)
        meters: dict[int, LoudnessMeter] = {}
        tracks: dict[int, SoundDecoder] = {}
        for index, encode in wanted.items():
            original = container.streams[index]
            assert isinstance(original, AudioStream)
            meters[index] = LoudnessMeter(encode.sample_rate_hz, encode.channel_layout)
            damage = sound_damage(original, plan, clock)
            tracks[index] = SoundDecoder(original, clock, encode, damage, SAMPLE_FORMAT, meters[index].push)
        packets = packets_of(container, *(container.streams[index] for index in wanted))
        for packet in to_end(packets, name_of(source), clock.end, wanted):
            track = tracks.get(packet.stream_index)
            if packet.size and track is not None and not track.done:
                track.take(packet)
                meter.update(track.position_s, 0)
            if all(each.done for each in tracks.values()):
                break
        for track in tracks.values():
            track.drain()
    return {index: _gain(meters[index].finish(), index, encode) for index, encode in wanted.items()}


@dataclass(frozen=True)
class Measured:
    """The integrated loudness and its range; the true peak, where 1 is full scale. ``None`` of silence."""

    lufs: float | None
    range_lu: float | None
    peak: float | None

    @property
    def peak_dbtp(self) -> float | None:
        return None if self.peak is None else round(_decibels(self.peak), 2)


class LoudnessMeter:
    """libavfilter's ``ebur128``, which writes what it has measured so far on each slice of 100 ms."""

    def __init__(self, sample_rate_hz: int, channel_layout: str) -> None:
        self._pushed = 0
        self._measured = 0
        self._lufs: float | None = None
        self._range_lu: float | None = None
        self._peak = 0.0
        self._graph = Graph()
        nodes = [
            self._graph.add_abuffer(
                sample_rate=sample_rate_hz,
                format=SAMPLE_FORMAT,
                layout=channel_layout,
                time_base=Fraction(1, sample_rate_hz),
            ),
            self._graph.add("apad", "pad_dur=0.1"),  # else the peaks of the last, shorter slice aren't told
            self._graph.add("ebur128", "metadata=1:peak=true"),
            self._graph.add("abuffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()

    def push(self, frame: AudioFrame) -> None:
        """Measure a frame, which is in ``SAMPLE_FORMAT``."""
        self._pushed += frame.samples
        self._read(frame)

    def _read(self, frame: AudioFrame | None) -> None:
        for metered in through(self._graph, frame):
            self._measured += metered.samples
            told = metered.metadata
            if "lavfi.r128.true_peak" in told:
                self._peak = float(told["lavfi.r128.true_peak"])
            if "lavfi.r128.I" in told and self._measured <= self._pushed:
                self._lufs = float(told["lavfi.r128.I"])
                self._range_lu = float(told["lavfi.r128.LRA"])

    def finish(self) -> Measured:
        with write_errors():
            self._read(None)
        if self._lufs is None or self._lufs <= _GATE_LUFS or not self._peak:
            return Measured(None, None, self._peak or None)
        return Measured(self._lufs, self._range_lu, self._peak)


def _gain(measured: Measured, source_index: int, encode: AudioEncode) -> Loudness:
    assert encode.loudness_lufs is not None
    if measured.lufs is None or measured.peak is None:
        return Loudness(source_index=source_index, target_lufs=encode.loudness_lufs)
    wanted_db = encode.loudness_lufs - measured.lufs
    # The meter rounds peaks: the highest that this one may be. What is too loud already may still be made softer.
    room_db = _MAX_TRUE_PEAK_DBTP - _decibels(measured.peak + _PEAK_STEP / 2)
    return Loudness(
        source_index=source_index,
        target_lufs=encode.loudness_lufs,
        measured_lufs=measured.lufs,
        true_peak_dbtp=measured.peak_dbtp,
        gain_db=round(min(wanted_db, room_db), 3),
        limited=wanted_db > room_db,
    )


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude)
