"""Set up libav's encoders from a plan."""

import os
from dataclasses import dataclass
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.stream import VideoStream

from pipelines.media import colour
from pipelines.media.errors import EncoderUnavailableError
from pipelines.media.info import ContentLight, MasteringDisplay
from pipelines.media.memory import give_back_free_memory, zero_new_memory
from pipelines.media.plan import AudioEncode, VideoEncode

_VIDEO_ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
_AUDIO_ENCODERS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame", "flac": "flac"}
_SAMPLE_FORMATS = {"aac": "fltp", "opus": "flt", "mp3": "fltp", "flac": "s32"}
_WAITING_THREADS = 4
# By how much the bits differ that x264 gives the frames beside a border of chunks. It looks ahead to see which frames
# others are made of; at the end it sees none, and they came out 1 to 1.6 VMAF below the same frames in one pass; the
# keyframe behind them came out 2 above (docs/decisions/0015).
_FIRST_FRAMES_BITS = (0.79, 1.25, 1.25, 1.2, 1.1, 1.1)
_LAST_FRAMES_BITS = (*[1.1] * 8, 1.2, 1.25, 1.3, 1.35, 1.45, 1.55, 1.9)
_LARGE_PIXELS = 1_500_000  # from here on, what x264 never uses is 100 MiB and more
_SETTLING_S = 2  # the rate control's buffer: how long max_bitrate may be exceeded to be made up


@dataclass(frozen=True)
class Borders:
    """Where a film goes on beyond a stream: it ``follows`` another; another goes on ``after`` so many frames."""

    follows: bool = False
    after: int | None = None


ALONE = Borders()


def add_video_encoder(
    output: OutputContainer, encode: VideoEncode, time_base: Fraction, threads: int | None, borders: Borders = ALONE
) -> VideoStream:
    """Add a video stream whose frames come with timestamps in ``time_base``."""
    settings = encode.settings
    if settings.codec == "h264":
        _clear_memory(encode.width * encode.height)
    options = _rate_control(encode) | _codec_options(encode, threads, borders)
    try:
        stream = output.add_stream(_VIDEO_ENCODERS[settings.codec], rate=encode.frame_rate, options=options)
    except UnknownCodecError as error:
        raise EncoderUnavailableError(f"This build has no {settings.codec} encoder.", codec=settings.codec) from error
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = encode.width, encode.height, encode.pixel_format
    context.time_base = time_base
    context.gop_size = max(1, round(settings.keyframe_s * encode.frame_rate))
    context.sample_aspect_ratio = Fraction(1)
    context.thread_count = _encoder_threads(settings.codec, threads)
    context.thread_type = "AUTO"  # "SLICE", PyAV's default, makes x264 cut each picture into slices
    context.flags |= av.codec.context.Flags.closed_gop | av.codec.context.Flags.frame_duration
    _set_colours(context, encode)
    if settings.codec == "hevc" and output.format.name == "mp4":
        context.codec_tag = "hvc1"  # Apple's players don't open hev1
    return stream


def add_audio_encoder(output: OutputContainer, encode: AudioEncode) -> AudioStream:
    name = _AUDIO_ENCODERS[encode.codec]
    try:
        stream = output.add_stream(name, rate=encode.sample_rate_hz)
    except UnknownCodecError as error:
        raise EncoderUnavailableError(f"This build has no {encode.codec} encoder.", codec=encode.codec) from error
    assert isinstance(stream, AudioStream)
    context = stream.codec_context
    context.layout = encode.channel_layout
    context.format = _SAMPLE_FORMATS[encode.codec]
    context.time_base = Fraction(1, encode.sample_rate_hz)
    if encode.bit_rate_bps is not None:
        context.bit_rate = encode.bit_rate_bps
    return stream


def _clear_memory(pixels: int) -> None:
    """Let new memory hold zeros: x264 reads some that it hasn't written (docs/decisions/0015).

    Otherwise it makes other bytes of the same frames in a process that has worked before. To zero all of it takes the
    least time, but touches what is never used, which is much of a large picture; that gets fresh pages instead.
    """
    if pixels < _LARGE_PIXELS:
        zero_new_memory(on=True)
    else:
        give_back_free_memory()


def _rate_control(encode: VideoEncode) -> dict[str, str]:
    settings = encode.settings
    options: dict[str, str] = {}
    if settings.bitrate is not None:
        options["b"] = str(settings.bitrate)
    if settings.crf is not None:
        options["crf"] = f"{settings.crf:g}"
    if settings.max_bitrate is not None and not (settings.codec == "av1" and settings.bitrate is not None):
        options["maxrate"] = str(settings.max_bitrate)
        options["bufsize"] = str(settings.max_bitrate * _SETTLING_S)
    if settings.codec == "vp9" and settings.max_bitrate is not None and settings.bitrate is None:
        options["b"] = str(settings.max_bitrate)  # libvpx: with a crf, the bit rate is the bound
    return options


