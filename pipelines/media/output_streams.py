"""The streams of an output as a plan wants them, and the tracks that fill them from a source."""

from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from pipelines.media.audio_track import AudioTrack
from pipelines.media.copy_track import CopyTrack
from pipelines.media.damage import Damage, set_to_tell
from pipelines.media.encoding import ALONE, Borders, add_audio_encoder, add_video_encoder
from pipelines.media.mux import Writer, copy_tags
from pipelines.media.plan import StreamPlan, TranscodePlan, VideoEncode
from pipelines.media.results import Loudness
from pipelines.media.subtitle_track import SubtitleTrack
from pipelines.media.timing import start_of
from pipelines.media.tracks import Clock, Track, Window
from pipelines.media.video_track import VideoTrack

MATROSKA = "matroska,webm"
_ALL = Window()
_FAR = Fraction(10**6)  # the end of a film that is cut at its start only


def clock_of(container: InputContainer, plan: TranscodePlan) -> Clock:
    """The output's zero on the source's clock, exact."""
    start = Fraction(plan.start_s or 0).limit_denominator(1_000_000)
    length = None if plan.end_s is None else Fraction(plan.end_s).limit_denominator(1_000_000) - start
    if length is None and plan.trimmed:
        length = _FAR
    return Clock(start_of(container) + start, length, start)


def add_stream(output: OutputContainer, original: Stream, plan: TranscodePlan, stream_plan: StreamPlan) -> Stream:
    """Add the stream that ``original`` becomes, with its tags and disposition."""
    stream = _stream(output, original, plan, stream_plan)
    copy_tags(original.metadata, stream.metadata)
    stream.disposition = original.disposition
    return stream


def _stream(output: OutputContainer, original: Stream, plan: TranscodePlan, stream_plan: StreamPlan) -> Stream:
    if stream_plan.video is not None:
        assert isinstance(original, VideoStream)
        return add_picture(output, original, stream_plan.video, plan.threads)
    if stream_plan.audio is not None:
        return add_audio_encoder(output, stream_plan.audio)
    if stream_plan.action == "convert":
        assert isinstance(original, SubtitleStream)
        assert stream_plan.codec is not None
        converted = output.add_stream(stream_plan.codec)
        assert isinstance(converted, SubtitleStream)
        original.codec_context.open(strict=False)  # makes the ASS header that the encoder reads
        converted.codec_context.subtitle_header = original.codec_context.subtitle_header
        return converted
    copied = output.add_stream_from_template(original, opaque=True)
    if stream_plan.codec == "hevc" and plan.container == "mp4":
        copied.codec_context.codec_tag = "hvc1"
    return copied


def add_picture(
    output: OutputContainer,
    original: VideoStream,
    encode: VideoEncode,
    threads: int | None,
    borders: Borders = ALONE,
) -> VideoStream:
    """Add the encoder of a picture: its time base is the source's, or the frame rate's where that is bounded."""
    time_base = 1 / encode.frame_rate if encode.capped else original.time_base
    assert time_base is not None
    return add_video_encoder(output, encode, time_base, threads, borders)


def track_of(
    original: Stream,
    writer: Writer,
    plan: TranscodePlan,
    stream_plan: StreamPlan,
    clock: Clock,
    loudness: Loudness | None = None,
) -> Track:
    """What fills a stream of ``add_stream`` from the packets of ``original``; sound gets the gain of ``loudness``."""
    if stream_plan.video is not None:
        assert isinstance(original, VideoStream)
        return picture_track(original, writer, plan, stream_plan.video, clock)
    if stream_plan.audio is not None:
        assert isinstance(original, AudioStream)
        gain_db = 0.0 if loudness is None else loudness.gain_db
        return AudioTrack(original, writer, clock, stream_plan.audio, sound_damage(original, plan, clock), gain_db)
    if stream_plan.action == "convert":
        assert isinstance(original, SubtitleStream)
        return SubtitleTrack(original, writer, clock)
    # Matroska tells its run-in beside the packets, and hands it over so.
    run_in = original.type == "audio" and plan.container in {"mkv", "webm"} and plan.source.container != MATROSKA
    damage = None
    if isinstance(original, AudioStream):
        damage = sound_damage(original, plan, clock)
    elif isinstance(original, VideoStream) and not stream_plan.cover:
        damage = _picture_damage(original, plan, clock, _ALL)
    return CopyTrack(original, writer, clock, damage=damage, from_zero=run_in or original.type == "subtitle")


def picture_track(
    original: VideoStream,
    writer: Writer,
    plan: TranscodePlan,
    encode: VideoEncode,
    clock: Clock,
    window: Window | None = None,
    next_pts: int | None = None,
    counted: Window = _ALL,
) -> VideoTrack:
    """The track of a picture, or of a chunk of it: see ``VideoTrack``. Damage in ``counted`` is its own."""
    damage = _picture_damage(original, plan, clock, counted)
    if plan.damage == "fail":
        set_to_tell(original.codec_context)
    return VideoTrack(original, writer, clock, encode, damage, window=window, next_pts=next_pts)


def _picture_damage(original: VideoStream, plan: TranscodePlan, clock: Clock, counted: Window) -> Damage:
    time_base = original.time_base or Fraction(1, 1000)
    return Damage("picture", plan.damage, time_base, clock.source_start(time_base), counted)


def sound_damage(original: AudioStream, plan: TranscodePlan, clock: Clock) -> Damage:
    time_base = original.time_base or Fraction(1, original.sample_rate)
    counted = Window(clock.offset(time_base)) if clock.cuts else _ALL
    return Damage("sound", plan.damage, time_base, clock.source_start(time_base), counted)


def set_threads(stream: Stream, threads: int | None) -> None:
    """How many threads decode a picture; ``None`` leaves it to the decoder."""
    if stream.type == "video" and stream.codec_context is not None:
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = threads or 0
