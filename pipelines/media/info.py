"""What a media file holds, read from its headers."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pipelines.media.side_data_info import AmbientViewing, DolbyVision, RateControl, ReplayGain, Spherical, Stereo3d

HdrKind = Literal["sdr", "hdr10", "pq", "hlg", "dolby_vision"]
QuarterTurn = Literal[0, 90, 180, 270]
# How files in a folder are named that are taken for films; what they are is told by their content.
VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".flv", ".f4v", ".wmv"),
        *(".asf", ".ts", ".m2ts", ".mts", ".m2t", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ogv", ".ogm", ".rm"),
        *(".rmvb", ".mxf", ".gxf", ".dv", ".nut", ".wtv", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc"),
    )
)
SOUND_SUFFIXES = frozenset(
    (
        *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".ape", ".au", ".caf", ".dts", ".eac3", ".flac", ".m4a", ".m4b"),
        *(".mka", ".mp2", ".mp3", ".mpc", ".oga", ".ogg", ".opus", ".ra", ".rf64", ".spx", ".tak", ".thd", ".tta"),
        *(".voc", ".w64", ".wav", ".weba", ".wma", ".wv"),
    )
)


class Chapter(BaseModel, frozen=True, extra="forbid"):
    """Seconds count from the container's start, ``start_pts`` and ``end_pts`` on its clock, in the time base."""

    start_s: float
    end_s: float
    title: str | None = None
    id: int | None = None
    time_base: str | None = None
    start_pts: int | None = None
    end_pts: int | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class Program(BaseModel, frozen=True, extra="forbid"):
    """A programme of a transport stream: which streams, by index, belong together."""

    id: int
    name: str | None = None
    streams: tuple[int, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)


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
    """What every stream has. ``start_s`` counts on the container's clock; ``time_base`` is seconds per tick.

    ``start_pts`` and ``duration_pts`` are ticks. ``id`` is the container's own number (track, PID). ``codec_tag`` is
    printed as libav does, ``[27][0][0][0]`` where it isn't text. ``frames``: what the header counts, packets in sound.
    ``dispositions`` names the flags of ``disposition`` that are set, ``side_data`` what else the header holds, by
    libav's names.
    """

    index: int
    codec: str | None
    codec_long_name: str | None = None
    codec_tag: str | None = None
    codec_tag_number: int | None = None
    id: int | None = None
    time_base: str | None = None
    start_pts: int | None = None
    duration_pts: int | None = None
    frames: int | None = None
    max_bit_rate_bps: int | None = None
    extradata_bytes: int | None = None
    start_s: float | None = None
    duration_s: float | None = None
    bit_rate_bps: int | None = None
    language: str | None = None
    title: str | None = None
    default: bool = False
    forced: bool = False
    disposition: int = 0
    dispositions: tuple[str, ...] = ()
    side_data: tuple[str, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)


class VideoInfo(StreamInfo):
    """A video stream. ``width`` and ``height`` are decoded; the display size has pixel shape and rotation applied.

    A player shows the picture mirrored left to right if ``mirrored``, then turned ``rotation_deg`` clockwise; the two
    come from ``display_matrix``, nine numbers row by row (ISO/IEC 14496-12). ``coded_width`` and ``coded_height`` have
    what the decoder crops. ``frame_rate`` is libav's guess from ``base_frame_rate``, the least rate that has all times,
    and ``average_frame_rate``. ``reorder_frames``: how many the decoder holds back to put them in order of time.
    ``reference_frames``: the most a picture is made from, which only H.264's header tells. ``bits_per_raw_sample``: how
    many of a sample are used. ``nal_length_bytes``: how each NAL unit is led; ``None`` where start codes part them.
    ``closed_captions`` and ``film_grain`` are told where opening the file came upon them.
    """

    kind: Literal["video"] = "video"
    width: int
    height: int
    display_width: int
    display_height: int
    coded_width: int | None = None
    coded_height: int | None = None
    display_aspect_ratio: str | None = None
    profile: str | None = None
    level: int | None = None
    sample_aspect_ratio: str = "1:1"
    pixel_format: str | None = None
    bit_depth: int | None = None
    bits_per_raw_sample: int | None = None
    frame_rate: str | None = None
    average_frame_rate: str | None = None
    base_frame_rate: str | None = None
    reorder_frames: int | None = None
    reference_frames: int | None = None
    nal_length_bytes: int | None = None
    display_matrix: tuple[int, ...] | None = None
    rotation_deg: QuarterTurn = 0
    mirrored: bool = False
    field_order: str | None = None
    color_range: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    color_space: str | None = None
    chroma_location: str | None = None
    closed_captions: bool = False
    film_grain: bool = False
    hdr: HdrKind = "sdr"
    dolby_vision_profile: int | None = None
    dolby_vision: DolbyVision | None = None
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    ambient_viewing: AmbientViewing | None = None
    stereo_3d: Stereo3d | None = None
    spherical: Spherical | None = None
    rate_control: RateControl | None = None
    attached_picture: bool = False
    alpha: bool = False

    @property
    def interlaced(self) -> bool:
        return self.field_order not in {None, "progressive"}


class AudioInfo(StreamInfo):
    """A sound track. ``bits_per_sample``: of codecs that spend a fixed number, ``bits_per_raw_sample``: of
    lossless ones.

    ``initial_padding`` and ``trailing_padding`` are samples that aren't meant to be heard, as far as the codec's header
    tells.
    """

    kind: Literal["audio"] = "audio"
    profile: str | None = None
    sample_rate_hz: int
    channels: int
    channel_layout: str | None = None
    sample_format: str | None = None
    bits_per_sample: int | None = None
    bits_per_raw_sample: int | None = None
    initial_padding: int | None = None
    trailing_padding: int | None = None
    service: str | None = None
    replay_gain: ReplayGain | None = None


class SubtitleInfo(StreamInfo):
    """Subtitles. ``width`` and ``height``: of the picture that bitmaps lie in."""

    kind: Literal["subtitle"] = "subtitle"
    form: Literal["text", "bitmap"]
    width: int | None = None
    height: int | None = None


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
    """One media file. ``duration_s`` is ``None`` where neither the header nor a scan of the packets tells it.

    ``start_s`` is the earliest start of sound and pictures. ``container_start_s`` is what libav has for the container,
    which counts other streams as well.
    """

    container: str
    container_name: str
    size_bytes: int
    duration_s: float | None
    start_s: float
    container_start_s: float | None = None
    bit_rate_bps: int | None
    streams: tuple[AnyStream, ...]
    chapters: tuple[Chapter, ...] = ()
    programs: tuple[Program, ...] = ()
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
