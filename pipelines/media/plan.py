"""What a transcode does with each stream: the values that ``plan_streams`` makes and ``transcode`` follows."""

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, Field

from pipelines.media.info import ContentLight, MasteringDisplay, MediaInfo, QuarterTurn
from pipelines.media.profiles import ContainerName, DamagePolicy, VideoSettings

Action = Literal["copy", "encode", "convert", "drop"]


class Crop(BaseModel, frozen=True, extra="forbid"):
    """The part of a picture that is kept, in pixels as shown: of square ones, mirrored and turned.

    ``of_width`` and ``of_height`` are the size of the whole picture in the same pixels.
    """

    width: int
    height: int
    left: int
    top: int
    of_width: int
    of_height: int


class VideoEncode(BaseModel, frozen=True, extra="forbid"):
    """How the picture is made, in the order it's done.

    ``frame_rate`` is nominal (GOP length, rate control); timestamps are the source's unless ``capped`` drops frames
    to that rate, or telecine is undone. ``width`` and ``height`` are those of the output, after ``mirrored`` and
    ``rotation_deg``. ``deinterlace``: every picture, or those that say of themselves that they are interlaced.
    ``telecine_rate``: the frame rate of a source whose telecine is undone.
    """

    settings: VideoSettings
    width: int
    height: int
    pixel_format: str
    frame_rate: Fraction = Field(gt=0)
    capped: bool = False
    deinterlace: Literal["all", "marked"] | None = None
    telecine_rate: Fraction | None = None
    crop: Crop | None = None
    mirrored: bool = False
    rotation_deg: QuarterTurn = 0
    tonemap: bool = False
    color_range: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    color_space: str | None = None
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


class AudioEncode(BaseModel, frozen=True, extra="forbid"):
    """How a sound track is made. ``loudness_lufs``: what it's brought to; ``None`` leaves it as loud as it is."""

    codec: Literal["aac", "opus", "mp3", "flac"]
    bit_rate_bps: int | None
    sample_rate_hz: int
    channel_layout: str
    loudness_lufs: float | None = None


class StreamPlan(BaseModel, frozen=True, extra="forbid"):
    """What is done with one source stream, and why. ``codec`` is the output's, ``None`` for a dropped stream."""

    source_index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment"]
    action: Action
    reason: str
    codec: str | None = None
    cover: bool = False
    video: VideoEncode | None = None
    audio: AudioEncode | None = None


class StreamDecision(BaseModel, frozen=True, extra="forbid"):
    """What is done with a source stream, for people."""

    index: int
    kind: str
    action: Action
    reason: str


class Chunk(BaseModel, frozen=True, extra="forbid"):
    """A part of the picture: the frames shown from ``begin_pts`` up to, but not at, ``end_pts``.

    In the source stream's time base; ``None`` is the stream's own border. Decoding starts at the keyframe of
    ``key_pts``, or with the first packet. A seek to ``seek_pts`` comes upon that keyframe; ``None``: it is found by
    reading from the start. ``next_pts`` is the first frame of the chunk that follows. ``cost_s`` is the estimated time
    on one CPU. ``leading`` frames are shown before the stream's first keyframe: a film that was cut out of another has
    some that don't decode.
    """

    number: int
    begin_pts: int | None
    end_pts: int | None
    next_pts: int | None
    key_pts: int | None
    seek_pts: int | None = None
    frames: int
    cost_s: float
    leading: int = 0


class Cutting(BaseModel, frozen=True, extra="forbid"):
    """How finely to cut: for how many CPUs, and how long a chunk the user wants (``None``: worked out)."""

    slots: int = Field(ge=1)
    chunk_s: float | None = None


class TranscodePlan(BaseModel, frozen=True, extra="forbid"):
    """A whole transcode. Times count from the container's start; estimates are for two cores.

    ``method``: ``copy`` encodes no picture, ``chunk`` encodes it in ``chunks``, ``serial`` in one pass; ``reason`` says
    why, for people. Where its start is cut off, decoding the picture in one pass begins at the keyframe of
    ``start_key_pts``, upon which a seek to ``start_seek_pts`` comes. ``lost_at_s``: where the container lost something.
    """

    method: Literal["copy", "chunk", "serial"] = "serial"
    reason: str = ""
    chunks: tuple[Chunk, ...] = ()
    start_key_pts: int | None = None
    start_seek_pts: int | None = None

    container: ContainerName
    source: MediaInfo
    streams: tuple[StreamPlan, ...]
    keep_chapters: bool
    warnings: tuple[str, ...]
    damage: DamagePolicy = "conceal"
    lost_at_s: tuple[float, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    threads: int | None = None
    estimated_frames: int | None = None
    estimated_size_bytes: int | None = None
    estimated_seconds: float | None = None

    @property
    def decisions(self) -> tuple[StreamDecision, ...]:
        """What is done with each stream, and why."""
        return tuple(
            StreamDecision(index=each.source_index, kind=each.kind, action=each.action, reason=each.reason)
            for each in self.streams
        )

    @property
    def kept(self) -> tuple[StreamPlan, ...]:
        """The streams of the output, in its order; a cover comes last."""
        kept = [stream for stream in self.streams if stream.action != "drop"]
        return tuple(sorted(kept, key=lambda stream: stream.cover))

    @property
    def video(self) -> StreamPlan | None:
        return next((s for s in self.kept if s.kind == "video" and not s.cover), None)

    @property
    def trimmed(self) -> bool:
        return self.start_s is not None or self.end_s is not None
