"""What lies around a frame of a film: whether it is on its way to another picture, and where shots end.

A film of which frames were picked is looked into where it's asked; one that is decoded anyway is looked through once.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipelines.media.frames import FrameReader
from pipelines.media.scenes.boundary import Boundary
from pipelines.media.scenes.cuts import CutFinder
from pipelines.media.scenes.detector import ShotDetector, look_of
from pipelines.media.scenes.thumbs import Thumb, ThumbMaker

_SPANS = (4, 8, 16)  # looks over which a picture that is on its way is seen to change
_LEAST_CHANGE = 5.0  # of luma and both chromas in all: less is not seen
_ASTRAY = 0.3  # of the change: so far a picture may be from the mixture of those around it
_LEAST_CHANGED = 0.4  # of the picture: what moves in front of the rest is less
_SAME, _DIMMED = 0.9, 1.2  # of a fade: how like its pictures are but for their contrast, and how that differs
_LONGEST_S = 20  # of a shot that has two frames unlike each other
_REACH_S = 2.5  # a dissolve, and as much of the shots beside it
_EDGE = 0.2  # of a gradual change: so far it may begin before, and end behind what was found


class Surroundings(Protocol):
    def is_changing(self, pts: int) -> bool:
        """Whether the frame at ``pts`` is part of a dissolve or a fade."""

    def one_shot(self, begin_pts: int, end_pts: int) -> bool:
        """Whether no boundary of shots lies between the frames at ``begin_pts`` and ``end_pts``."""

    def boundaries(self, begin_pts: int, end_pts: int) -> tuple[Boundary, ...]:
        """The boundaries of shots from ``begin_pts`` up to ``end_pts``, as far as what lies between them tells."""


class LookedInto:
    """The surroundings of a few frames of a film with about ``frame_rate``, read when they are asked for."""

    def __init__(self, reader: FrameReader, time_base: Fraction, frame_rate: float) -> None:
        self._reader = reader
        self._time_base = time_base
        self._rate = frame_rate
        self._step = look_of(frame_rate)
        self._thumbs = ThumbMaker()

    def is_changing(self, pts: int) -> bool:
        looks = islice(self._from(pts, None), 0, max(_SPANS) * self._step + 1, self._step)
        thumbs = [thumb for thumb, _ in looks]
        if not mixes(thumbs):
            return False
        reach = int(_REACH_S / self._time_base)
        return dims(thumbs) or _is_within(self.boundaries(pts - reach, pts + reach), pts)

    def one_shot(self, begin_pts: int, end_pts: int) -> bool:
        if (end_pts - begin_pts) * self._time_base > _LONGEST_S:
            return False
        cuts, detector = CutFinder(self._step), ShotDetector(self._rate)
        for thumb, pts in self._from(begin_pts, end_pts):
            cuts.push(thumb)
            detector.push(thumb, pts)
            if cuts.cuts:
                return False
        return not detector.result()

    def boundaries(self, begin_pts: int, end_pts: int) -> tuple[Boundary, ...]:
        detector = ShotDetector(self._rate, from_start=False)
        for thumb, pts in self._from(begin_pts, end_pts):
            detector.push(thumb, pts)
        return detector.result()

    def _from(self, pts: int, end_pts: int | None) -> Iterator[tuple[Thumb, int]]:
        frame: VideoFrame | None = self._reader.at(pts)
        while frame is not None and frame.pts is not None and (end_pts is None or frame.pts <= end_pts):
            yield self._thumbs.make(frame), frame.pts
            frame = self._reader.following()


class LookedThrough:
    """The surroundings of the frames shown at ``wanted``, told when all frames, in order, have been pushed."""

    def __init__(self, wanted: Iterable[int], frame_rate: float) -> None:
        self._wanted = sorted(wanted, reverse=True)
        self._step = look_of(frame_rate)
        self._thumbs = ThumbMaker()
        self._detector = ShotDetector(frame_rate)
        self._boundaries: tuple[Boundary, ...] = ()
        self._looks: dict[int, list[Thumb]] = {}
        self._open: dict[int, int] = {}  # frames seen since one that is looked around

    def push(self, frame: VideoFrame, next_pts: int | None) -> bool:
        """Take the next frame, shown until ``next_pts`` or the end; tells whether it's shown at a time wanted."""
        assert frame.pts is not None
        thumb = self._thumbs.make(frame)
        self._detector.push(thumb, frame.pts)
        left = len(self._wanted)
        while self._wanted and (next_pts is None or self._wanted[-1] < next_pts):
            self._wanted.pop()
        begins = len(self._wanted) < left
        if begins:
            self._open[frame.pts], self._looks[frame.pts] = 0, []
        for pts, seen in list(self._open.items()):
            if seen % self._step == 0:
                self._looks[pts].append(thumb)
            self._open[pts] = seen + 1
            if len(self._looks[pts]) > max(_SPANS):
                del self._open[pts]
        return begins

    def finish(self) -> None:
        self._boundaries = self._detector.result()

    def is_changing(self, pts: int) -> bool:
        looks = self._looks[pts]
        return mixes(looks) and (dims(looks) or _is_within(self._boundaries, pts))

    def one_shot(self, begin_pts: int, end_pts: int) -> bool:
        return not self.boundaries(begin_pts, end_pts)

    def boundaries(self, begin_pts: int, end_pts: int) -> tuple[Boundary, ...]:
        return tuple(each for each in self._boundaries if begin_pts < each.pts <= end_pts)


def _is_within(boundaries: Sequence[Boundary], pts: int) -> bool:
    """Whether one of those that aren't cuts is under way at ``pts``. A slow pan is a mixture of pictures, but none."""
    for each in boundaries:
        edge = int(_EDGE * (each.end_pts - each.begin_pts))
        if each.kind != "cut" and each.begin_pts - edge <= pts <= each.end_pts + edge:
            return True
    return False


def mixes(thumbs: Sequence[Thumb]) -> bool:
    """Whether the first of ``thumbs``, one a look, is on its way to a later one: all between are mixtures of both.

    So it is in dissolves and in fades, whose other picture is black.
    """
    pictures = np.array(thumbs, np.float32)
    return any(_mixes(pictures[: span + 1]) for span in _SPANS if span < len(pictures))


def _mixes(pictures: NDArray[np.float32]) -> bool:
    first, last = pictures[0], pictures[-1]
    change = np.abs(last - first).sum(0)
    if change.mean() < _LEAST_CHANGE or (change > _LEAST_CHANGE / 2).mean() < _LEAST_CHANGED:
        return False
    shares = np.linspace(0, 1, len(pictures), dtype=np.float32)[:, None, None, None]
    astray = np.abs(pictures - (first + shares * (last - first))).sum(1).mean((1, 2))
    return float(astray.max()) < _ASTRAY * float(change.mean())


def dims(thumbs: Sequence[Thumb]) -> bool:
    """Whether the first and the last of ``thumbs`` are one picture of different contrast."""
    first, last = (each[0].astype(np.float64) - each[0].mean() for each in (thumbs[0], thumbs[-1]))
    weaker, stronger = sorted((float(first.std()), float(last.std())))
    alike = float((first * last).mean()) / (weaker * stronger + 1e-6)
    return stronger > _DIMMED * weaker and (alike > _SAME or weaker < 1)
