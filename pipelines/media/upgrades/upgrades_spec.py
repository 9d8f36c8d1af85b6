"""What is worth an upgrade, and what came of looking at a film: the values that travel."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from pipelines.media.info import HdrKind, MediaInfo
from pipelines.media.quality.quality_spec import Grade, windows_cost_s

Action = Literal["replace", "re-encode", "remux", "keep"]
TargetCodec = Literal["av1", "hevc"]

REENCODE = "re-encode"  # among the settings: the others are those of profiles

READ_BYTES = 256 << 20  # of a larger film so much is read, and its end
_BYTES_PER_S = 200e6
_STARTING_S = 0.3


class UpgradeSpec(BaseModel, frozen=True, extra="forbid"):
    codec: TargetCodec = Field(
        default="av1", description="What to encode to, at the film's own size and depth; sound is copied."
    )
    least_saving: float = Field(
        default=0.5, ge=0, le=1, description="The least share of a film's bytes that makes it worth encoding again."
    )
    most_loss: float = Field(
        default=5.0, gt=0, le=20, description="The most points of quality, of 100, that encoding it again may cost."
    )
    least_score: float = Field(
        default=40.0, ge=0, le=100, description="A film with a lower quality score is to be replaced by a better copy."
    )


class Gain(BaseModel, frozen=True, extra="forbid"):
    """What an upgrade is estimated to bring: bytes, in a range that two thirds of films fall into, and points.

    ``bytes_saved`` is ``None`` where nobody can know: how large a better copy is. ``points`` of quality are negative
    where an upgrade costs some. ``confidence``: how probable it is that at least half of the saving comes.
    """

    bytes_saved: int | None = None
    least_bytes: int | None = None
    most_bytes: int | None = None
    points: float | None = None
    confidence: float = 1.0


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """Parameters of the transcode that does an upgrade, without its output, and what is lost by it."""

    params: dict[str, Any]
    container: str
    losses: tuple[str, ...] = ()


class Picture(BaseModel, frozen=True, extra="forbid"):
    """The picture of a film. ``bit_rate_bps`` as its packets have it; ``group_frames``: mean length of a GOP."""

    codec: str | None
    width: int
    height: int
    frame_rate: float
    hdr: HdrKind
    bit_rate_bps: int | None
    bits_per_pixel: float | None
    group_frames: float | None


class Advice(BaseModel, frozen=True, extra="forbid"):
    """What to do with a film, and why, in words. ``broken`` ones have neither score nor gain."""

    action: Action
    reasons: tuple[str, ...]
    broken: bool = False
    size_bytes: int
    duration_s: float | None = None
    picture: Picture | None = None
    score: float | None = None
    grade: Grade | None = None
    gain: Gain | None = None
    recipe: Recipe | None = None


def cost_s(info: MediaInfo) -> float:
    """Rough seconds of one CPU that looking at a film takes."""
    return round(_STARTING_S + windows_cost_s(info) + min(READ_BYTES, info.size_bytes) / _BYTES_PER_S, 3)
