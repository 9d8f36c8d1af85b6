"""Which quality to measure, and what came of it: the values that travel. Pure."""

from typing import Literal

from pydantic import BaseModel, Field

from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.parts import Part

Grade = Literal["excellent", "good", "fair", "poor", "bad"]
FlawKind = Literal["black", "freeze", "silence", "clipping"]


class QualitySpec(BaseModel, frozen=True, extra="forbid"):
    full: bool = Field(
        default=False,
        description="Decode all of it: black, frozen, silent and clipped stretches are found, and points lie closer. "
        "Else short windows that are spread over the film.",
    )


class Point(BaseModel, frozen=True, extra="forbid"):
    """What one picture, and those before it back to the last point, measure.

    Levels are those of 8 bits. ``si`` and ``ti``: spatial and temporal information by ITU-T P.910. ``blur``, from 0 to
    1, ``None`` of a flat picture. ``blockiness``: 1 where the 8x8 grid doesn't show. ``noise``: its standard deviation.
    ``banding``: the share of the picture's borders between levels that are contours. ``detail``: the highest frequency
    that is there, by the highest that there could be; ``None`` where too little is there to tell. ``luma``: mean.
    ``step``: of the quantiser, the geometric mean; ``None`` where the stream doesn't tell.
    """

    time_s: float
    si: float
    ti: float | None = None
    blur: float | None = None
    blockiness: float = 1.0
    noise: float = 0.0
    banding: float = 0.0
    detail: float | None = None
    luma: float = 0.0
    step: float | None = None


class Flaw(BaseModel, frozen=True, extra="forbid"):
    """From when to when a film is black, frozen, silent or clipped; ``stream``: of the picture, or of a sound track."""

    kind: FlawKind
    stream: int
    start_s: float
    end_s: float


class Measured(BaseModel, frozen=True, extra="forbid"):
    """What one part of a film, or its windows, came to. ``flaws`` at its edges may be short: they go on outside."""

    points: tuple[Point, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    pictures: int = 0
    samples: int = 0
    warnings: tuple[str, ...] = ()
    elapsed_s: float = 0.0


class QualityPlan(BaseModel, frozen=True, extra="forbid"):
    """``parts`` of a full measurement; without any, windows. A picture is measured each ``every_s`` seconds.

    ``warnings``: of what is missing of the file.
    """

    info: MediaInfo
    parts: tuple[Part, ...] = ()
    every_s: float = 1.0
    warnings: tuple[str, ...] = ()


class ScorePart(BaseModel, frozen=True, extra="forbid"):
    """One side of a score, from 0 to 100 if the other were perfect, and the figure it came from.

    ``lost``: the points that it takes from a perfect score, beside what the other takes; what both take adds up.
    """

    name: Literal["compression", "resolution"]
    score: float
    lost: float
    value: float
    unit: str
    source: str


class Score(BaseModel, frozen=True, extra="forbid"):
    """How a picture looks on a full screen of 1920x1080, as far as compression and resolution bear upon it.

    ``grade``: the five of ITU-T P.910, a fifth of the scale each.
    """

    score: float
    grade: Grade
    parts: tuple[ScorePart, ...]


class Summary(BaseModel, frozen=True, extra="forbid"):
    """Medians over all points; ``si`` and ``ti`` are the greatest, as ITU-T P.910 has it.

    ``bits_per_pixel`` of the picture's stream, and ``h264_bits_per_pixel``: about as many as H.264 would take for the
    same look. ``effective_height``: lines that the detail in the picture would fit in.
    """

    si: float
    ti: float | None
    blur: float | None
    blockiness: float
    noise: float
    banding: float
    step: float | None
    bits_per_pixel: float | None
    h264_bits_per_pixel: float | None
    height: int
    effective_height: int


class Recommendation(BaseModel, frozen=True, extra="forbid"):
    """``profile``: what to transcode with; ``None`` where no transcode helps."""

    code: str
    message: str
    profile: str | None = None


class QualityResult(BaseModel, frozen=True, extra="forbid"):
    """``flaws`` are those that fall into what was decoded, and the first hundred of each kind are listed.

    ``flawed_s`` adds up all of a kind. ``sampled``: the points are of windows. ``score`` is ``None`` without a picture,
    where nothing tells how it was compressed, and where all that was measured is blank.
    """

    score: float | None
    grade: Grade | None
    parts: tuple[ScorePart, ...]
    summary: Summary | None
    points: tuple[Point, ...]
    flaws: tuple[Flaw, ...]
    flawed_s: dict[FlawKind, float]
    recommendations: tuple[Recommendation, ...]
    sampled: bool
    pictures: int
    samples: int
    duration_s: float | None
    warnings: tuple[str, ...]
    worked_s: float


WINDOW_PICTURES = 12
_FEWEST_WINDOWS, _MOST_WINDOWS, _WINDOW_EACH_S = 3, 24, 8.0
_BYTES_PER_PIXEL = 130
_PROCESS_BYTES = 240 << 20
_STARTING_S = 0.2
_WINDOW_MEGAPIXELS_PER_S, _MEASURED_MEGAPIXELS_PER_S = 70.0, 25.0


def window_count(duration_s: float | None) -> int:
    """How many windows a film is looked at in; one, where nobody knows how long it is."""
    if duration_s is None:
        return 1
    return min(_MOST_WINDOWS, max(_FEWEST_WINDOWS, int(duration_s / _WINDOW_EACH_S)))


def windows_cost_s(info: MediaInfo) -> float:
    """Rough seconds of one CPU that measuring the windows of a film takes."""
    if info.video is None:
        return _STARTING_S
    pictures = window_count(info.duration_s) * WINDOW_PICTURES
    return round(_STARTING_S + pictures * _megapixels(info.video) / _WINDOW_MEGAPIXELS_PER_S, 3)


def part_cost_s(part: Part, points: float) -> float:
    """Of one part of a full measurement: decoding it, and measuring so many pictures."""
    return round(1.3 * part.cost_s + points * part.pixels / 1e6 / _MEASURED_MEGAPIXELS_PER_S, 3)


def memory_bytes(info: MediaInfo) -> int:
    video = info.video
    deep = 2 if video is not None and (video.bit_depth or 8) > 8 else 1
    return _PROCESS_BYTES + (0 if video is None else video.width * video.height * _BYTES_PER_PIXEL * deep)


def _megapixels(video: VideoInfo) -> float:
    return video.width * video.height / 1e6
