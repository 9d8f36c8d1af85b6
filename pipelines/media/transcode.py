"""Transcode a source into a file by a plan, in one pass over its packets."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from av.container import InputContainer, OutputContainer
from av.packet import Packet

from pipelines.media.audio_track import AudioTrack
from pipelines.media.copy_track import CopyTrack
from pipelines.media.damage import concealed, first_times
from pipelines.media.demuxing import packets_of, time_of, to_end
from pipelines.media.errors import SourceUnreadableError
from pipelines.media.loudness import measure_loudness
from pipelines.media.mux import (
    Writer,
    add_cover_attachment,
    index_in_file,
    nothing_of,
    open_output,
    set_head,
    write_errors,
)
from pipelines.media.output_streams import MATROSKA, add_stream, clock_of, set_threads, track_of
from pipelines.media.plan import StreamPlan, TranscodePlan
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.rate_bound import above_bound
from pipelines.media.reading import Reading, opened_reading, with_losses
from pipelines.media.results import TOLERANCE_S, Expected, ExpectedStream, Loudness, TranscodeResult
from pipelines.media.source import Source, name_of
from pipelines.media.stream_end import StreamEnd, early_end
from pipelines.media.streams import no_frame
from pipelines.media.subtitle_track import SubtitleTrack
from pipelines.media.tracks import Clock, Track
from pipelines.media.truncation import check_end, check_index
from pipelines.media.verify import verify_output
from pipelines.media.video_track import VideoTrack

_SEEKABLE = frozenset({MATROSKA, "mov,mp4,m4a,3gp,3g2,mj2"})  # of others, sound may be lost where a seek lands
_MEASURE_SHARE = {True: 0.05, False: 0.4}  # of the time before, with and without a video encode
_VERIFY_SHARE = {True: 0.1, False: 0.5}  # of the time, with and without a video encode


def transcode_verified(source: Source, target: Path, plan: TranscodePlan, on_progress: OnProgress) -> TranscodeResult:
    """Transcode, then decode the whole output to prove it.

    Raises:
        SourceError, EncodeError: see ``transcode`` and ``verify_output``.
    """
    share = _VERIFY_SHARE[plan.video is not None and plan.video.action == "encode"]
    result = transcode(source, target, plan, on_progress, share=1 - share)
    verification = verify_output(target, result.expected, on_progress, 1 - share, share, plan.damage)
    return result.model_copy(
        update={
            "decode_errors": result.decode_errors + verification.decode_errors,
            "damaged_at_s": first_times(result.damaged_at_s, verification.damaged_at_s),
            "verify_s": verification.elapsed_s,
            "warnings": result.warnings + verification.warnings,
        }
    )


def transcode(
    source: Source, target: Path, plan: TranscodePlan, on_progress: OnProgress, share: float = 1.0
) -> TranscodeResult:
    """Write ``target`` from ``source``; timestamps are the source's, counted from its container's start.

    Raises:
        SourceUnreadableError: nothing decodes, the source ends early, or it's damaged and the plan is to fail then.
        TimeOutOfRangeError: no frame begins in the part that is wanted.
        OutOfSpaceError: the disk is full.
        EncodeError: the encoder or the muxer failed.
    """
    started_s = time.monotonic()
    measure_share = share * _measure_share(plan)
    measuring = ProgressMeter(on_progress, plan.duration_s, share=measure_share)
    loudness = measure_loudness(source, plan, frozenset(stream.source_index for stream in plan.kept), measuring)
    meter = ProgressMeter(on_progress, plan.duration_s, base=measure_share, share=share - measure_share)
    encodes_picture = plan.video is not None and plan.video.action == "encode"
    # Of such a film preflight has read every packet, and heard what there is to hear.
    with opened_reading(source, None if encodes_picture else plan) as (container, read):
        check_index(source, container, plan)
        clock = clock_of(container, plan)
        with open_output(target, plan) as output:
            tracks = _add_tracks(source, container, output, plan, clock, loudness)
            ends = {index: StreamEnd(container.streams[index], clock) for index in tracks}
            _pump(source, container, tracks, ends, plan, clock, meter, read)
            _check_decoded(tracks, plan, name_of(source))
    result = _result(target, with_losses(plan, read), tracks, ends, time.monotonic() - started_s)
    told = tuple(warning for each in loudness.values() for warning in each.warnings)
    return result.model_copy(update={"loudness": tuple(loudness.values()), "warnings": (*result.warnings, *told)})


def _measure_share(plan: TranscodePlan) -> float:
    if not any(stream.audio is not None and stream.audio.loudness_lufs is not None for stream in plan.kept):
        return 0.0
    return _MEASURE_SHARE[plan.video is not None and plan.video.action == "encode"]


def _add_tracks(
    source: Source,
    container: InputContainer,
    output: OutputContainer,
    plan: TranscodePlan,
    clock: Clock,
    loudness: Mapping[int, Loudness],
) -> dict[int, Track]:
    set_head(output, plan)
    tracks: dict[int, Track] = {}
    with write_errors():
        for stream_plan in plan.kept:
            original = container.streams[stream_plan.source_index]
            if stream_plan.cover and plan.container == "mkv":
                add_cover_attachment(source, output, stream_plan.source_index)
                continue
            stream = add_stream(output, original, plan, stream_plan)
            if original.type != "attachment":
                set_threads(original, plan.threads)
                gained = loudness.get(stream_plan.source_index)
                writer = Writer(output, stream)
                tracks[stream_plan.source_index] = track_of(original, writer, plan, stream_plan, clock, gained)
        output.start_encoding()
    return tracks


def _pump(
    source: Source,
    container: InputContainer,
    tracks: Mapping[int, Track],
    ends: Mapping[int, StreamEnd],
    plan: TranscodePlan,
    clock: Clock,
    meter: ProgressMeter,
    read: Reading,
) -> None:
    """Read every packet once and hand it to its track."""
    encoded = {index for index, track in tracks.items() if isinstance(track, VideoTrack | AudioTrack)}
    wanted = _from_start(to_end(packets_of(container), name_of(source), clock.end, encoded), container, plan)
    lead = _leading_track(tracks)
    for packet in wanted:
        if packet.size == 0:  # libav's end marks; empty packets mean nothing in any codec here
            continue
        read.take(packet)
        track = tracks.get(packet.stream_index)
        if track is None or track.done:
            if plan.trimmed and all(t.done or isinstance(t, SubtitleTrack | CopyTrack) for t in tracks.values()):
                break
            continue
        ends[packet.stream_index].read(packet)
        track.take(packet)
        if lead is not None:
            meter.update(lead.position_s, lead.frames if isinstance(lead, VideoTrack) else 0)
        else:
            meter.update(read.shown_s - plan.source.start_s, 0)
    check_end(source, plan, read)
    read.finish()
    for track in tracks.values():
        track.finish()
    frames = lead.frames if isinstance(lead, VideoTrack) else 0
    meter.finish(plan.duration_s or read.shown_s, frames)


def _from_start(
    packets: "Iterator[Packet[Any]]", container: InputContainer, plan: TranscodePlan
) -> "Iterator[Packet[Any]]":
    """``packets``, of the picture only those from the keyframe on that its decoding begins at."""
    picture, key_pts = plan.video, plan.start_key_pts
    if picture is None or key_pts is None:
        yield from packets
        return
    if plan.start_s and plan.start_seek_pts is not None and container.format.name in _SEEKABLE:
        container.seek(plan.start_seek_pts, stream=container.streams[picture.source_index])
    for packet in packets:
        if packet.stream_index != picture.source_index:
            yield packet
        elif packet.is_keyframe and time_of(packet) == key_pts:
            yield packet
            break
    yield from packets


def _leading_track(tracks: Mapping[int, Track]) -> VideoTrack | AudioTrack | None:
    encoding = [t for t in tracks.values() if isinstance(t, VideoTrack | AudioTrack)]
    return next((t for t in encoding if isinstance(t, VideoTrack)), encoding[0] if encoding else None)


def _check_decoded(tracks: Mapping[int, Track], plan: TranscodePlan, name: str) -> None:
    encoding = [t for t in tracks.values() if isinstance(t, VideoTrack | AudioTrack)]
    dead_video = [t for t in encoding if isinstance(t, VideoTrack) and not t.decoded]
    if dead_video or (encoding and not any(t.decoded for t in encoding) and len(encoding) == len(tracks)):
        what = "video" if dead_video else "audio"
        raise SourceUnreadableError(
            f"{name}: not one {what} frame decodes; the file is damaged.",
            decode_errors=sum(t.decode_errors for t in encoding),
        )
    if plan.trimmed and any(isinstance(t, VideoTrack) and not t.frames for t in encoding):
        raise no_frame(plan)


def _result(
    target: Path, plan: TranscodePlan, tracks: Mapping[int, Track], ends: Mapping[int, StreamEnd], transcode_s: float
) -> TranscodeResult:
    video = plan.video
    picture = video.video if video is not None else None
    original = plan.source.video if video is not None else None
    video_track = tracks[video.source_index] if video is not None else None
    decode_errors = sum(track.decode_errors for track in tracks.values())
    telling = [track for track in tracks.values() if isinstance(track, VideoTrack | AudioTrack | CopyTrack)]
    damaged_at_s = first_times(*(track.damage.times_s for track in telling if track.damage is not None))
    warnings = plan.warnings
    for each, track in _media_tracks(plan, tracks):
        early = None if each.action == "copy" else early_end(plan, each, ends[each.source_index], track.writer)
        if early is not None:
            warnings += (early,)
        elif not track.writer.packets:
            warnings += (nothing_of(each.source_index),)
    if isinstance(video_track, VideoTrack):
        warnings += above_bound(plan, video_track.writer)
    warnings += tuple(warning for track in tracks.values() for warning in track.warnings)
    if decode_errors:
        warnings += (concealed(decode_errors, damaged_at_s),)
    audio = [plan_ for plan_ in plan.kept if plan_.kind == "audio"]
    return TranscodeResult(
        method="serial" if plan.method == "chunk" else plan.method,
        reason=plan.reason,
        streams=plan.decisions,
        name=target.name,
        container=plan.container,
        size_bytes=target.stat().st_size,
        duration_s=max((track.writer.end_s for track in tracks.values()), default=0.0),
        width=picture.width if picture else (original.width if original else None),
        height=picture.height if picture else (original.height if original else None),
        video_codec=video.codec if video else None,
        audio_codecs=tuple(str(plan_.codec) for plan_ in audio),
        video_frames=video_track.frames
        if isinstance(video_track, VideoTrack)
        else (video_track.writer.packets if video_track is not None else None),
        warnings=warnings,
        decode_errors=decode_errors,
        damaged_at_s=first_times(damaged_at_s, plan.lost_at_s),
        transcode_s=transcode_s,
        expected=_expected(plan, tracks),
    )


def _media_tracks(plan: TranscodePlan, tracks: Mapping[int, Track]) -> Iterator[tuple[StreamPlan, Track]]:
    """The picture and the sound."""
    for stream_plan in plan.kept:
        track = tracks.get(stream_plan.source_index)
        if track is not None and not stream_plan.cover and stream_plan.kind in {"video", "audio"}:
            yield stream_plan, track


def _expected(plan: TranscodePlan, tracks: Mapping[int, Track]) -> Expected:
    streams = []
    writers = [track.writer for track in tracks.values()]
    for stream_plan, track in _media_tracks(plan, tracks):
        if not track.writer.packets:
            continue
        streams.append(
            ExpectedStream(
                index=index_in_file(track.writer, writers, plan.container),
                kind="video" if stream_plan.kind == "video" else "audio",
                copied=isinstance(track, CopyTrack),
                packets=track.writer.packets,
                frames=track.frames if isinstance(track, VideoTrack) else None,
                end_s=track.writer.end_s,
                tolerance_s=max(TOLERANCE_S, track.writer.widest_s),
            )
        )
    return Expected(streams=tuple(streams))
