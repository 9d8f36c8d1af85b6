"""What a transcode does with each stream, and what came of it: the values that ``plan_streams`` makes and ``transcode``
follows and answers with.
"""

from typing import Literal

from pydantic import BaseModel

from pipelines.media.info import ContentLight, MasteringDisplay, MediaInfo, QuarterTurn
from pipelines.media.profiles import ContainerName, VideoSettings

Action = Literal["copy", "encode", "convert", "drop"]


class VideoEncode(BaseModel, frozen=True, extra="forbid"):
    """How the picture is made, in the order it's done.

    ``frame_rate`` is nominal (GOP length, rate control); timestamps are the source's unless ``capped`` drops frames
    to that rate. ``width`` and ``height`` are those of the output, after ``mirrored`` and ``rotation_deg``.
    """

    settings: VideoSettings
    width: int
    height: int
    pixel_format: str
    frame_rate: str
    capped: bool = False
    deinterlace: bool = False
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
    codec: Literal["aac", "opus", "mp3", "flac"]
    bit_rate_bps: int | None
    sample_rate_hz: int
    channel_layout: str


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


class TranscodePlan(BaseModel, frozen=True, extra="forbid"):
    """A whole transcode. Times count from the container's start; estimates are for two cores."""

    container: ContainerName
    source: MediaInfo
    streams: tuple[StreamPlan, ...]
    keep_chapters: bool
    warnings: tuple[str, ...]
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    threads: int | None = None
    estimated_frames: int | None = None
    estimated_size_bytes: int | None = None
    estimated_seconds: float | None = None

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


class ExpectedStream(BaseModel, frozen=True, extra="forbid"):
    """What one stream of the output must hold. ``frames`` is ``None`` where it isn't known (copies, sound)."""

    index: int
    kind: Literal["video", "audio"]
    copied: bool
    packets: int
    frames: int | None
    end_s: float


class Expected(BaseModel, frozen=True, extra="forbid"):
    streams: tuple[ExpectedStream, ...]


class TranscodeResult(BaseModel, frozen=True, extra="forbid"):
    """What was written. ``decode_errors`` counts what the decoders had to conceal or skip."""

    name: str
    container: str
    size_bytes: int
    duration_s: float
    width: int | None
    height: int | None
    video_codec: str | None
    audio_codecs: tuple[str, ...]
    video_frames: int | None
    warnings: tuple[str, ...]
    decode_errors: int
    transcode_s: float
    verify_s: float | None = None
    expected: Expected
