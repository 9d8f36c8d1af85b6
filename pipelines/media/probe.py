"""Read what a file holds from its headers, and from its packets only where the headers don't tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from pipelines.media import colour
from pipelines.media.info import (
    AnyStream,
    AudioInfo,
    Chapter,
    HdrKind,
    MediaInfo,
    OtherInfo,
    SubtitleInfo,
    VideoInfo,
)
from pipelines.media.side_data import (
    HeaderSideData,
    Orientation,
    content_light_of,
    first_frame,
    header_side_data,
    mastering_display_of,
    orientation_of,
)
from pipelines.media.source import Source, open_input, size_of

if TYPE_CHECKING:
    from av.container.core import Chapter as ContainerChapter

BITMAP_SUBTITLES = frozenset({"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub", "dvb_teletext"})

_LOWEST_BIT_RATE_BPS = 1000  # a header that implies less than this tells a duration that isn't so
_SCAN_LIMIT_BYTES = 256 * 2**20
_MICROSECONDS = 1_000_000


def probe(source: Source) -> MediaInfo:
    """Read the technical metadata of ``source``.

    Raises:
        SourceError: see ``open_input``.
    """
    size_bytes = size_of(source)
    with open_input(source) as container:
        info = _read(container, size_bytes)
    if not _duration_is_plausible(info.duration_s, size_bytes):
        info = _with_scanned_duration(source, info)
    return info


def start_of(container: InputContainer) -> Fraction:
    """The container's start on its own clock, exact: the earliest start of its sound and pictures."""
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in {"video", "audio"}
        and stream.start_time is not None
        and stream.time_base
        and not stream.disposition & Disposition.attached_pic
    ]
    return min(starts, default=Fraction(0))


def _read(container: InputContainer, size_bytes: int) -> MediaInfo:
    side_data = header_side_data(container)
    duration_s = container.duration / _MICROSECONDS if container.duration else None
    chapters = container.chapters()
    return MediaInfo(
        container=container.format.name,
        container_name=container.format.long_name,
        size_bytes=size_bytes,
        duration_s=duration_s,
        start_s=float(start_of(container)),
        bit_rate_bps=container.bit_rate or None,
        streams=tuple(_stream_info(container, stream, side_data) for stream in container.streams),
        chapters=tuple(_chapter_info(chapter, start_of(container)) for chapter in chapters),
        tags=dict(container.metadata),
    )


def _chapter_info(chapter: "ContainerChapter", start: Fraction) -> Chapter:
    time_base = chapter["time_base"] or Fraction(1)
    return Chapter(
        start_s=float(max(Fraction(0), chapter["start"] * time_base - start)),
        end_s=float(max(Fraction(0), chapter["end"] * time_base - start)),
        title=chapter["metadata"].get("title"),
    )


_MEDIA: dict[str, Literal["video", "audio", "subtitle"]] = {"video": "video", "audio": "audio", "subtitle": "subtitle"}


@dataclass(frozen=True)
class _Common:
    """The fields of ``StreamInfo``, as keyword arguments."""

    index: int
    codec: str | None
    time_base: str | None
    start_s: float | None
    duration_s: float | None
    bit_rate_bps: int | None
    language: str | None
    title: str | None
    default: bool
    forced: bool
    disposition: int
    tags: dict[str, str]


def _common(stream: Stream) -> _Common:
    time_base = stream.time_base or Fraction(0)
    language = stream.language
    context = stream.codec_context
    return _Common(
        index=stream.index,
        codec=_codec_name(stream),
        time_base=str(time_base) if time_base else None,
        start_s=None if stream.start_time is None else float(stream.start_time * time_base),
        duration_s=float(stream.duration * time_base) if stream.duration else None,
        bit_rate_bps=(context.bit_rate or None) if context else None,
        language=None if language in {None, "und", ""} else language,
        title=stream.metadata.get("title") or stream.metadata.get("name") or None,  # MP4 says "name"
        default=bool(stream.disposition & Disposition.default),
        forced=bool(stream.disposition & Disposition.forced),
        disposition=int(stream.disposition),
        tags=dict(stream.metadata),
    )


def _codec_name(stream: Stream) -> str | None:
    context = stream.codec_context
    if context is None:
        return stream.name if stream.type == "data" else None
    return str(context.codec.canonical_name)


def _stream_info(container: InputContainer, stream: Stream, side_data: Mapping[int, HeaderSideData]) -> AnyStream:
    common = vars(_common(stream))
    if isinstance(stream, VideoStream) and stream.codec_context is not None:
        return _video_info(container, stream, side_data.get(stream.index, HeaderSideData()), common)
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        return _audio_info(stream, common)
    if isinstance(stream, SubtitleStream) and stream.codec_context is not None:
        return SubtitleInfo(form="bitmap" if common["codec"] in BITMAP_SUBTITLES else "text", **common)
    kind: Literal["data", "attachment"] = "attachment" if stream.type == "attachment" else "data"
    media_type = stream.mimetype if isinstance(stream, AttachmentStream) else None
    return OtherInfo(
        kind=kind,
        file_name=stream.metadata.get("filename"),
        media_type=media_type,
        undecodable=_MEDIA.get(stream.type),
        **common,
    )


