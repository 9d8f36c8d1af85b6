"""Which scenes to find, and what came of it: the values that travel; ``scenes`` does the work."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

from pydantic import BaseModel, Field

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.info import VideoInfo
from pipelines.media.profiles import rate_of
from pipelines.media.scenes.boundary import Boundary, Kind, settled
from pipelines.media.units import Seconds

MAX_BOUNDARIES = 20_000
SUFFIX = ".scenes.json"
_TOLD = 100
_MEGAPIXELS_PER_S = 450  # of H.264 on one CPU; heavier codecs and more bits take up to three times as long
_STRETCH_COST_S = 30.0
_WORTH_CUTTING_S = 1.0
_LEAST_STRETCH_S = 120.0  # of film: what is looked at twice stays below a tenth
_USUAL_RATE = 25.0
_BYTES_PER_PIXEL = 40
_PROCESS_BYTES = 200 << 20


class ScenesSpec(BaseModel, frozen=True, extra="forbid"):
    """Boundaries of shots that are as sure as ``min_confidence``, and no closer than ``min_scene_s``."""

    min_scene_s: Seconds = Field(
        default=0.5,
        ge=0,
        le=3600,
        description="Seconds that a scene lasts at least; of two boundaries closer than that, the surer one counts.",
    )
    min_confidence: float = Field(
        default=0.5, ge=0.5, le=1, description="How sure a boundary must be: 0.5 for all that are found, up to 1."
    )


class Stretch(BaseModel, frozen=True, extra="forbid"):
    """A part of a film that is looked through by itself, in ticks of its picture.

    Of its boundaries those from ``begin_pts`` up to ``end_pts`` count; ``None`` is the film's own border. It is decoded
    from the keyframe ``from_pts`` on, and up to ``until_pts``: what is around bears upon what is found.
    """

    begin_pts: int | None = None
    end_pts: int | None = None
    from_pts: int | None = None
    until_pts: int | None = None
    length_s: float
    cost_s: float


class ScenesPlan(BaseModel, frozen=True, extra="forbid"):
    """``end_s``: where the pictures end, in seconds from ``start``, which is the container's, on its own clock.

    ``start`` and ``time_base`` are fractions in text. ``first_pts``: when the first picture is shown.
    """

    stretches: tuple[Stretch, ...]
    stream: int
    time_base: str
    start: str
    first_pts: int
    end_s: float
    frame_rate: float
    memory_bytes: int
    warnings: tuple[str, ...] = ()


class StretchResult(BaseModel, frozen=True, extra="forbid"):
    """What was found in a stretch: its own boundaries and how many frames it has."""

    boundaries: tuple[Boundary, ...]
    frames: int
    decode_errors: int


class SceneBoundary(BaseModel, frozen=True, extra="forbid"):
    """A boundary in seconds from the container's start; ``pts`` is that of its frame, in the picture's time base."""

    time_s: float
    pts: int
    kind: Kind
    confidence: float
    begin_s: float
    end_s: float


class ScenesResult(BaseModel, frozen=True, extra="forbid"):
    """``boundaries`` are the first hundred of ``count``; all are in the file."""

    name: str
    count: int
    cuts: int
    dissolves: int
    fades: int
    shortest_s: float
    median_s: float
    longest_s: float
    frames: int
    duration_s: float
    decode_errors: int
    boundaries: tuple[SceneBoundary, ...]
    warnings: tuple[str, ...] = ()


class Scenes(BaseModel, frozen=True, extra="forbid"):
    """What the file holds: all boundaries, in the order of time, and the time base of their ``pts``."""

    version: int = 1
    duration_s: float
    time_base: str
    boundaries: tuple[SceneBoundary, ...]


def stretch_count(video: VideoInfo, end_s: float, slots: int, *, few: bool = False) -> int:
    """In how many parts a film is looked through, so that none takes long and no slot waits.

    ``few``: one for each slot, since who begins in the middle reads all that is before.
    """
    whole_s = cost_s(video, end_s)
    wanted = max(slots if whole_s > _WORTH_CUTTING_S else 1, 0 if few else math.ceil(whole_s / _STRETCH_COST_S))
    return max(1, min(wanted, int(end_s / _LEAST_STRETCH_S)))


def frame_rate_of(video: VideoInfo) -> float:
    """About how many frames there are a second: of two rates told, where one is of the clock, the lower one."""
    rates = [float(rate) for text in (video.average_frame_rate, video.frame_rate) if (rate := rate_of(text))]
    return min(rates, default=_USUAL_RATE)


def cost_s(video: VideoInfo, length_s: float) -> float:
    """Rough seconds that looking through ``length_s`` of it takes on one CPU."""
    heavy = 1.0 if video.codec in {"h264", "mpeg4", "mpeg2video", "mpeg1video", "vp8"} else 2.0
    depth = 1.5 if (video.bit_depth or 8) > 8 else 1.0
    megapixels = video.width * video.height / 1e6
    return length_s * frame_rate_of(video) * (megapixels * heavy * depth / _MEGAPIXELS_PER_S + 0.0006)


def memory_bytes(video: VideoInfo) -> int:
    return _PROCESS_BYTES + video.width * video.height * _BYTES_PER_PIXEL * (2 if (video.bit_depth or 8) > 8 else 1)


def gathered(
    plan: ScenesPlan, results: Sequence[StretchResult], spec: ScenesSpec, name: str
) -> tuple[Scenes, ScenesResult]:
    """What all stretches found, as one.

    Raises:
        SourceUnreadableError: there isn't a frame in it.
    """
    frames, errors = sum(each.frames for each in results), sum(each.decode_errors for each in results)
    if not frames:
        raise SourceUnreadableError("No frame of the video stream decodes; the file is damaged.")
    boundaries = tuple(_in_seconds(each, plan) for each in _chosen(plan, results, spec))
    times_s = [0.0, *(each.time_s for each in boundaries), plan.end_s]
    lengths_s = [round(after - before, 3) for before, after in pairwise(times_s)]
    kinds = Counter(each.kind for each in boundaries)
    result = ScenesResult(
        name=name,
        count=len(boundaries),
        cuts=kinds["cut"],
        dissolves=kinds["dissolve"],
        fades=kinds["fade"],
        shortest_s=min(lengths_s),
        median_s=round(median(lengths_s), 3),
        longest_s=max(lengths_s),
        frames=frames,
        duration_s=plan.end_s,
        decode_errors=errors,
        boundaries=boundaries[:_TOLD],
        warnings=(*plan.warnings, *_damage(errors)),
    )
    return Scenes(duration_s=plan.end_s, time_base=plan.time_base, boundaries=boundaries), result


def _chosen(plan: ScenesPlan, results: Sequence[StretchResult], spec: ScenesSpec) -> Sequence[Boundary]:
    time_base, start = Fraction(plan.time_base), Fraction(plan.start)
    found = [each for result in results for each in result.boundaries if each.confidence >= spec.min_confidence]
    found = sorted(found, key=lambda each: -each.confidence)[:MAX_BOUNDARIES]
    begin_pts = round(start / time_base)
    end_pts = begin_pts + round(Fraction(plan.end_s) / time_base)
    return settled(found, round(Fraction(spec.min_scene_s) / time_base), begin_pts, end_pts)


def _in_seconds(boundary: Boundary, plan: ScenesPlan) -> SceneBoundary:
    time_base, start = Fraction(plan.time_base), Fraction(plan.start)

    def time_of(pts: int) -> float:
        return round(float(pts * time_base - start), 6)

    return SceneBoundary(
        time_s=time_of(boundary.pts),
        pts=boundary.pts,
        kind=boundary.kind,
        confidence=boundary.confidence,
        begin_s=time_of(boundary.begin_pts),
        end_s=time_of(boundary.end_pts),
    )


def _damage(errors: int) -> tuple[str, ...]:
    return (f"{errors} packets of the picture don't decode; look at the scenes there.",) if errors else ()
