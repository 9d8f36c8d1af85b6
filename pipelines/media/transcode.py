"""Transcode a source into a file by a plan, in one pass over its packets."""

import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from pipelines.media.audio_track import AudioTrack
from pipelines.media.encoding import add_audio_encoder, add_video_encoder
from pipelines.media.errors import EncodeError, SourceTruncatedError, SourceUnreadableError
from pipelines.media.mux import Writer, add_cover_attachment, copy_tags, open_output, set_chapters, write_errors
from pipelines.media.plan import Expected, ExpectedStream, StreamPlan, TranscodePlan, TranscodeResult
from pipelines.media.probe import start_of
from pipelines.media.profiles import rate_of
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.subtitle_track import SubtitleTrack
from pipelines.media.tracks import Clock, CopyTrack, Track
from pipelines.media.verify import verify_output
from pipelines.media.video_track import VideoTrack

# Containers whose header tells a duration that can be trusted: an end well before it means that the file was cut.
_MATROSKA = "matroska,webm"
_HONEST_DURATIONS = frozenset({_MATROSKA, "mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "asf", "flv"})
_MISSING_END_S = 1.0
_SEEKABLE = frozenset({_MATROSKA, "mov,mp4,m4a,3gp,3g2,mj2"})  # seeks of others may land behind the time asked for
_VERIFY_SHARE = {True: 0.1, False: 0.5}  # of the time, with and without a video encode


def transcode_verified(source: Source, target: Path, plan: TranscodePlan, on_progress: OnProgress) -> TranscodeResult:
    """Transcode, then decode the whole output to prove it.

    Raises:
        SourceError, EncodeError: see ``transcode`` and ``verify_output``.
    """
    share = _VERIFY_SHARE[plan.video is not None and plan.video.action == "encode"]
    result = transcode(source, target, plan, on_progress, share=1 - share)
    verification = verify_output(target, result.expected, on_progress, base=1 - share, share=share)
    return result.model_copy(
        update={"verify_s": verification.elapsed_s, "warnings": result.warnings + verification.warnings}
    )


def transcode(
    source: Source, target: Path, plan: TranscodePlan, on_progress: OnProgress, share: float = 1.0
) -> TranscodeResult:
    """Write ``target`` from ``source``; timestamps are the source's, counted from its container's start.

    Raises:
        SourceUnreadableError: nothing decodes, or the source ends early.
        OutOfSpaceError: the disk is full.
        EncodeError: the encoder or the muxer failed.
    """
    started_s = time.monotonic()
    meter = ProgressMeter(on_progress, plan.duration_s, share=share)
    with open_input(source) as container:
        _check_index(container, plan, name_of(source))
        clock = _clock(container, plan)
        with open_output(target, plan) as output:
            tracks = _add_tracks(source, container, output, plan, clock)
            _pump(container, tracks, plan, name_of(source), meter)
            _check_decoded(tracks, name_of(source))
    return _result(target, plan, tracks, time.monotonic() - started_s)


def _clock(container: InputContainer, plan: TranscodePlan) -> Clock:
    start = Fraction(plan.start_s or 0).limit_denominator(1_000_000)
    length = None if plan.end_s is None else Fraction(plan.end_s).limit_denominator(1_000_000) - start
    if length is None and plan.trimmed:
        length = Fraction(10**6)  # cut at the start only
    return Clock(start_of(container) + start, length)


def _add_tracks(
    source: Source, container: InputContainer, output: OutputContainer, plan: TranscodePlan, clock: Clock
) -> dict[int, Track]:
    copy_tags(plan.source.tags, output.metadata)
    set_chapters(output, plan)
    tracks: dict[int, Track] = {}
    with write_errors():
        for stream_plan in plan.kept:
            original = container.streams[stream_plan.source_index]
            if stream_plan.cover and plan.container == "mkv":
                with open_input(source) as again:
                    add_cover_attachment(again, output, stream_plan.source_index)
                continue
            track = _add_track(original, output, plan, stream_plan, clock)
            copy_tags(original.metadata, track.writer.stream.metadata)
            track.writer.stream.disposition = original.disposition
            if original.type != "attachment":
                tracks[stream_plan.source_index] = track
        output.start_encoding()
    return tracks


def _add_track(
    original: Stream, output: OutputContainer, plan: TranscodePlan, stream_plan: StreamPlan, clock: Clock
) -> Track:
    _set_threads(original, plan.threads)
    if stream_plan.video is not None:
        encode = stream_plan.video
        assert isinstance(original, av.VideoStream)
        time_base = 1 / (rate_of(encode.frame_rate) or Fraction(30)) if encode.capped else original.time_base
        assert time_base is not None
        encoder = add_video_encoder(output, encode, time_base, plan.threads)
        all_fields = encode.deinterlace and not (plan.source.video is not None and plan.source.video.interlaced)
        return VideoTrack(original, Writer(output, encoder), clock, encode, all_fields=all_fields)
    if stream_plan.audio is not None:
        assert isinstance(original, av.AudioStream)
        writer = Writer(output, add_audio_encoder(output, stream_plan.audio))
        return AudioTrack(original, writer, clock, stream_plan.audio)
    if stream_plan.action == "convert":
        assert isinstance(original, SubtitleStream)
        assert stream_plan.codec is not None
        converted = output.add_stream(stream_plan.codec)
        assert isinstance(converted, SubtitleStream)
        original.codec_context.open(strict=False)  # makes the ASS header that the encoder reads
        converted.codec_context.subtitle_header = original.codec_context.subtitle_header
        return SubtitleTrack(original, Writer(output, converted), clock)
    copied = output.add_stream_from_template(original, opaque=True)
    if stream_plan.codec == "hevc" and plan.container == "mp4":
        copied.codec_context.codec_tag = "hvc1"
    # Matroska tells its run-in beside the packets, and hands it over so.
    run_in = original.type == "audio" and plan.container in {"mkv", "webm"} and plan.source.container != _MATROSKA
    from_zero = run_in or original.type == "subtitle"
    return CopyTrack(original, Writer(output, copied), clock, from_zero=from_zero)


def _set_threads(stream: Stream, threads: int | None) -> None:
    if stream.type == "video" and stream.codec_context is not None:
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = threads or 0


def _pump(
    container: InputContainer, tracks: Mapping[int, Track], plan: TranscodePlan, name: str, meter: ProgressMeter
) -> None:
    """Read every packet once and hand it to its track."""
    _seek_to_start(container, plan)
    lead = _leading_track(tracks)
    last_s = 0.0
    for packet in _packets(container, name):
        if packet.size == 0:  # libav's end marks; empty packets mean nothing in any codec here
            continue
        if packet.pts is not None:
            last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        track = tracks.get(packet.stream_index)
        if track is None or track.done:
            if plan.trimmed and all(t.done or isinstance(t, SubtitleTrack | CopyTrack) for t in tracks.values()):
                break
            continue
        track.take(packet)
        if lead is not None:
            meter.update(lead.position_s, lead.frames if isinstance(lead, VideoTrack) else 0)
        else:
            meter.update(last_s - plan.source.start_s, 0)
    if not plan.trimmed:
        _check_end(plan, last_s - plan.source.start_s, name)
    for track in tracks.values():
        track.finish()
    frames = lead.frames if isinstance(lead, VideoTrack) else 0
    meter.finish(plan.duration_s or last_s, frames)


def _packets(container: InputContainer, name: str) -> "Iterator[Packet[Stream]]":
    try:
        yield from container.demux()
    except EncodeError:
        raise
    except av.error.FFmpegError as error:
        raise SourceUnreadableError(f"{name} is damaged and can't be read to its end: {error}.") from error


def _seek_to_start(container: InputContainer, plan: TranscodePlan) -> None:
    if plan.start_s is None or plan.video is None or container.format.name not in _SEEKABLE:
        return
    stream = container.streams[plan.video.source_index]
    time_base = stream.time_base or Fraction(1, 1000)
    wanted = start_of(container) + Fraction(plan.start_s).limit_denominator(1_000_000)
    container.seek(int(wanted / time_base), stream=stream)


def _leading_track(tracks: Mapping[int, Track]) -> VideoTrack | AudioTrack | None:
    encoding = [t for t in tracks.values() if isinstance(t, VideoTrack | AudioTrack)]
    return next((t for t in encoding if isinstance(t, VideoTrack)), encoding[0] if encoding else None)


def _check_index(container: InputContainer, plan: TranscodePlan, name: str) -> None:
    """An index that points behind the end of the file tells before any work that it was cut off."""
    for stream_plan in plan.kept:
        entries = container.streams[stream_plan.source_index].index_entries
        if len(entries) and entries[len(entries) - 1].pos + entries[len(entries) - 1].size > plan.source.size_bytes:
            raise SourceTruncatedError(f"{name} was cut off: its index names data behind its end; copy it again.")


def _check_end(plan: TranscodePlan, end_s: float, name: str) -> None:
    info = plan.source
    if info.duration_s is None or info.container not in _HONEST_DURATIONS:
        return
    if end_s < info.duration_s - max(_MISSING_END_S, info.duration_s / 50):
        raise SourceTruncatedError(
            f"{name} ends after {end_s:.1f} of {info.duration_s:.1f} s; copy or record it again.",
            end_s=round(end_s, 3),
            duration_s=info.duration_s,
        )


def _check_decoded(tracks: Mapping[int, Track], name: str) -> None:
    encoding = [t for t in tracks.values() if isinstance(t, VideoTrack | AudioTrack)]
    dead_video = [t for t in encoding if isinstance(t, VideoTrack) and not t.decoded]
    if dead_video or (encoding and not any(t.decoded for t in encoding) and len(encoding) == len(tracks)):
        what = "video" if dead_video else "audio"
        raise SourceUnreadableError(
            f"{name}: not one {what} frame decodes; the file is damaged.",
            decode_errors=sum(t.decode_errors for t in encoding),
        )


def _result(target: Path, plan: TranscodePlan, tracks: Mapping[int, Track], transcode_s: float) -> TranscodeResult:
    video = plan.video
    picture = video.video if video is not None else None
    original = plan.source.video if video is not None else None
    video_track = tracks[video.source_index] if video is not None else None
    decode_errors = sum(track.decode_errors for track in tracks.values())
    warnings = plan.warnings
    if decode_errors:
        warnings += (f"{decode_errors} errors were concealed while decoding the source; look at the result.",)
    audio = [plan_ for plan_ in plan.kept if plan_.kind == "audio"]
    return TranscodeResult(
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
        transcode_s=transcode_s,
        expected=_expected(plan, tracks),
    )


def _expected(plan: TranscodePlan, tracks: Mapping[int, Track]) -> Expected:
    streams = []
    for stream_plan in plan.kept:
        track = tracks.get(stream_plan.source_index)
        if track is None or stream_plan.cover or stream_plan.kind not in {"video", "audio"}:
            continue
        streams.append(
            ExpectedStream(
                index=track.writer.stream.index,
                kind="video" if stream_plan.kind == "video" else "audio",
                copied=isinstance(track, CopyTrack),
                packets=track.writer.packets,
                frames=track.frames if isinstance(track, VideoTrack) else None,
                end_s=track.writer.end_s,
            )
        )
    return Expected(streams=tuple(streams))
