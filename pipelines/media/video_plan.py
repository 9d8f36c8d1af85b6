"""Decide whether a picture can be copied, and if not, how it's encoded."""

from fractions import Fraction
from typing import Literal

from pipelines.media import colour
from pipelines.media.errors import ParamsError, SourceUnsupportedError
from pipelines.media.info import VideoInfo
from pipelines.media.limits import check_picture
from pipelines.media.plan import Crop, StreamPlan, VideoEncode
from pipelines.media.profiles import TranscodeSettings, VideoSettings, rate_of
from pipelines.media.units import rectangle_of

_TELECINE = Fraction(5, 4)  # pictures that it makes of one
_MAX_PLAUSIBLE_RATE = 240
_DEFAULT_RATE = Fraction(30)
_UNTIMED = frozenset({"avi", "h261", "h263", "h264", "hevc", "vvc", "m4v", "mpegvideo", "dirac", "obu"})
_LEAST_SIDES = {"h264": 2, "hevc": 16, "av1": 4, "vp9": 2}  # what the encoders accept
_FULL_RANGE_FORMATS = frozenset({"yuvj420p", "yuvj422p", "yuvj444p"})


def plan_video(stream: VideoInfo, container: str, video: VideoSettings, settings: TranscodeSettings) -> StreamPlan:
    """Plan the picture ``stream`` of a source in ``container``, libav's name of it.

    Raises:
        SourceUnsupportedError, LimitError: it's too small for the codec or too large for memory.
        ParamsError: the crop reaches beyond it.
    """
    check_picture(stream)
    misfit = _first_misfit(stream, container, video, settings)
    if misfit is None:
        reason = f"already {video.codec} within the profile's bounds"
        return StreamPlan(source_index=stream.index, kind="video", action="copy", reason=reason, codec=video.codec)
    return StreamPlan(
        source_index=stream.index,
        kind="video",
        action="encode",
        reason=misfit,
        codec=video.codec,
        video=_encoding(stream, video, settings),
    )


def nominal_rate(stream: VideoInfo) -> Fraction:
    """Frames per second, for planning: headers of FLV and Matroska give a thousand where they don't know."""
    rates = [rate_of(stream.average_frame_rate), rate_of(stream.frame_rate)]
    return next((rate for rate in rates if rate is not None and 0 < rate <= _MAX_PLAUSIBLE_RATE), _DEFAULT_RATE)


def _first_misfit(stream: VideoInfo, container: str, video: VideoSettings, settings: TranscodeSettings) -> str | None:
    """Why ``stream`` can't be copied, or ``None``."""
    short_side = min(stream.display_width, stream.display_height)
    cap = rate_of(video.frame_rate)
    misfits = {
        "the request sets encoder options": settings.overridden_video,
        f"{container} doesn't tell when its pictures are shown": container in _UNTIMED,
        "it is cropped": settings.crop is not None,
        "it is cut at exact times": settings.start_s is not None or settings.end_s is not None,
        f"{stream.codec} becomes {video.codec}": stream.codec != video.codec,
        f"pixel format {stream.pixel_format} becomes {video.pixel_formats[0]}": (
            stream.pixel_format not in video.pixel_formats and stream.pixel_format != "yuvj420p"
        ),
        f"its shorter side of {short_side} pixels is above {video.height}": (
            video.height is not None and short_side > video.height
        ),
        f"its frame rate is above {video.frame_rate}": cap is not None and _exceeds(_rate(stream, settings), cap),
        "its bit rate is above the bound": (
            video.max_bitrate is not None
            and stream.bit_rate_bps is not None
            and stream.bit_rate_bps > video.max_bitrate
        ),
        "its rotation is applied": stream.rotation_deg != 0 or stream.mirrored,
        "its pixels become square": stream.sample_aspect_ratio != "1:1",
        "it is deinterlaced": _deinterlaced(stream, settings) is not None,
        "its telecine is undone": settings.deinterlace == "telecine",
        "its HDR is mapped to SDR": _tonemapped(stream, video),
    }
    return next((reason for reason, applies in misfits.items() if applies), None)


def _exceeds(rate: Fraction, cap: Fraction) -> bool:
    return rate > cap * Fraction(101, 100)