def _audio_info(stream: AudioStream, common: dict[str, object]) -> AudioInfo:
    context = stream.codec_context
    layout = context.layout
    return AudioInfo.model_validate(
        common
        | {
            "profile": context.profile,
            "sample_rate_hz": context.sample_rate,
            "channels": context.channels,
            "channel_layout": layout.name or None,
            "sample_format": context.format.name if context.format else None,
        }
    )


def _video_info(
    container: InputContainer, stream: VideoStream, header: HeaderSideData, common: dict[str, object]
) -> VideoInfo:
    context = stream.codec_context
    pixel_format = context.format
    transfer = colour.TRANSFERS.get(context.color_trc)
    attached = bool(stream.disposition & Disposition.attached_pic)
    orientation = Orientation()
    mastering, light = header.mastering_display, header.content_light
    if not attached and (header.turned or (transfer == colour.PQ and mastering is None)):
        frame = first_frame(container, stream.index)
        if frame is not None:
            orientation = orientation_of(frame)
            mastering = mastering or mastering_display_of(frame)
            light = light or content_light_of(frame)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = _display_size(context.width, context.height, aspect, orientation.rotation_deg)
    return VideoInfo.model_validate(
        common
        | {
            "width": context.width,
            "height": context.height,
            "display_width": width,
            "display_height": height,
            "profile": context.profile,
            "level": context.level if context.level > 0 else None,
            "sample_aspect_ratio": f"{aspect.numerator}:{aspect.denominator}",
            "pixel_format": pixel_format.name if pixel_format else None,
            "bit_depth": max((c.bits for c in pixel_format.components), default=None) if pixel_format else None,
            "frame_rate": _rate(stream.guessed_rate),
            "average_frame_rate": _rate(stream.average_rate),
            "frames": stream.frames or None,
            "rotation_deg": orientation.rotation_deg,
            "mirrored": orientation.mirrored,
            "field_order": colour.FIELD_ORDERS.get(context.field_order),
            "color_range": colour.RANGES.get(context.color_range),
            "color_primaries": colour.PRIMARIES.get(context.color_primaries),
            "color_transfer": transfer,
            "color_space": colour.SPACES.get(context.colorspace),
            "hdr": _hdr_kind(transfer, header, mastered=mastering is not None),
            "dolby_vision_profile": header.dolby_vision_profile,
            "mastering_display": mastering,
            "content_light": light,
            "attached_picture": attached,
            "alpha": _has_alpha(stream),
        }
    )


def _display_size(width: int, height: int, aspect: Fraction, rotation_deg: int) -> tuple[int, int]:
    shown = max(1, round(width * aspect)), height
    return shown if rotation_deg % 180 == 0 else (shown[1], shown[0])


def _rate(rate: Fraction | None) -> str | None:
    return str(rate) if rate else None


def _hdr_kind(transfer: str | None, header: HeaderSideData, *, mastered: bool) -> HdrKind:
    if header.dolby_vision_profile is not None:
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


def _duration_is_plausible(duration_s: float | None, size_bytes: int) -> bool:
    return duration_s is not None and size_bytes * 8 / duration_s >= _LOWEST_BIT_RATE_BPS


def _with_scanned_duration(source: Source, info: MediaInfo) -> MediaInfo:
    """Take the duration from the packets; a file too large to scan keeps what its header says."""
    if info.size_bytes > _SCAN_LIMIT_BYTES:
        return info
    ends: dict[int, Fraction] = {}
    with open_input(source) as container:
        start = start_of(container)
        timed = [s for s in container.streams if s.type in {"video", "audio"}]
        try:
            for packet in container.demux(timed):
                before = ends.get(packet.stream_index, Fraction(0))
                shown = before if packet.pts is None else packet.pts * packet.time_base  # raw streams have no times
                ends[packet.stream_index] = max(before, shown + (packet.duration or 0) * packet.time_base)
        except av.error.FFmpegError:
            pass  # what could be read until here tells the duration
    if not ends:
        return info.model_copy(update={"duration_s": None, "bit_rate_bps": None})
    duration_s = float(max(ends.values()) - start)
    bit_rate_bps = round(info.size_bytes * 8 / duration_s) if duration_s > 0 else None
    return info.model_copy(update={"duration_s": duration_s, "bit_rate_bps": bit_rate_bps})
