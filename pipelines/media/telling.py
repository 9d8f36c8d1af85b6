"""Which frames tell most about a video: sharp, well lit, rich in detail, unlike one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_WIDTH = 160
_BINS = 64
_SHARP = 1500.0  # variance of the Laplacian of a crisp picture at this width
_ALIKE = 0.25  # two frames whose histograms differ by less show the same


@dataclass(frozen=True)
class Candidate:
    """A frame's score from 0 to 1 and what it looks like: its luma histogram, summing to 1."""

    pts: int
    score: float
    histogram: NDArray[np.float64]


def judge(frame: VideoFrame) -> Candidate:
    """Score ``frame`` on a small grey copy.

    The score is entropy · sharpness · exposure, each from 0 to 1: Shannon's entropy of the luma histogram, low on
    fades and flat pictures; the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000), on a logarithmic scale; and how far the mean luma is from black and white.
    """
    height = max(2, round(frame.height * _WIDTH / frame.width / 2) * 2)
    luma = frame.reformat(width=_WIDTH, height=height, format="gray").to_ndarray().astype(np.float64)
    histogram = np.histogram(luma, bins=_BINS, range=(0, 256))[0] / luma.size
    filled = histogram[histogram > 0]
    entropy = float(-(filled * np.log2(filled)).sum()) / np.log2(_BINS)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    sharpness = min(1.0, float(np.log1p(laplacian.var()) / np.log1p(_SHARP)))
    brightness = float(luma.mean()) / 255
    exposure = max(0.0, 1 - (2 * abs(brightness - 0.45)) ** 3)
    assert frame.pts is not None
    return Candidate(frame.pts, entropy * sharpness * exposure, histogram)


def choose(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The best ``count``, in order of time; one that looks like a better one is taken only if nothing else is left."""
    ranked = sorted(candidates, key=lambda candidate: candidate.score, reverse=True)
    chosen: list[Candidate] = []
    spare: list[Candidate] = []
    for candidate in ranked:
        alike = any(float(np.abs(candidate.histogram - other.histogram).sum()) < _ALIKE for other in chosen)
        (spare if alike else chosen).append(candidate)
    return sorted((chosen + spare)[:count], key=lambda candidate: candidate.pts)
