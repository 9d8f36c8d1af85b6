"""Encode one sound track into a file of its own, whole: cut and joined sound clicks at every border."""

import time
from pathlib import Path

from av.audio.stream import AudioStream

from pipelines.media.audio_track import AudioTrack
from pipelines.media.damage import first_times
from pipelines.media.demuxing import packets_of, to_end
from pipelines.media.loudness import measure_loudness
from pipelines.media.mux import MUXERS, Writer, nothing_of, open_file, sha256_of, write_errors
from pipelines.media.output_streams import add_stream, clock_of, track_of
from pipelines.media.plan import TranscodePlan
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.results import Expected, ExpectedStream, SoundResult
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.stream_end import StreamEnd, early_end
from pipelines.media.verify import verify_output

_MEASURE_SHARE = 0.3
_VERIFY_SHARE = 0.2


def encode_sound(
    source: Source, target: Path, plan: TranscodePlan, source_index: int, on_progress: OnProgress
) -> SoundResult:
    """Encode a track of the plan into ``target``, in the output's own container, and decode it again.

    Raises:
        SourceUnreadableError: the source can't be read to its end, or it's damaged and the plan is to fail then.
        OutputInvalidError: see ``verify_output``.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    started_s = time.monotonic()
    stream_plan = next(each for each in plan.kept if each.source_index == source_index)
    measure_share = _MEASURE_SHARE if stream_plan.audio and stream_plan.audio.loudness_lufs is not None else 0.0
    measuring = ProgressMeter(on_progress, plan.duration_s, share=measure_share)
    loudness = measure_loudness(source, plan, frozenset({source_index}), measuring).get(source_index)
    share = 1 - measure_share - _VERIFY_SHARE
    meter = ProgressMeter(on_progress, plan.duration_s, base=measure_share, share=share)
    with open_input(source) as container:
        original = container.streams[source_index]
        assert isinstance(original, AudioStream)
        # A late start is kept in the movie's ticks: fine enough for any.
        options = {"movie_timescale": "1000000"} if plan.container == "mp4" else None
        with open_file(target, MUXERS[plan.container], options) as output:
            with write_errors():
                stream = add_stream(output, original, plan, stream_plan)
                output.start_encoding()
            clock = clock_of(container, plan)
            track = track_of(original, Writer(output, stream), plan, stream_plan, clock, loudness)
            assert isinstance(track, AudioTrack)
            end = StreamEnd(original, clock)
            for packet in to_end(packets_of(container, original), name_of(source), clock.end, {source_index}):
                if packet.size:
                    end.read(packet)
                    track.take(packet)
                    meter.update(track.writer.end_s, 0)
                if track.done:
                    break
            track.finish()
    early = early_end(plan, stream_plan, end, track.writer)
    told = () if early is None else (early,)
    encoded_s = time.monotonic() - started_s
    if not track.writer.packets:  # MP4 without a track can't be read
        return SoundResult(
            source_index=source_index,
            size_bytes=target.stat().st_size,
            sha256=sha256_of(target),
            packets=0,
            end_s=0.0,
            decoded=0,
            decode_errors=track.decode_errors,
            damaged_at_s=first_times(track.damage.times_s),
            transcode_s=encoded_s,
            verify_s=0.0,
            warnings=told or (nothing_of(source_index),),
        )
    expected = ExpectedStream(
        index=0, kind="audio", copied=False, packets=track.writer.packets, frames=None, end_s=track.writer.end_s
    )
    verification = verify_output(
        target, Expected(streams=(expected,)), on_progress, base=1 - _VERIFY_SHARE, share=_VERIFY_SHARE
    )
    return SoundResult(
        source_index=source_index,
        size_bytes=target.stat().st_size,
        sha256=sha256_of(target),
        packets=track.writer.packets,
        end_s=track.writer.end_s,
        decoded=track.frames,
        decode_errors=track.decode_errors,
        damaged_at_s=first_times(track.damage.times_s),
        transcode_s=encoded_s,
        verify_s=verification.elapsed_s,
        loudness=loudness,
        warnings=told + verification.warnings + (loudness.warnings if loudness else ()),
    )
