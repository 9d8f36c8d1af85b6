"""What the headers tell of one stream."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from pipelines.media import colour
from pipelines.media.info import AnyStream, AudioInfo, HdrKind, OtherInfo, SubtitleInfo, VideoInfo
from pipelines.media.probing.codec_headers import bits_per_sample_of, long_name_of, picture_header
from pipelines.media.probing.header_dump import StreamDump
from pipelines.media.side_data import (
    Orientation,
    content_light_of,
    first_frame,
    header_side_data,
    mastering_display_of,
    orientation_of,
    quarter_turn,
    replay_gain_of,
)

_BITMAP_SUBTITLES = frozenset({"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub", "dvb_teletext"})
_UNORDERED = re.compile(r"\d+ channels")  # libav's name for a layout that isn't known

_SHOWS_IDS = 0x0008  # AVFMT_SHOW_IDS: the container has numbers of its own for its streams
_MEDIA: dict[str, Literal["video", "audio", "subtitle"]] = {"video": "video", "audio": "audio", "subtitle": "subtitle"}


def stream_info(container: InputContainer, stream: Stream, dump: StreamDump) -> AnyStream:
    common = vars(_common(container, stream, dump))
    if isinstance(stream, VideoStream) and stream.codec_context is not None:
        return _video_info(container, stream, dump, common)
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return _audio_info(container, stream, dump, common)
    if isinstance(stream, SubtitleStream) and stream.codec_context is not None:
        width, height = dump.subtitle_size
        form = "bitmap" if common["codec"] in _BITMAP_SUBTITLES else "text"
        return SubtitleInfo.model_validate(common | {"form": form, "width": width, "height": height})
    kind: Literal["data", "attachment"] = "attachment" if stream.type == "attachment" else "data"
    media_type = stream.mimetype if isinstance(stream, AttachmentStream) else None
    return OtherInfo(
        kind=kind,
        file_name=stream.metadata.get("filename"),
        media_type=media_type,
        undecodable=_MEDIA.get(stream.type),
        **common,
    )


@dataclass(frozen=True)
class _Common:
    """The fields of ``StreamInfo``, as keyword arguments."""

    index: int
    codec: str | None
    codec_long_name: str | None
    codec_tag: str | None
    codec_tag_number: int | None
    id: int | None
    time_base: str | None
    start_pts: int | None
    duration_pts: int | None
    frames: int | None
    start_s: float | None
    duration_s: float | None
    bit_rate_bps: int | None
    max_bit_rate_bps: int | None
    extradata_bytes: int | None
    language: str | None
    title: str | None
    default: bool
    forced: bool
    disposition: int
    dispositions: tuple[str, ...]
    side_data: tuple[str, ...]
    tags: dict[str, str]


def _common(container: InputContainer, stream: Stream, dump: StreamDump) -> _Common:
    time_base = stream.time_base or Fraction(0)
    language = stream.language
    context = stream.codec_context
    return _Common(
        index=stream.index,
        codec=_codec_name(stream),
        codec_long_name=long_name_of(context) if context else None,
        codec_tag=dump.codec_tag,
        codec_tag_number=dump.codec_tag_number,
        id=stream.id if container.format.flags & _SHOWS_IDS else None,
        time_base=str(time_base) if time_base else None,
        start_pts=stream.start_time,
        duration_pts=stream.duration or None,
        frames=stream.frames or None,
        start_s=None if stream.start_time is None else float(stream.start_time * time_base),
        duration_s=float(stream.duration * time_base) if stream.duration else None,
        bit_rate_bps=(context.bit_rate or None) if context else None,
        max_bit_rate_bps=context.max_bit_rate if context else None,
        extradata_bytes=(context.extradata_size or None) if context else None,
        language=None if language in {None, "und", ""} else language,
        title=stream.metadata.get("title") or stream.metadata.get("name") or None,  # MP4 says "name"
        default=bool(stream.disposition & Disposition.default),
        forced=bool(stream.disposition & Disposition.forced),
        disposition=int(stream.disposition),
        dispositions=tuple(str(flag.name) for flag in Disposition if flag & stream.disposition),
        side_data=tuple(dump.side_data),
        tags=dict(stream.metadata),
    )


def _codec_name(stream: Stream) -> str | None:
    context = stream.codec_context
    if context is None:
        return stream.name if stream.type == "data" else None
    return str(context.codec.canonical_name)


def _audio_info(
    container: InputContainer, stream: AudioStream, dump: StreamDump, common: dict[str, object]
) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo.model_validate(
        common
        | {
            "profile": context.profile,
            "sample_rate_hz": context.sample_rate,
            "channels": context.channels,
            "channel_layout": None if _UNORDERED.fullmatch(context.layout.name) else context.layout.name or None,
            "sample_format": context.format.name if context.format else None,
            "bits_per_sample": bits_per_sample_of(context),
            "bits_per_raw_sample": dump.bits_per_sample or _bits_kept(context),
            "initial_padding": dump.initial_padding,
            "trailing_padding": dump.trailing_padding,
            "service": dump.side_data.get("Audio Service Type"),
            "replay_gain": replay_gain_of(dump.side_data, {**container.metadata, **stream.metadata}),
        }
    )


def _bits_kept(context: AudioCodecContext) -> int | None:
    """Of lossless codecs, where the dump doesn't tell it: it's what the sample format has."""
    codec, sample_format = context.codec, context.format
    if not codec.lossless or sample_format is None:
        return None
    if codec.lossy and sample_format.name.startswith(("flt", "dbl")):  # it may be either, and floats are all alike
        return None
    return bits_per_sample_of(context) or sample_format.bits


def _video_info(
    container: InputContainer, stream: VideoStream, dump: StreamDump, common: dict[str, object]
) -> VideoInfo:
    context = stream.codec_context
    picture = picture_header(stream)
    header = header_side_data(dump.side_data)
    pixel_format = context.format
    bit_depth = max((c.bits for c in pixel_format.components), default=None) if pixel_format else None
    transfer = colour.TRANSFERS.get(context.color_trc)
    attached = bool(stream.disposition & Disposition.attached_pic)
    orientation = Orientation(quarter_turn(header.turned_deg or 0))
    mastering, light = header.mastering_display, header.content_light
    if not attached and (header.turned_deg is not None or (transfer == colour.PQ and mastering is None)):
        frame = first_frame(container, stream.index)
        if frame is not None:
            orientation = orientation_of(frame) or orientation
            mastering = mastering or mastering_display_of(frame)
            light = light or content_light_of(frame)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = _display_size(context.width, context.height, aspect, orientation.rotation_deg)
    dolby_vision = header.dolby_vision
    rates = (picture.max_bit_rate_bps, header.rate_control.max_bit_rate_bps if header.rate_control else None)
    return VideoInfo.model_validate(
        common
        | {
            "max_bit_rate_bps": next((rate for rate in rates if rate), None),
            "width": context.width,
            "height": context.height,
            "display_width": width,
            "display_height": height,
            "coded_width": picture.coded_width,
            "coded_height": picture.coded_height,
            "display_aspect_ratio": _shape(context.width, context.height, aspect),
            "profile": context.profile,
            "level": context.level if context.level > 0 else None,
            "sample_aspect_ratio": f"{aspect.numerator}:{aspect.denominator}",
            "pixel_format": pixel_format.name if pixel_format else None,
            "bit_depth": bit_depth,
            "bits_per_raw_sample": dump.bits_per_component or bit_depth,
            "frame_rate": _rate(stream.guessed_rate),
            "average_frame_rate": _rate(stream.average_rate),
            "base_frame_rate": _rate(stream.base_rate),
            "reorder_frames": context.reorder_depth,
            "reference_frames": picture.reference_frames,
            "nal_length_bytes": picture.nal_length_bytes,
            "display_matrix": orientation.matrix,
            "rotation_deg": orientation.rotation_deg,
            "mirrored": orientation.mirrored,
            "field_order": colour.FIELD_ORDERS.get(context.field_order),
            "color_range": colour.RANGES.get(context.color_range),
            "color_primaries": colour.PRIMARIES.get(context.color_primaries),
            "color_transfer": transfer,
            "color_space": colour.SPACES.get(context.colorspace),
            "chroma_location": dump.chroma_location,
            "closed_captions": dump.closed_captions,
            "film_grain": dump.film_grain,
            "hdr": hdr_kind(transfer, mastered=mastering is not None, dolby_vision=dolby_vision is not None),
            "dolby_vision_profile": dolby_vision.profile if dolby_vision else None,
            "dolby_vision": dolby_vision,
            "mastering_display": mastering,
            "content_light": light,
            "ambient_viewing": header.ambient_viewing,
            "stereo_3d": header.stereo_3d,
            "spherical": header.spherical,
            "rate_control": header.rate_control,
            "attached_picture": attached,
            "alpha": _has_alpha(stream),
        }
    )


def _display_size(width: int, height: int, aspect: Fraction, rotation_deg: int) -> tuple[int, int]:
    shown = max(1, round(width * aspect)), height
    return shown if rotation_deg % 180 == 0 else (shown[1], shown[0])


def _shape(width: int, height: int, aspect: Fraction) -> str | None:
    if not width or not height:
        return None
    shape = aspect * width / height
    return f"{shape.numerator}:{shape.denominator}"


def _rate(rate: Fraction | None) -> str | None:
    return str(rate) if rate else None


def hdr_kind(transfer: str | None, *, mastered: bool, dolby_vision: bool) -> HdrKind:
    if dolby_vision:
        return "dolby_vision"
    if transfer == colour.HLG:
        return "hlg"
    if transfer == colour.PQ:
        return "hdr10" if mastered else "pq"
    return "sdr"


def _has_alpha(stream: VideoStream) -> bool:
    pixel_format = stream.codec_context.format
    in_format = pixel_format is not None and any(c.is_alpha for c in pixel_format.components)
    return in_format or stream.metadata.get("alpha_mode") == "1"  # VP8 and VP9 keep it beside the picture
