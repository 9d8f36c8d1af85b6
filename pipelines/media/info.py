"""What a media file holds, read from its headers."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

HdrKind = Literal["sdr", "hdr10", "pq", "hlg", "dolby_vision"]
QuarterTurn = Literal[0, 90, 180, 270]


class Chapter(BaseModel, frozen=True, extra="forbid"):
    start_s: float
    end_s: float
    title: str | None = None


class MasteringDisplay(BaseModel, frozen=True, extra="forbid"):
    """SMPTE ST 2086: CIE 1931 xy of the mastering display and its luminance in cd/m²."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]
    min_luminance: float
    max_luminance: float


class ContentLight(BaseModel, frozen=True, extra="forbid"):
    """CTA-861.3: the brightest pixel and the brightest frame average, in cd/m²."""

    max_cll: int
    max_fall: int


class StreamInfo(BaseModel, frozen=True, extra="forbid"):
    """What every stream has. ``start_s`` counts on the container's clock; ``time_base`` is seconds per tick."""

    index: int
    codec: str | None
    time_base: str | None = None
    start_s: float | None = None
    duration_s: float | None = None
    bit_rate_bps: int | None = None
    language: str | None = None
    title: str | None = None
    default: bool = False
    forced: bool = False
    disposition: int = 0
    tags: dict[str, str] = Field(default_factory=dict)


class VideoInfo(StreamInfo):
    """A video stream. ``width`` and ``height`` are coded; the display size has pixel shape and rotation applied.

    A player shows the picture mirrored left to right if ``mirrored``, then turned ``rotation_deg`` clockwise.
    """

    kind: Literal["video"] = "video"
    width: int
    height: int
    display_width: int
    display_height: int
    profile: str | None = None
    level: int | None = None
    sample_aspect_ratio: str = "1:1"
    pixel_format: str | None = None
    bit_depth: int | None = None
    frame_rate: str | None = None
    average_frame_rate: str | None = None
    frames: int | None = None
    rotation_deg: QuarterTurn = 0
    mirrored: bool = False
    field_order: str | None = None
    color_range: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    color_space: str | None = None
    hdr: HdrKind = "sdr"
    dolby_vision_profile: int | None = None
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    attached_picture: bool = False
    alpha: bool = False

    @property
    def interlaced(self) -> bool:
        return self.field_order not in {None, "progressive"}


class AudioInfo(StreamInfo):
    kind: Literal["audio"] = "audio"
    profile: str | None = None
    sample_rate_hz: int
    channels: int
    channel_layout: str | None = None
    sample_format: str | None = None


class SubtitleInfo(StreamInfo):
    kind: Literal["subtitle"] = "subtitle"
    form: Literal["text", "bitmap"]


class OtherInfo(StreamInfo):
    """A stream that holds neither pictures, sound nor subtitles (telemetry, time codes, fonts), or that doesn't decode.

    ``undecodable`` tells what it holds where its header names no codec that there is a decoder for.
    """

    kind: Literal["data", "attachment"]
    file_name: str | None = None
    media_type: str | None = None
    undecodable: Literal["video", "audio", "subtitle"] | None = None


AnyStream = Annotated[VideoInfo | AudioInfo | SubtitleInfo | OtherInfo, Field(discriminator="kind")]


class MediaInfo(BaseModel, frozen=True, extra="forbid"):
    """One media file. ``duration_s`` is ``None`` where neither the header nor a scan of the packets tells it."""

    container: str
    container_name: str
    size_bytes: int
    duration_s: float | None
    start_s: float
    bit_rate_bps: int | None
    streams: tuple[AnyStream, ...]
    chapters: tuple[Chapter, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)

    @property
    def video(self) -> VideoInfo | None:
        """The picture: the first video stream that isn't a cover."""
        return next((s for s in self.streams if isinstance(s, VideoInfo) and not s.attached_picture), None)

    @property
    def cover(self) -> VideoInfo | None:
        return next((s for s in self.streams if isinstance(s, VideoInfo) and s.attached_picture), None)

    @property
    def audio(self) -> tuple[AudioInfo, ...]:
        return tuple(s for s in self.streams if isinstance(s, AudioInfo))

    @property
    def subtitles(self) -> tuple[SubtitleInfo, ...]:
        return tuple(s for s in self.streams if isinstance(s, SubtitleInfo))