def _rate(stream: VideoInfo, settings: TranscodeSettings) -> Fraction:
    """The frame rate, if nothing bounds it."""
    rate = nominal_rate(stream)
    return rate / _TELECINE if settings.deinterlace == "telecine" else rate


def _deinterlaced(stream: VideoInfo, settings: TranscodeSettings) -> Literal["all", "marked"] | None:
    if settings.deinterlace == "on":
        return "all"
    return "marked" if settings.deinterlace == "auto" and stream.interlaced else None


def _tonemapped(stream: VideoInfo, video: VideoSettings) -> bool:
    return stream.hdr != "sdr" and stream.color_transfer in {colour.PQ, colour.HLG} and video.hdr == "tonemap"


def _encoding(stream: VideoInfo, video: VideoSettings, settings: TranscodeSettings) -> VideoEncode:
    crop = _crop(stream, settings.crop)
    shown = (stream.display_width, stream.display_height) if crop is None else (crop.width, crop.height)
    width, height = fit_within(*shown, video.height)
    if min(width, height) < _LEAST_SIDES[video.codec]:
        raise SourceUnsupportedError(
            f"The picture of {width}x{height} pixels is too small for {video.codec}; take h264.",
            width=width,
            height=height,
        )
    cap = rate_of(video.frame_rate)
    rate = _rate(stream, settings)
    capped = cap is not None and _exceeds(rate, cap)
    tonemap = _tonemapped(stream, video)
    values = VideoEncode(
        settings=video,
        width=width,
        height=height,
        pixel_format=_pixel_format(stream, video, tonemap=tonemap),
        frame_rate=cap if cap is not None and capped else rate,
        capped=capped,
        deinterlace=_deinterlaced(stream, settings),
        telecine_rate=nominal_rate(stream) if settings.deinterlace == "telecine" else None,
        crop=crop,
        mirrored=stream.mirrored,
        rotation_deg=stream.rotation_deg,
        tonemap=tonemap,
        color_range="pc" if stream.pixel_format in _FULL_RANGE_FORMATS else stream.color_range,
        color_primaries=stream.color_primaries,
        color_transfer=stream.color_transfer,
        color_space=stream.color_space,
        mastering_display=stream.mastering_display,
        content_light=stream.content_light,
    )
    if tonemap or _is_rgb(stream):
        bt709: dict[str, object] = {"color_primaries": "bt709", "color_transfer": "bt709", "color_space": "bt709"}
        return values.model_copy(update=bt709 | {"color_range": "tv", "mastering_display": None, "content_light": None})
    return values


def _crop(stream: VideoInfo, asked: str | None) -> Crop | None:
    if asked is None:
        return None
    width, height, left, top = rectangle_of(asked)
    of_width, of_height = stream.display_width, stream.display_height
    if left + width > of_width or top + height > of_height:
        raise ParamsError(
            f"crop {asked} reaches beyond the picture, which is shown at {of_width}x{of_height} pixels.", field="crop"
        )
    return Crop(width=width, height=height, left=left, top=top, of_width=of_width, of_height=of_height)


def fit_within(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """The even size nearest to ``width`` by ``height`` whose shorter side is at most ``short_side``: never larger."""
    shorter = min(width, height)
    factor = Fraction(1) if short_side is None or shorter <= short_side else Fraction(short_side, shorter)
    return _even(width * factor, width), _even(height * factor, height)


def _even(size: Fraction, limit: int) -> int:
    nearest = round(size / 2) * 2
    return max(2, nearest if nearest <= limit else nearest - 2)


def _pixel_format(stream: VideoInfo, video: VideoSettings, *, tonemap: bool) -> str:
    ten_bit = next((name for name in video.pixel_formats if name.endswith("10le")), None)
    eight_bit = next((name for name in video.pixel_formats if not name.endswith("10le")), None)
    deep = (stream.bit_depth or 8) > 8 and not tonemap
    if stream.pixel_format in video.pixel_formats and not tonemap:
        return str(stream.pixel_format)
    return (ten_bit if deep and ten_bit else eight_bit) or video.pixel_formats[0]


def _is_rgb(stream: VideoInfo) -> bool:
    return stream.color_space == "gbr" or (stream.pixel_format or "").startswith(("rgb", "bgr", "gbr", "argb", "abgr"))
