"""How a preview is to be, and what came of it: the values that travel; ``preview`` does the work."""

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.probing.probe_spec import measuring_cost_s, picture_memory_bytes
from pipelines.media.profiles import rate_of
from pipelines.media.units import FrameRate, Seconds
from pipelines.media.video_plan import nominal_rate

PreviewFormat = Literal["webp", "avif", "mp4"]
MEDIA_TYPES: dict[PreviewFormat, str] = {"webp": "image/webp", "avif": "image/avif", "mp4": "video/mp4"}
CANDIDATES = 6  # looked at for each segment
LOOK_BACK_S = 3.0  # so far before a telling frame the start of its shot is looked for
_MAX_LENGTH_S = 120.0
_IMAGE_RATE, _VIDEO_RATE = 12, 30
_NTSC = 1001
_QUALITIES: dict[PreviewFormat, int] = {"webp": 65, "avif": 50, "mp4": 75}
_FRAME_BYTES_PER_PIXEL = 9  # of a picture that moves: all its frames are held, some as they are encoded
_PIXELS_PER_S: dict[PreviewFormat, float] = {"webp": 6e6, "avif": 2e6, "mp4": 12e6}


class PreviewSpec(BaseModel, frozen=True, extra="forbid"):
    """A short moving picture of a film's highlights, without sound."""

    format: PreviewFormat = Field(default="webp", description="An animated WebP or AVIF, or an MP4 (H.264).")
    segments: int = Field(default=5, ge=1, le=50, description="How many pieces of the film, spread over it.")
    segment_s: Seconds = Field(default=1.2, ge=0.2, le=60, description="Seconds that each lasts.")
    width: int = Field(default=480, ge=16, le=1920, description="Pixels; never larger than the film is shown.")
    frame_rate: FrameRate | None = Field(
        default=None, description="Frames per second; default the film's, up to 12 as a picture and 30 as MP4."
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="Default 65 as WebP, 50 as AVIF, 75 as MP4 (a crf of 24)."
    )
    max_bytes: int | None = Field(
        default=None, ge=1000, description="Lower the quality until the file has at most so many bytes."
    )

    @model_validator(mode="after")
    def _check(self) -> "PreviewSpec":
        if self.segments * self.segment_s > _MAX_LENGTH_S:
            raise ValueError(f"a preview lasts {_MAX_LENGTH_S:g} s at most; give fewer or shorter segments")
        return self

    @property
    def first_quality(self) -> int:
        return self.quality or _QUALITIES[self.format]


class Segment(BaseModel, frozen=True, extra="forbid"):
    """A piece of the film, from ``start_s`` to ``end_s``, which the preview shows from ``shown_at_s`` on."""

    start_s: float
    end_s: float
    shown_at_s: float


class PreviewResult(BaseModel, frozen=True, extra="forbid"):
    """What was made. ``frame_rate`` is a fraction in text; ``quality`` is the one that it has in the end."""

    name: str
    format: PreviewFormat
    width: int
    height: int
    frame_rate: str
    frames: int
    duration_s: float
    size_bytes: int
    quality: int
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()


def rate_for(video: VideoInfo, spec: PreviewSpec) -> Fraction:
    """The frames per second of a preview: those of the film, or an even part of them that is as many as is usual."""
    asked = rate_of(spec.frame_rate)
    if asked is not None:
        return asked
    rate = nominal_rate(video).limit_denominator(_NTSC)
    if spec.format == "mp4":
        return rate / -(-rate // _VIDEO_RATE)
    return min(rate, Fraction(_IMAGE_RATE))


def estimate_s(info: MediaInfo, spec: PreviewSpec) -> float:
    """Rough seconds on one core: for each segment some frames are judged, then a few seconds of film decoded.

    Twice the time to encode where it's to fit a size.
    """
    video = info.video
    if video is None or not video.display_width:
        return 0.1
    megapixels = video.width * video.height / 1e6
    rate = min(60.0, float(nominal_rate(video)))
    decoded = spec.segments * (CANDIDATES + (LOOK_BACK_S + 2 * spec.segment_s + 2) * rate)
    encode_s = _pixels(video, spec) / _PIXELS_PER_S[spec.format] * (2 if spec.max_bytes else 1)
    tonemap_s = 3.0 if video.hdr != "sdr" else 0.0
    return round(0.1 + measuring_cost_s(info) + decoded * megapixels / 150 + encode_s + tonemap_s, 3)


def memory_bytes(info: MediaInfo, spec: PreviewSpec) -> int:
    """To decode the film and, but for an MP4, to hold all frames of the preview."""
    video = info.video
    held = 0.0 if video is None or not video.display_width or spec.format == "mp4" else _pixels(video, spec)
    return picture_memory_bytes(info) + int(held * _FRAME_BYTES_PER_PIXEL)


def _pixels(video: VideoInfo, spec: PreviewSpec) -> float:
    """Of all frames of a preview."""
    width = min(spec.width, video.display_width)
    frames = spec.segments * spec.segment_s * float(rate_for(video, spec))
    return frames * width * width * video.display_height / video.display_width
