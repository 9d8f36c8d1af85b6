"""Where one shot ends and the next begins, told from small copies of the frames, pushed one after the other."""

from collections.abc import Iterable

import numpy as np

from pipelines.media.scenes.boundary import Boundary, Kind
from pipelines.media.scenes.cuts import CutFinder
from pipelines.media.scenes.gradual import DissolveFinder, Gradual, fades
from pipelines.media.scenes.thumbs import Thumb

_LEAST_CONTRAST = 6.0  # of a picture that a dissolve begins or ends with
REACH_LOOKS = 125  # no frame farther away than that bears upon a boundary
_LOOKS_PER_S = 25.0  # at most: what lasts needn't be looked at more often


class ShotDetector:
    """Is given the thumbs of all frames of a stretch, in the order they are shown in."""

    def __init__(self, frame_rate: float, *, from_start: bool = True, frames_before: int = 0) -> None:
        """``from_start``: the stretch begins where the film does.

        ``frames_before``: how many of the film come before it; looks are then at the same frames wherever it begins.
        """
        self._step = look_of(frame_rate)
        self._first_look = -frames_before % self._step
        self._from_start = from_start
        self._cuts = CutFinder(self._step)
        self._dissolves = DissolveFinder()
        self._pts: list[int] = []
        self._contrasts: list[float] = []

    def push(self, thumb: Thumb, pts: int) -> None:
        self._cuts.push(thumb)
        if len(self._pts) % self._step == self._first_look:
            self._dissolves.push(thumb)
        self._pts.append(pts)
        self._contrasts.append(float(thumb[0].std()))

    def result(self) -> tuple[Boundary, ...]:
        """All boundaries, in the order of the frames. Nothing can be pushed after it."""
        self._cuts.finish()
        contrasts = np.array(self._contrasts, np.float32)
        numbers = [cut.number for cut in self._cuts.cuts]
        faded = fades(contrasts, numbers, self._step, from_start=self._from_start)
        cuts = [cut for cut in self._cuts.cuts if not _within(faded, cut.number, cut.number)]
        dissolved = [
            each
            for each in map(self._in_frames, self._dissolves.finish())
            if not _within(faded, each.first, each.last)
            and min(contrasts[each.first], contrasts[each.last]) > _LEAST_CONTRAST
            and not any(each.first < cut.number <= each.last for cut in cuts)
        ]
        found = [
            *(self._boundary("cut", cut.confidence, cut.number - 1, cut.number, cut.number) for cut in cuts),
            *(self._boundary("dissolve", each.confidence, each.first, each.middle, each.last) for each in dissolved),
            *(self._boundary("fade", each.confidence, each.first, each.middle, each.last) for each in faded),
        ]
        return tuple(sorted(found, key=lambda boundary: boundary.pts))

    def _in_frames(self, looks: Gradual) -> Gradual:
        last = len(self._pts) - 1
        first, middle, end = (
            min(last, self._first_look + look * self._step) for look in (looks.first, looks.middle, looks.last)
        )
        return Gradual(first, middle, end, looks.confidence)

    def _boundary(self, kind: Kind, confidence: float, first: int, middle: int, last: int) -> Boundary:
        begin_pts, pts, end_pts = (self._pts[number] for number in (first, middle, last))
        return Boundary(pts=pts, kind=kind, confidence=round(confidence, 3), begin_pts=begin_pts, end_pts=end_pts)


def look_of(frame_rate: float) -> int:
    """How many frames make a look."""
    return max(1, round(frame_rate / _LOOKS_PER_S))


def _within(faded: Iterable[Gradual], first: int, last: int) -> bool:
    return any(first <= fade.last and last >= fade.first for fade in faded)
