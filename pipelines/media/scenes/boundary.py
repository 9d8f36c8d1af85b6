"""Boundaries of shots: the values that travel."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

Kind = Literal["cut", "dissolve", "fade"]


class Boundary(BaseModel, frozen=True, extra="forbid"):
    """``pts``: the first frame of the new shot; of a dissolve the middle, of a fade the first that is seen again.

    ``begin_pts`` and ``end_pts``: the last frame wholly of the shot before and the first wholly of the next. All in the
    stream's time base. ``confidence`` is above 0.5, and up to 1.
    """

    pts: int
    kind: Kind
    confidence: float
    begin_pts: int
    end_pts: int


def settled(boundaries: Sequence[Boundary], least_ticks: int, begin_pts: int, end_pts: int) -> tuple[Boundary, ...]:
    """Those that leave no shot shorter than ``least_ticks`` between ``begin_pts`` and ``end_pts``: the surest first."""
    chosen: dict[int, Boundary] = {}
    ends = [begin_pts, end_pts]
    for boundary in sorted(boundaries, key=lambda each: (-each.confidence, each.pts)):
        place = bisect_left(ends, boundary.pts)
        if all(abs(boundary.pts - end) >= least_ticks for end in ends[max(0, place - 1) : place + 1]):
            ends.insert(place, boundary.pts)
            chosen[boundary.pts] = boundary
    return tuple(chosen[pts] for pts in sorted(chosen))