def _encoder_threads(codec: str, cpus: int | None) -> int:
    """Threads of an encoder on ``cpus``; 0 leaves it to the encoder.

    x264's frame threads wait for each other: with one for each CPU a tenth of the time goes by idle. Four more take 7 %
    off the wall time of two CPUs, at the same size and SSIM (docs/decisions/0013).
    """
    if not cpus:
        return 0
    return cpus + _WAITING_THREADS if codec == "h264" and cpus > 1 else cpus


def _codec_options(encode: VideoEncode, threads: int | None, borders: Borders) -> dict[str, str]:
    settings = encode.settings
    if settings.codec == "h264":
        return {"preset": settings.preset, "x264-params": "open-gop=0" + _x264_zones(borders)}
    if settings.codec == "hevc":
        return {"preset": settings.preset, "x265-params": ":".join(_x265_params(encode, threads))}
    if settings.codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints to stderr, past libav's log: errors only
        params = ":".join(_svt_params(encode, threads))
        return {"preset": settings.preset} | ({"svtav1-params": params} if params else {})
    return {
        "deadline": "good",
        "cpu-used": settings.preset,
        "row-mt": "1",
        "tile-columns": "2" if encode.width >= 1280 else "1",
        "auto-alt-ref": "1",
        "lag-in-frames": "25",
    }


def _x264_zones(borders: Borders) -> str:
    bits = dict(enumerate(_FIRST_FRAMES_BITS)) if borders.follows else {}
    last = (borders.after or 0) - len(_LAST_FRAMES_BITS)
    if last > len(bits):  # a shorter one hasn't frames enough to make up for others
        bits |= dict(enumerate(_LAST_FRAMES_BITS, last))
    elif borders.after is not None:
        return ""
    return ":zones=" + "/".join(f"{frame},{frame},b={each}" for frame, each in bits.items()) if bits else ""


def _x265_params(encode: VideoEncode, threads: int | None) -> list[str]:
    params = ["log-level=error", "open-gop=0"]
    if threads:
        params.append(f"pools={threads}")
    if encode.color_transfer == colour.PQ:
        params.append("hdr10-opt=1")
    if encode.mastering_display is not None:
        params.append(f"master-display={_x265_mastering(encode.mastering_display)}")
    if encode.content_light is not None:
        params.append(f"max-cll={_light(encode.content_light)}")
    return params


def _svt_params(encode: VideoEncode, threads: int | None) -> list[str]:
    params = []
    if threads:
        params.append(f"lp={threads}")
    if encode.mastering_display is not None:
        params.append(f"mastering-display={_svt_mastering(encode.mastering_display)}")
    if encode.content_light is not None:
        params.append(f"content-light={_light(encode.content_light)}")
    return params


def _x265_mastering(display: MasteringDisplay) -> str:
    """x265's spelling: chromaticities in units of 0.00002, luminance in units of 0.0001 cd/m²."""

    def point(pair: tuple[float, float]) -> str:
        return f"({round(pair[0] * 50_000)},{round(pair[1] * 50_000)})"

    luminance = f"({round(display.max_luminance * 10_000)},{round(display.min_luminance * 10_000)})"
    points = f"G{point(display.green)}B{point(display.blue)}R{point(display.red)}WP{point(display.white)}"
    return f"{points}L{luminance}"


def _svt_mastering(display: MasteringDisplay) -> str:
    def point(pair: tuple[float, float]) -> str:
        return f"({pair[0]:.5f},{pair[1]:.5f})"

    luminance = f"({display.max_luminance:.4f},{display.min_luminance:.4f})"
    points = f"G{point(display.green)}B{point(display.blue)}R{point(display.red)}WP{point(display.white)}"
    return f"{points}L{luminance}"


def _light(light: ContentLight) -> str:
    return f"{light.max_cll},{light.max_fall}"


def _set_colours(context: av.VideoCodecContext, encode: VideoEncode) -> None:
    context.color_range = colour.number_of(colour.RANGES, encode.color_range)
    context.color_primaries = colour.number_of(colour.PRIMARIES, encode.color_primaries)
    context.color_trc = colour.number_of(colour.TRANSFERS, encode.color_transfer)
    context.colorspace = colour.number_of(colour.SPACES, encode.color_space)
