"""Gradual changes of shot: dissolves, each frame of which is nearly a mixture of two pictures, and fades."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.media.scenes.thumbs import HEIGHT, WIDTH, Thumb

_LENGTHS = (8, 12, 18, 26, 36)  # looks that a dissolve lasts
_MIXED = np.arange(1, 8) / 8  # where in it the mixture is proved
_PART = 4  # pixels of a thumb that make one here, on each side
_UNLIKE = 16.0  # the least mean difference of the pictures before and after it, of luma and both chromas in all
_LEAST_CHANGED = 0.58  # of the picture
_NOISE = 4.0
_WORST = 0.3
_BEGIN = max(_LENGTHS)  # looks kept before those that are judged, and twice as many behind them
_JUDGED_AT_ONCE = 512

_FLAT = 3.0  # the contrast of a picture without any
_RAMP_LOOKS = 50
_LEAST_RAMP = 3
_LEAST_RISE = 8.0
_RISEN = 0.97
_LARGEST_STEP = 0.6  # of the rise: else it's a cut


@dataclass(frozen=True)
class Gradual:
    """``first`` is the last frame wholly of the shot before, ``last`` the first wholly of the next.

    ``middle`` is the frame that stands for it.
    """

    first: int
    middle: int
    last: int
    confidence: float


class DissolveFinder:
    """Is given a thumb every look; frames are counted in looks."""

    def __init__(self) -> None:
        self._pictures: list[NDArray[np.float32]] = []
        self._dropped = 0
        self._judged = 0  # from here on no window was judged
        self._found: list[tuple[float, int, int]] = []

    def push(self, thumb: Thumb) -> None:
        parts = thumb.reshape(3, HEIGHT // _PART, _PART, WIDTH // _PART, _PART).mean((2, 4), dtype=np.float32)
        # Without its mean: an exposure that changes is no dissolve.
        self._pictures.append(parts - parts.mean((1, 2), keepdims=True))
        if len(self._pictures) >= _JUDGED_AT_ONCE + 3 * _BEGIN:
            self._judge(len(self._pictures) - 2 * _BEGIN)
            surplus = len(self._pictures) - 3 * _BEGIN
            del self._pictures[:surplus]
            self._dropped += surplus

    def finish(self) -> list[Gradual]:
        """All dissolves, the best of those that overlap or nearly do."""
        self._judge(len(self._pictures))
        chosen: list[tuple[float, int, int]] = []
        for badness, begin, end in sorted(self._found):
            apart = (end - begin) // 2
            if all(end + apart < other[1] or begin - apart > other[2] for other in chosen):
                chosen.append((badness, begin, end))
        return [
            Gradual(begin, (begin + end + 1) // 2, end, 1 - badness / _WORST / 2)
            for badness, begin, end in sorted(chosen, key=lambda each: each[1])
        ]

    def _judge(self, until: int) -> None:
        """Judge the windows that begin before place ``until`` and weren't yet."""
        pictures = np.stack(self._pictures) if self._pictures else np.empty((0, 3, 1, 1), np.float32)
        first = self._judged - self._dropped
        for length in _LENGTHS:
            begins = np.arange(first, min(until, len(pictures) - length))
            if begins.size:
                for place, badness in zip(begins, _badness(pictures, begins, length), strict=True):
                    if badness < _WORST:
                        begin = int(place) + self._dropped
                        self._found.append((float(badness), begin, begin + length))
        self._judged = until + self._dropped


def _badness(pictures: NDArray[np.float32], begins: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """How little each stretch of ``length`` looks is a dissolve.

    The worst of its frames' distances from the mixture, by that of its ends; and more where the shots around it change
    as much as it does, or its ends are much the same picture. A title that appears changes the smaller part of it only.
    """
    before, after = pictures[begins], pictures[begins + length]
    unlike = _distance(before, after)
    astray = np.zeros(len(begins))
    for mixed in np.unique(np.round(_MIXED * length).astype(int)):
        share = np.float32(mixed / length)
        mixture = (1 - share) * before + share * after
        astray = np.maximum(astray, _distance(pictures[begins + mixed], mixture))
    around = _distance(before, pictures[np.maximum(begins - length, 0)])
    around = around + _distance(after, pictures[np.minimum(begins + 2 * length, len(pictures) - 1)])
    unrest = around / 2 / np.maximum(unlike, 1)
    alike = _correlation(before[:, 0], after[:, 0])
    badness = astray / (unlike + _NOISE) + 0.25 * np.maximum(0, unrest - 0.2) + 0.15 * np.maximum(0, alike - 0.3)
    changed = (np.abs(before - after).sum(1) > _UNLIKE).mean((1, 2))
    return np.where((unlike < _UNLIKE) | (changed < _LEAST_CHANGED), np.inf, badness)


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.abs(a - b).sum(1).mean((1, 2)), np.float64)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    spread = np.sqrt((a**2).mean((1, 2)) * (b**2).mean((1, 2)))
    return np.asarray((a * b).mean((1, 2)) / (spread + 1), np.float64)


def fades(contrasts: NDArray[np.float32], cuts: Sequence[int], step: int, *, from_start: bool) -> list[Gradual]:
    """Fades, from the contrast of each frame: the standard deviation of its luma.

    A run of frames without contrast is one if it has grown out of a picture, or a picture grows out of it, before the
    next of ``cuts``, the first frames of shots. ``middle`` is the first frame with a picture. ``from_start``: there is
    nothing before the first frame.
    """
    found = []
    flat = np.concatenate(([False], contrasts < _FLAT, [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    for begin, end in edges.reshape(-1, 2).tolist():
        if end == len(contrasts) or (begin == 0 and from_start):
            continue
        ramp = _RAMP_LOOKS * step
        next_cut = min((cut for cut in cuts if cut > end + 1), default=len(contrasts))
        last_cut = max((cut for cut in cuts if cut < begin), default=0)
        after = _ramp(contrasts[max(end - 1, 0) : min(next_cut, end + ramp)], step)
        before = _ramp(contrasts[max(last_cut, begin - ramp) : begin + 1][::-1], step)
        if before or after:
            first, last = max(0, begin - max(before, 1)), end + max(after - 1, 0)
            darkest, richest = float(contrasts[begin:end].min()), float(max(contrasts[first], contrasts[last]))
            found.append(Gradual(first, end, last, 1 - darkest / richest / 2))
    return found


def _ramp(contrasts: NDArray[np.float32], step: int) -> int:
    """How many frames the contrast rises for, from the first on, until it's nearly as high as it gets.

    0 where it doesn't rise, or jumps.
    """
    steps = np.diff(contrasts)
    falls = np.flatnonzero(steps < -0.02 * np.maximum(contrasts[:-1], 1))
    rising = contrasts[: int(falls[0]) + 1] if falls.size else contrasts
    length = int(np.argmax(rising >= _RISEN * rising.max()))
    rise = float(contrasts[length] - contrasts[0])
    if length < _LEAST_RAMP * step or rise < _LEAST_RISE or float(steps[:length].max()) > _LARGEST_STEP * rise:
        return 0
    return length
