"""Choose which part of a picture is kept when some of it must go."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.geometry import Placement
from pipelines.media.images.salience import salience_map
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

_OFFSETS = 48
_LEVELS = 32


def window(picture: NDArray[np.uint8], placement: Placement, spec: ThumbnailSpec) -> tuple[int, int]:
    """Left and top of the part of ``picture`` that is kept: (height, width, channel), scaled as ``placement`` says."""
    if spec.focus is not None:
        return placement.window(*spec.focus)
    if spec.position == "centre" or not placement.is_cut:
        return placement.window(0.5, 0.5)
    one = picture[..., 0] if picture.shape[2] < 3 else cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2GRAY)
    grey = np.asarray(one, np.uint8)
    score = _entropy_of if spec.position == "entropy" else _Salience(grey)
    return max(_candidates(placement), key=lambda place: score(grey, place, placement.size))


def _candidates(placement: Placement) -> list[tuple[int, int]]:
    """Places from one end to the other; the centre first, so that it wins where all are alike."""
    slack = [scaled - kept for scaled, kept in zip(placement.scaled, placement.size, strict=True)]
    steps = {(round(slack[0] * part / _OFFSETS), round(slack[1] * part / _OFFSETS)) for part in range(_OFFSETS + 1)}
    centre = placement.window(0.5, 0.5)
    return [centre, *sorted(steps - {centre})]


def _entropy_of(grey: NDArray[np.uint8], place: tuple[int, int], size: tuple[int, int]) -> float:
    """Shannon's entropy of the grey levels of a window, in bits."""
    part = grey[place[1] : place[1] + size[1], place[0] : place[0] + size[0]]
    counts = np.bincount(part.ravel() // (256 // _LEVELS), minlength=_LEVELS)
    shares = counts[counts > 0] / part.size
    return float(-(shares * np.log2(shares)).sum())


class _Salience:
    """Sums of what stands out over windows."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        shown, self._factor = salience_map(grey)
        self._sums = cv2.integral(shown)

    def __call__(self, _grey: NDArray[np.uint8], place: tuple[int, int], size: tuple[int, int]) -> float:
        left, top = (round(at * self._factor) for at in place)
        right, bottom = (round((at + length) * self._factor) for at, length in zip(place, size, strict=True))
        right, bottom = min(right, self._sums.shape[1] - 1), min(bottom, self._sums.shape[0] - 1)
        sums = self._sums
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
