"""Cut a picture into parts that are decoded apart, at keyframes that a decoder can begin with. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.media.demuxing import UNDATED
from pipelines.media.parts import Part
from pipelines.media.validation.scan import ScannedStream

_PART_S = 6.0  # of work: a unit is short enough to pause at, and long enough for what comes with it
_MEGAPIXELS_PER_S, _MEGABYTES_PER_S = 550.0, 25.0  # decoded on one CPU: H.264 and HEVC of 720p and 1080p


@dataclass(frozen=True)
class Entrance:
    """A keyframe where a part may begin: its place among the packets, when it is shown, and what leads it."""

    place: int
    pts: int
    size_bytes: int
    leading: int


def decode_cost_s(pixels: int, frames: int, size_bytes: int) -> float:
    """Seconds on one CPU."""
    return frames * pixels / 1e6 / _MEGAPIXELS_PER_S + size_bytes / 1e6 / _MEGABYTES_PER_S


def entrances(picture: ScannedStream) -> list[Entrance]:
    """Keyframes before which, in order of decoding, all is shown earlier, and behind which all is shown later.

    But for packets that follow at once and lead it: those need what was before, and go with that. None where times
    don't tell, or an edit list leaves frames out.
    """
    shown, keys = np.array(picture.shown, np.int64), np.array(picture.keys, bool)
    if not len(shown) or (shown == UNDATED).any() or np.array(picture.hidden, bool).any():
        return []
    if len(np.unique(shown)) < len(shown):
        return []
    latest_before = np.maximum.accumulate(shown)
    earliest_behind = np.minimum.accumulate(shown[::-1])[::-1]
    found = [Entrance(0, int(shown[0]), picture.sizes[0], 0)] if keys[0] and earliest_behind[0] == shown[0] else []
    for place in np.flatnonzero(keys[1:]) + 1:
        pts = shown[place]
        behind = place + 1
        while behind < len(shown) and shown[behind] < pts:
            behind += 1
        if latest_before[place - 1] < pts and (behind == len(shown) or earliest_behind[behind] > pts):
            found.append(Entrance(int(place), int(pts), picture.sizes[place], int(behind - place - 1)))
    return found


def cut(picture: ScannedStream, doors: Sequence[Entrance], slots: int, *, few: bool = False) -> tuple[Part, ...]:
    """Parts of about as much work each, as many for each slot, as far as there are ways in.

    ``few``: one for each slot, since who begins in the middle reads all that is before.
    """
    sizes = np.array(picture.sizes, np.int64)
    costs = np.cumsum(picture.pixels / 1e6 / _MEGAPIXELS_PER_S + sizes / 1e6 / _MEGABYTES_PER_S)
    count = slots if few else -(-max(1, round(float(costs[-1]) / _PART_S)) // slots) * slots
    borders = _borders(costs, doors, count)
    parts = []
    for number, door in enumerate(borders):
        behind = borders[number + 1] if number + 1 < len(borders) else None
        end = len(sizes) if behind is None else behind.place
        parts.append(
            Part(
                streams=(picture.index,),
                key_pts=door.pts if number else None,
                key_bytes=door.size_bytes if number else None,
                begin_pts=door.pts if number else None,
                end_pts=None if behind is None else behind.pts,
                leading=behind is not None and behind.leading > 0,
                frames=end - door.place,
                pixels=picture.pixels,
                cost_s=round(float(costs[end - 1] - (costs[door.place - 1] if door.place else 0.0)), 3),
                begin_s=picture.seconds(door.pts) if number else 0.0,
                end_s=None if behind is None else picture.seconds(behind.pts),
            )
        )
    return tuple(parts)


def _borders(costs: NDArray[np.float64], doors: Sequence[Entrance], count: int) -> list[Entrance]:
    """The entrances nearest to equal shares of the work; the first packet, whatever it is, begins the first part."""
    first = Entrance(0, 0, 0, 0)
    borders = [first]
    if count < 2 or not doors:
        return borders
    places = np.array([door.place for door in doors])
    for number in range(1, count):
        wanted = np.searchsorted(costs, costs[-1] * number / count)
        nearest = doors[int(np.abs(places - wanted).argmin())]
        if nearest.place > borders[-1].place:
            borders.append(nearest)
    return borders
