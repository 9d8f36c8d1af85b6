"""Which frames tell most about a video: sharp, well lit, rich in detail, unlike one another, each of another shot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipelines.media.images.analysis.perceptual_hash import dct_hash

_WIDTH = 160
_BINS = 64
_SHARP = 1500.0  # variance of the Laplacian of a crisp picture at this width
_LEAST = 0.08  # the score of a picture that shows something
_ALIKE = 0.25  # two frames whose histograms differ by less show the same
_UNLIKE = 0.7  # a difference of more counts for no more
_ALIKE_BITS = 12  # so do two whose hashes differ by fewer
_SAME = 0.02  # two whose hashes are the same, and whose histograms differ by less, are the same picture


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame's score from 0 to 1 and what it looks like: its luma histogram, summing to 1, and its pHash."""

    pts: int
    score: float
    histogram: NDArray[np.float64]
    hash: int

    @property
    def shows_nothing(self) -> bool:
        """Whether it's black, white or flat."""
        return self.score < _LEAST

    def is_like(self, other: "Candidate") -> bool:
        (alike,), _, _ = _Looks([self]).compared(other)
        return bool(alike)

    def difference(self, other: "Candidate") -> float:
        """From 0 to 2: how much the histogram changed, and the shapes."""
        _, _, (difference,) = _Looks([self]).compared(other)
        return float(difference)


class _Looks:
    """What candidates look like, to be compared with another all at once: of a film there may be thousands."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._histograms = np.array([each.histogram for each in candidates]).reshape(-1, _BINS)
        self._hashes = np.array([each.hash for each in candidates], np.uint64)

    def compared(self, other: Candidate) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
        """Which show the same as ``other``, which are the same picture, and how each differs from it."""
        recoloured = np.abs(self._histograms - other.histogram).sum(axis=1)
        redrawn = np.bitwise_count(self._hashes ^ np.uint64(other.hash))
        alike = (recoloured < _ALIKE) | (redrawn < _ALIKE_BITS)
        return alike, (recoloured < _SAME) & (redrawn == 0), recoloured / 2 + redrawn / 64


def judge(frame: VideoFrame) -> Candidate:
    """Score ``frame`` on a small grey copy.

    The score is entropy · sharpness · exposure, each from 0 to 1: Shannon's entropy of the luma histogram, low on
    fades and flat pictures; the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000), on a logarithmic scale; and how far the mean luma is from black and white.
    """
    height = max(2, round(frame.height * _WIDTH / frame.width / 2) * 2)
    grey = frame.reformat(width=_WIDTH, height=height, format="gray").to_ndarray().astype(np.uint8, copy=False)
    luma = grey.astype(np.float64)
    histogram = np.histogram(luma, bins=_BINS, range=(0, 256))[0] / luma.size
    filled = histogram[histogram > 0]
    entropy = float(-(filled * np.log2(filled)).sum()) / np.log2(_BINS)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    sharpness = min(1.0, float(np.log1p(laplacian.var()) / np.log1p(_SHARP)))
    brightness = float(luma.mean()) / 255
    exposure = max(0.0, 1 - (2 * abs(brightness - 0.45)) ** 3)
    assert frame.pts is not None
    return Candidate(frame.pts, entropy * sharpness * exposure, histogram, int(dct_hash(grey), 16))


def choose(
    candidates: Sequence[Candidate],
    count: int,
    is_changing: Callable[[int], bool] = lambda _: False,
    one_shot: Callable[[int, int], bool] = lambda _, __: False,
) -> list[Candidate]:
    """The best ``count`` that show something, are unlike one another and of different shots, in order of time.

    Of two, one that differs more from what is taken may go before one with a higher score. ``is_changing`` tells
    whether the frame of a time is on its way to another picture, ``one_shot`` whether no boundary lies between two;
    they are asked as seldom as can be. Where too few are left, others of the shots that there are come next, then what
    is changing, then what shows nothing; but no picture twice, so that they may be fewer than ``count``.
    """
    nothing = [each for each in candidates if each.shows_nothing]
    pool = _Pool([each for each in candidates if not each.shows_nothing])
    changing: list[Candidate] = []
    others: list[int] = []
    while len(pool.chosen) < count and (place := pool.taken()) is not None:
        pts = pool.candidates[place].pts
        if pool.alike[place]:
            others.append(place)
        elif is_changing(pts):
            changing.append(pool.candidates[place])
        elif any(one_shot(*sorted((pts, near))) for near in _neighbours(pts, pool.chosen)):
            others.append(place)
        else:
            pool.choose(place)
    pool.put_back(others)
    while len(pool.chosen) < count and (place := pool.taken()) is not None:
        if pool.same[place]:
            continue
        if is_changing(pool.candidates[place].pts):
            changing.append(pool.candidates[place])
        else:
            pool.choose(place)
    chosen = list(pool.chosen)
    for candidate in [*changing, *nothing]:
        if len(chosen) < count and not _Looks(chosen).compared(candidate)[1].any():
            chosen.append(candidate)
    return sorted(chosen, key=lambda candidate: candidate.pts)


class _Pool:
    """Candidates by their places, the best first. What differs more from those chosen is wanted more.

    ``alike``: which show the same as one that was chosen; ``same``: which are the same picture.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = sorted(candidates, key=lambda each: -each.score)
        self.chosen: list[Candidate] = []
        self.alike = np.zeros(len(candidates), bool)
        self.same = np.zeros(len(candidates), bool)
        self._scores = np.array([each.score for each in self.candidates])
        self._looks = _Looks(self.candidates)
        self._unlike = np.full(len(candidates), _UNLIKE)  # how each differs from what was chosen, as far as that counts
        self._left = np.ones(len(candidates), bool)

    def taken(self) -> int | None:
        """Take out the one that is wanted most; ``None`` where none is left."""
        if not self._left.any():
            return None
        place = int(np.where(self._left, self._scores * self._unlike, -1).argmax())
        self._left[place] = False
        return place

    def put_back(self, places: Sequence[int]) -> None:
        """Have these left, and no others."""
        self._left[:] = False
        self._left[list(places)] = True

    def choose(self, place: int) -> None:
        chosen = self.candidates[place]
        self.chosen.append(chosen)
        alike, same, differences = self._looks.compared(chosen)
        self.alike |= alike
        self.same |= same
        self._unlike = np.minimum(self._unlike, differences)


def _neighbours(pts: int, chosen: Sequence[Candidate]) -> list[int]:
    """Of what was chosen, the last before and the first behind ``pts``: only these can be of its shot."""
    before = [each.pts for each in chosen if each.pts < pts]
    behind = [each.pts for each in chosen if each.pts > pts]
    return [*([max(before)] if before else []), *([min(behind)] if behind else [])]
