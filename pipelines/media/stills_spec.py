"""Which stills to take, and what came of it: the values that travel; ``stills`` does the work."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_spec import measuring_cost_s
from pipelines.media.profiles import rate_of
from pipelines.media.units import Seconds

StillFormat = Literal["jpeg", "png", "webp", "avif"]
_SIZE = re.compile(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?")
_CANDIDATES = 12  # looked at for one telling frame; each further one adds half as many
_USUAL_CANDIDATES = 60  # for nine and more, until that is no choice any more
_LEAST_CHOICE = 2  # candidates for each still


def parse_size(value: object) -> str:
    """A size is a width (``720``) or a box to fit into (``1200x300``)."""
    text = str(value).strip().lower()
    if _SIZE.fullmatch(text) is None:
        raise ValueError(f"{value!r} is no size; give a width such as 720 or a box such as 1200x300")
    return text


def box_of(size: str) -> tuple[int, int | None]:
    """Width and, if given, height of a size that ``parse_size`` passed."""
    width, _, height = size.partition("x")
    return int(width), int(height) if height else None


def fitted(size: str, shown: tuple[int, int]) -> tuple[int, int]:
    """The pixels of a still of ``size`` of a video shown at ``shown``: its shape kept, never larger."""
    width, height = shown
    wanted_width, wanted_height = box_of(size)
    factor = min(1.0, wanted_width / width)
    if wanted_height is not None:
        factor = min(factor, wanted_height / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Size = Annotated[str, BeforeValidator(parse_size)]
Formats = Annotated[tuple[StillFormat, ...], BeforeValidator(_listed)]


class StillsSpec(BaseModel, frozen=True, extra="forbid"):
    """Which stills to take: at ``times``; else ``count`` evenly spread or, if ``telling``, the most telling ones.

    Where a film has fewer frames than ``count``, or fewer that differ if ``telling``, so many are taken.

    Without times and count it's the one most telling frame; without ``sizes``, the size the video is shown in.
    """

    times: tuple[Seconds, ...] = Field(default=(), max_length=1000, description="When: seconds or hh:mm:ss.")
    count: int | None = Field(default=None, ge=1, le=1000, description="How many, evenly spread.")
    telling: bool = Field(default=False, description="The most telling frames instead of evenly spread ones.")
    sizes: tuple[Size, ...] = Field(
        default=(), max_length=16, description="Widths (720) or boxes to fit into (1200x300); default as shown."
    )
    format: Formats = Field(
        default=("jpeg",), min_length=1, max_length=4, description="Picture format, or several: jpeg, png, webp, avif."
    )
    quality: int = Field(default=85, ge=1, le=100, description="Of JPEG, WebP and AVIF.")

    @model_validator(mode="after")
    def _check(self) -> "StillsSpec":
        if self.times and (self.count is not None or self.telling):
            raise ValueError("give either times, or count and telling")
        if any(time_s < 0 for time_s in self.times):
            raise ValueError("times start at 0")
        for name, given in (("formats", self.format), ("sizes", self.sizes)):
            if len(set(given)) < len(given):
                raise ValueError(f"two {name} are the same")
        return self

    @property
    def is_telling(self) -> bool:
        return self.telling or (not self.times and self.count is None)


class Still(BaseModel, frozen=True, extra="forbid"):
    """One picture file. ``time_s`` is when its frame starts, ``pts`` the same in the source stream's time base.

    ``keyframe``: the frame was coded by itself. Most telling frames are looked for among those, where there are enough.
    """

    name: str
    format: StillFormat
    time_s: float
    width: int
    height: int
    size_bytes: int
    pts: int
    keyframe: bool


class StillsResult(BaseModel, frozen=True, extra="forbid"):
    items: tuple[Still, ...]
    warnings: tuple[str, ...] = ()


def candidate_count(count: int) -> int:
    """How many frames are looked at to choose ``count`` telling ones."""
    usual = min(_USUAL_CANDIDATES, _CANDIDATES + max(0, count - 1) * _CANDIDATES // 2)
    return max(usual, _LEAST_CHOICE * count)


def estimate_s(info: MediaInfo, spec: StillsSpec) -> float:
    """Rough seconds on one core: opening, then half a group of pictures (taken as 2 s) for each still.

    For a telling one a second more, in which it's looked around.
    """
    video = info.video
    if video is None:
        return 0.1
    megapixels = video.width * video.height / 1e6
    stills = len(spec.times) or spec.count or 1
    rate = min(60.0, float(rate_of(video.average_frame_rate) or 30))
    looked_at = candidate_count(stills) + stills * rate if spec.is_telling else 0
    decoded = stills * 2 * rate + looked_at
    files = stills * max(1, len(spec.sizes)) * len(spec.format)
    slow = 10 if "avif" in spec.format else 1
    tonemap_s = 3.0 if video.hdr != "sdr" else 0.0
    measuring_s = 0.0 if spec.times else measuring_cost_s(info)
    return round(0.05 + measuring_s + decoded * megapixels / 150 + files * slow * megapixels / 50 + tonemap_s, 3)
