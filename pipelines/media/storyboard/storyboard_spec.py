"""How a storyboard is to be, and what came of it: the values that travel; ``storyboard`` does the work."""

import math
from typing import Literal

from pydantic import BaseModel, Field

from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_spec import measuring_cost_s
from pipelines.media.profiles import rate_of
from pipelines.media.stills_spec import Size
from pipelines.media.units import Seconds

VTT, JSON = "storyboard.vtt", "storyboard.json"
MAX_TILES = 10_000
_USUAL_TILES = 100
_SLIVER = 0.1  # of an interval: a rest that is shorter belongs to the last tile
_LEAST_INTERVAL_S = 1.0

Mode = Literal["auto", "keyframes", "exact"]


class StoryboardSpec(BaseModel, frozen=True, extra="forbid"):
    """Tiles of a video at even times, on sheets.

    ``mode``: ``keyframes`` shows the keyframe nearest to each time, ``exact`` the very frame of it, and ``auto`` the
    keyframe unless that is more than an interval away.
    """

    interval_s: Seconds | None = Field(
        default=None,
        ge=0.04,
        le=86_400,
        description="Seconds from tile to tile; default as many whole ones as make about 100 tiles at most.",
    )
    tile: Size = Field(default="160", description="Of a tile: a width (160) or a box to fit into (160x90).")
    columns: int = Field(default=10, ge=1, le=100, description="Tiles beside each other on a sheet.")
    rows: int = Field(default=10, ge=1, le=100, description="Rows of tiles on a sheet.")
    format: Literal["jpeg", "webp"] = Field(default="jpeg", description="Of the sheets.")
    quality: int = Field(default=80, ge=1, le=100, description="Of the sheets.")
    mode: Mode = Field(
        default="auto",
        description="keyframes: fast, the keyframe nearest to each time; exact: the frame of it; "
        "auto: the keyframe unless it is more than an interval away.",
    )


class Tile(BaseModel, frozen=True, extra="forbid"):
    """A picture on a sheet, at ``x``, ``y``, which stands for the video from ``start_s`` to ``end_s``.

    ``time_s`` is when the frame in it starts. All count from the container's start.
    """

    sheet: str
    x: int
    y: int
    start_s: float
    end_s: float
    time_s: float
    keyframe: bool


class Sheet(BaseModel, frozen=True, extra="forbid"):
    name: str
    width: int
    height: int
    size_bytes: int


class Layout(BaseModel, frozen=True, extra="forbid"):
    """``count`` tiles on sheets. That of a time is number ``floor(time / interval_s)``, at most ``count - 1``.

    On each sheet they go from left to right, then down.
    """

    count: int
    interval_s: float
    duration_s: float
    tile_width: int
    tile_height: int
    columns: int
    rows: int
    sheets: tuple[Sheet, ...]


class Storyboard(Layout):
    """What ``storyboard.json`` holds."""

    version: Literal[1] = 1
    tiles: tuple[Tile, ...]


class StoryboardResult(Layout):
    """What was made. ``farthest_s``: the most that a tile's frame starts away from the middle of its time.

    ``keyframe_tiles`` of all show a keyframe. The tiles are listed in ``storyboard.json``.
    """

    format: Literal["jpeg", "webp"]
    keyframe_tiles: int
    farthest_s: float
    warnings: tuple[str, ...] = ()


def interval_of(spec: StoryboardSpec, end_s: float) -> float:
    """The seconds from tile to tile of a video that ends at ``end_s``."""
    if spec.interval_s is not None:
        return spec.interval_s
    return max(_LEAST_INTERVAL_S, float(math.ceil(end_s / _USUAL_TILES - _SLIVER / _USUAL_TILES)))


def count_of(interval_s: float, end_s: float) -> int:
    """How many tiles a video that ends at ``end_s`` gets."""
    return max(1, math.ceil(end_s / interval_s - _SLIVER))


def estimate_s(info: MediaInfo, spec: StoryboardSpec) -> float:
    """Rough seconds on one core.

    By keyframes, one is decoded for each tile; exactly, as many frames as lie between two tiles or two keyframes 10 s
    apart. Where it is open, no less than a second: there may be hardly a keyframe.
    """
    video = info.video
    if video is None:
        return 0.1
    megapixels = video.width * video.height / 1e6
    end_s = info.duration_s or 0.0
    interval_s = interval_of(spec, end_s)
    count = count_of(interval_s, end_s)
    rate = min(60.0, float(rate_of(video.average_frame_rate) or 30))
    exact_s = count * min(interval_s, 10) * rate * megapixels / 500
    keyframes_s = count * (0.003 + 0.005 * megapixels)
    taken_s = {"exact": exact_s, "keyframes": keyframes_s, "auto": min(exact_s, max(1.0, keyframes_s))}[spec.mode]
    return round(0.05 + measuring_cost_s(info) + taken_s + (3.0 if video.hdr != "sdr" else 0.0), 3)
