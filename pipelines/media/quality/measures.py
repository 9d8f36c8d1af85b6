"""What one picture measures, by its luma: (height, width) of float32, in levels of 8 bits."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.measures import SIDE, blur_of, noise_of

Luma = NDArray[np.float32]

_GRID = 8  # pixels: blocks of JPEG and MPEG, and every other border of H.264's smallest transforms
_FLAT = 0.05  # levels: below, there is nothing to compare a grid with
_PLAIN = 4  # pixels on both sides of a contour that are all alike
_LEAST_SIDE = 16
_TILE = 64  # pixels: spectra of squares of this size
_TILES_SHARE, _FEWEST_TILES = 1 / 12, 4  # of the squares: those with most detail that coarse blocks of four show
_REFERENCE = slice(2, 6)  # of 33 frequencies: there is detail at these, if anywhere
_EXTINCT = 10**-0.9  # of the slope at the reference; a picture that was scaled up falls by far more
_EXTINCT_FOR = 3  # frequencies in a row
_LEAST_CONTRAST = 4.0  # levels, the deviation within a square


@dataclass(frozen=True)
class Measures:
    """See ``quality_spec.Point``."""

    si: float
    ti: float | None
    blur: float | None
    blockiness: float
    noise: float
    banding: float
    detail: float | None
    luma: float


def measure(luma: Luma, before: Luma | None) -> Measures:
    """``before`` is the picture before, of the same size; without it there is no temporal information."""
    levels = np.asarray(np.clip(np.rint(luma), 0, 255), np.uint8)
    return Measures(
        si=spatial_information(luma),
        ti=None if before is None or before.shape != luma.shape else temporal_information(luma, before),
        blur=_blur(luma),
        blockiness=blockiness(luma),
        noise=noise_of(levels[..., None]).sigma if min(luma.shape) >= _LEAST_SIDE else 0.0,
        banding=banding(levels),
        detail=detail(luma),
        luma=float(luma.mean()),
    )


def spatial_information(luma: Luma) -> float:
    """ITU-T P.910 (07/2022), 7.7.1: the deviation of the picture's Sobel gradient, without its edge."""
    if min(luma.shape) < 3:
        return 0.0
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    gradient = cv2.magnitude(across, down)[1:-1, 1:-1]
    return float(cv2.meanStdDev(gradient)[1][0, 0])


def temporal_information(luma: Luma, before: Luma) -> float:
    """ITU-T P.910 (07/2022), 7.7.2: the deviation of the difference from the picture before."""
    return float(cv2.meanStdDev(cv2.subtract(luma, before))[1][0, 0])


def _blur(luma: Luma) -> float | None:
    """Crete et al., "The Blur Effect", SPIE 6492, 2007, of the picture as seen on a screen."""
    factor = SIDE / max(luma.shape)
    small = luma if factor >= 1 else cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    if min(small.shape) < 2:
        return None
    return blur_of(np.asarray(small / np.float32(255), np.float32), np.ones(small.shape, bool))


def blockiness(luma: Luma) -> float:
    """How much more neighbours differ across the 8x8 grid than elsewhere: 1 where the grid doesn't show.

    After Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002,
    who set the mean difference at borders beside that within blocks.
    """
    ratios = []
    for axis in (0, 1):
        if luma.shape[axis] <= _GRID:
            continue
        near, far = (luma[:-1], luma[1:]) if axis == 0 else (luma[:, :-1], luma[:, 1:])
        lines = cv2.reduce(cv2.absdiff(near, far), 1 - axis, cv2.REDUCE_AVG).ravel()
        borders = np.arange(len(lines)) % _GRID == _GRID - 1
        ratios.append((lines[borders].mean() + _FLAT) / (lines[~borders].mean() + _FLAT))
    return float(np.mean(ratios)) if ratios else 1.0


def banding(levels: NDArray[np.uint8]) -> float:
    """The share of steps between neighbours that are contours: of one level, with plain lines on both sides.

    After Bhagavathy, Llach and Zhai, "Multi-scale probabilistic dithering for suppressing contour artifacts in digital
    images", IEEE TIP 18, 2009, who look for steps of one level between areas of one level each.
    """
    contours = steps = 0
    for near, far, window in (
        (levels[:, :-1], levels[:, 1:], (2 * _PLAIN + 1, 1)),
        (levels[:-1], levels[1:], (1, 2 * _PLAIN + 1)),
    ):
        if not near.size:
            continue
        difference = cv2.absdiff(near, far)
        stepped = np.asarray(difference > 0, np.uint8)
        steps += int(stepped.sum())
        around = cv2.boxFilter(stepped, cv2.CV_8U, window, normalize=False, borderType=cv2.BORDER_REPLICATE)
        contours += int(np.count_nonzero((difference == 1) & (around == 1)))
    return contours / steps if steps else 0.0


def detail(luma: Luma) -> float | None:
    """The share of the frequencies, from none to the highest that pixels hold, in which there is detail.

    The spectrum of what people film falls with the square of the frequency (Field, JOSA A 4, 1987); that of a picture
    which was scaled up ends where that of the small one did. Looked for in the squares with the most detail, since the
    rest may be out of focus. ``None`` where there is none.
    """
    rows, columns = luma.shape[0] // _TILE, luma.shape[1] // _TILE
    if rows * columns < _FEWEST_TILES:
        return None
    tiles = luma[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2)
    coarse = cv2.resize(luma[: rows * _TILE, : columns * _TILE], None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    coarse = coarse.reshape(rows, _TILE // 4, columns, _TILE // 4).swapaxes(1, 2)
    contrast = sum(np.abs(np.diff(coarse, axis=axis)).mean(axis=(2, 3)) for axis in (2, 3))
    count = max(_FEWEST_TILES, int(rows * columns * _TILES_SHARE))
    chosen = tiles.reshape(-1, _TILE, _TILE)[np.argsort(-np.ravel(contrast), kind="stable")[:count]]
    chosen = chosen - chosen.mean(axis=(1, 2), keepdims=True)
    if float(chosen.std()) < _LEAST_CONTRAST:
        return None
    window = np.hanning(_TILE).astype(np.float32)
    power = sum(
        (np.abs(np.fft.rfft(each * window, axis=2)) ** 2).mean(axis=(0, 1)) for each in (chosen, chosen.swapaxes(1, 2))
    )
    slope = power * np.arange(_TILE // 2 + 1) ** 2
    extinct = slope < _EXTINCT * slope[_REFERENCE].mean()
    for frequency in range(_REFERENCE.stop, len(extinct) - _EXTINCT_FOR + 1):
        if extinct[frequency : frequency + _EXTINCT_FOR].all():
            return frequency / (_TILE // 2)
    return 1.0
