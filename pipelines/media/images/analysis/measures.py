"""Measure a picture: how sharp, light, contrasty, colourful, tinted and noisy it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.analysis.analysis_spec import (
    Cast,
    CastDirection,
    Colour,
    Contrast,
    Exposure,
    Noise,
    Sharpness,
)
from pipelines.media.images.scaling import flattened, scaled
from pipelines.media.images.srgb import LINEAR, lab_of

SIDE = 1024  # of a picture as seen whole on a screen; all but noise is measured at that size
_WHITE = (255, 255, 255)
_BLACK_LEVEL, _BLOWN_LEVEL = 2, 253  # all channels beyond: nothing is left there, but for a JPEG's rounding
_REBLUR = 11  # pixels: the window of Crete's low-pass filter, as in scikit-image
_BLOCK = 32  # noise is looked for in squares of so many pixels, of which some are smooth in nearly any picture
_ENOUGH = 12_000_000  # pixels: more would take memory and time, and tell nothing new
_SMOOTH_SHARE = 0.1  # of the squares: those that vary least hold noise and little else
_TEXTURE = 1.1  # its variance at half the size against that at full: 1.0 to 4 was measured in photographs' smooth parts
_SECOND = np.array([1, -2, 1], np.float32)  # difference: across and down, it's that of two Laplacians
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green, blue: Rec. 709
_BRIGHTEST = 0.05  # of the pixels: those that show the colour of the light
_TINTED = 1.0  # Lab: half of what can be told apart at all; no direction below
# Hue angles in CIE Lab, in degrees, of what people call so.
_HUES: dict[CastDirection, float] = {
    "red": 25,
    "orange": 60,
    "yellow": 95,
    "green": 150,
    "cyan": 205,
    "blue": 265,
    "violet": 305,
    "magenta": 335,
}


@dataclass(frozen=True)
class Sample:
    """A picture at the size it's looked at: sRGB over white, luma, CIE Lab, and where it is shown at all.

    ``shown`` is everywhere true where a picture is clear throughout: it looks white then.
    """

    rgb: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    lab: NDArray[np.float32]
    shown: NDArray[np.bool_]

    def colours(self) -> NDArray[np.uint8]:
        """(n, 3): what is shown of ``rgb``."""
        colours = self.rgb.reshape(-1, 3)
        return colours if self.shown.all() else colours.compress(self.shown.ravel(), axis=0)


def sample_of(array: NDArray[np.uint8]) -> Sample:
    """``array`` (height, width, channel) upright in sRGB, at most ``SIDE`` pixels a side."""
    height, width = array.shape[:2]
    factor = min(1.0, SIDE / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = scaled(array, size, (width, height))
    rgb = flattened(small, _WHITE)
    rgb = np.ascontiguousarray(np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb)
    return Sample(rgb, luma_of(rgb), lab_of(rgb), _shown(small))


def luma_of(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width) of (height, width, 1 or 3): the luma of Rec. 601."""
    if array.shape[2] == 1:
        return np.ascontiguousarray(array[..., 0])
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2GRAY), np.uint8)


def _shown(array: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if array.shape[2] == 4 and (shown := array[..., 3] >= 128).any():
        return np.asarray(shown)
    return np.ones(array.shape[:2], bool)


def _inner(shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is shown and has no clear pixel beside it, whose edge isn't the picture's; all where that is nothing."""
    inner = cv2.erode(shown.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return inner if inner.any() else np.ones_like(shown)


def _mask(told: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """``told`` as OpenCV takes it: None is everywhere, and takes less time."""
    return None if told.all() else told.view(np.uint8)


def sharpness_of(sample: Sample) -> Sharpness:
    """Three measures of how quickly the picture changes.

    Laplacian: variance of the Laplacian, Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR
    2000. Tenengrad: mean of the squared Sobel gradient, Krotkov, "Focusing", IJCV 1, 1988. Both of luma from 0 to 1,
    in thousandths.
    """
    grey = np.asarray(sample.grey / np.float32(255), np.float32)
    inner = _inner(sample.shown)
    mask = _mask(inner)
    deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F), mask=mask)[1].item()
    across, down = (cv2.norm(cv2.Sobel(grey, cv2.CV_32F, *order), cv2.NORM_L2SQR, mask) for order in ((1, 0), (0, 1)))
    return Sharpness(
        width=grey.shape[1],
        height=grey.shape[0],
        blur=blur_of(grey, inner),
        laplacian=_rounded(deviation**2 * 1000),
        tenengrad=_rounded((across + down) / np.count_nonzero(inner) * 1000),
    )


def blur_of(grey: NDArray[np.float32], inner: NDArray[np.bool_]) -> float | None:
    """Crete et al., "The Blur Effect", SPIE 6492, 2007: how little changes when the picture is blurred once more.

    Neighbours' differences, before and after; the share of them that stays is the blur, of the worse direction.
    """
    worst = None
    for axis, window in ((0, (1, _REBLUR)), (1, (_REBLUR, 1))):
        if grey.shape[axis] == 1:
            continue
        again = np.asarray(cv2.blur(grey, window), np.float32)
        before, after = (_steps(each, axis) for each in (grey, again))
        kept = inner[1:] if axis == 0 else inner[:, 1:]
        mask = _mask(kept)
        total = cv2.norm(before, cv2.NORM_L1, mask)
        if total <= np.count_nonzero(kept) / 255 / 1000:  # a level in a thousand pixels: rounding, no picture
            continue
        lost = cv2.norm(np.maximum(before - after, 0), cv2.NORM_L1, mask)
        blur = 1 - lost / total
        worst = blur if worst is None else max(worst, blur)
    return None if worst is None else _rounded(min(max(worst, 0.0), 1.0))


def _steps(grey: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """How much neighbours along ``axis`` differ."""
    one, other = (grey[1:], grey[:-1]) if axis == 0 else (grey[:, 1:], grey[:, :-1])
    return np.asarray(cv2.absdiff(one, other), np.float32)


def exposure_of(sample: Sample) -> Exposure:
    """Relative luminance by Rec. 709 of linear light; CIE 1976 L*; shares of what is black or blown out."""
    black, blown = _clipped(sample.rgb)
    count = np.count_nonzero(sample.shown)
    light = [float(counts @ LINEAR) for counts in _levels(sample.rgb, sample.shown)]
    lightness = cv2.mean(sample.lab, _mask(sample.shown))[0]
    inner = sample.shown & ~(black | blown)
    return Exposure(
        luminance=_rounded(sum(weight * each for weight, each in zip(_LUMINANCE, light, strict=True)) / count),
        lightness=_rounded(lightness),
        midtones=_rounded(cv2.mean(sample.lab, _mask(inner))[0] if inner.any() else lightness),
        shadows=_rounded(np.count_nonzero(black & sample.shown) / count),
        highlights=_rounded(np.count_nonzero(blown & sample.shown) / count),
    )


def _levels(picture: NDArray[np.uint8], told: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Of each channel of (height, width) or (height, width, channel): how many pixels have each of 256 levels."""
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    counts = (cv2.calcHist([picture], [each], _mask(told), [256], [0, 256]) for each in range(channels))
    return [each.ravel().astype(np.int64) for each in counts]


def _clipped(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of (height, width, 3) are black, and which blown out: in all channels; one alone may be a pure colour."""
    red, green, blue = cv2.split(rgb)
    darkest, brightest = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    return np.asarray(brightest <= _BLACK_LEVEL), np.asarray(darkest >= _BLOWN_LEVEL)


def between(sample: Sample) -> NDArray[np.bool_]:
    """What is shown and neither black nor blown out."""
    black, blown = _clipped(sample.rgb)
    return np.asarray(sample.shown & ~(black | blown))


def contrast_of(sample: Sample) -> Contrast:
    """RMS contrast: Peli, "Contrast in complex images", JOSA A 7, 1990."""
    (counts,) = _levels(sample.grey, sample.shown)
    low, high = (_percentile(counts, percent) / 255 for percent in (1, 99))
    rms = _moments(sample.grey, sample.shown)[1] / 255
    return Contrast(rms=_rounded(rms), low=_rounded(low), high=_rounded(high), range=_rounded(high - low))


def _percentile(counts: NDArray[np.int64], percent: float) -> float:
    """A level, or what lies between two, as ``numpy.percentile`` tells of levels that occur so often."""
    until = counts.cumsum()
    place = (until[-1] - 1) * percent / 100
    low, high = np.searchsorted(until, (math.floor(place), math.ceil(place)), side="right")
    return float(low + (high - low) * (place % 1))


def _moments(values: NDArray[np.integer], told: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and standard deviation where ``told``; in whole numbers, so that of one level it's exactly 0."""
    count, mask = np.count_nonzero(told), _mask(told)
    total = round(cv2.mean(values, mask)[0] * count)
    squares = round(cv2.norm(values, cv2.NORM_L2SQR, mask))
    return total / count, math.sqrt(count * squares - total * total) / count


def colour_of(sample: Sample) -> Colour:
    """Hasler and Suesstrunk, "Measuring colourfulness in natural images", SPIE 5007, 2003, formula M3."""
    red, green, blue = (each.astype(np.int16) for each in cv2.split(sample.rgb))
    red_green = _moments(red - green, sample.shown)
    yellow_blue = [each / 2 for each in _moments(red + green - 2 * blue, sample.shown)]
    middle, spread = (math.hypot(*each) for each in zip(red_green, yellow_blue, strict=True))
    a, b = (cv2.extractChannel(sample.lab, each).astype(np.float64) for each in (1, 2))
    chroma = cv2.mean(cv2.magnitude(a, b), _mask(sample.shown))[0]
    return Colour(colourfulness=_rounded(spread + 0.3 * middle), chroma=_rounded(chroma))


def cast_of(sample: Sample) -> Cast:
    """The mean of CIE a* and b*, and how much of it the brightest pixels share.

    Two guesses at the light's colour that must agree: that the average is grey (Buchsbaum, "A spatial processor model
    for object colour perception", 1980) and that the brightest is white (Land and McCann, "Lightness and Retinex
    Theory", 1971). A meadow tints the first, but not the clouds above it. What is black or blown out tells nothing.
    """
    told = between(sample)
    if not told.any():
        return Cast(a=0, b=0, strength=0, direction=None)
    a, b = cv2.mean(sample.lab, _mask(told))[1:3]
    lightness = np.asarray(cv2.extractChannel(sample.lab, 0), np.float32)
    bright = told & (lightness >= brightest_from(lightness[told]))
    bright_a, bright_b = cv2.mean(sample.lab, _mask(bright))[1:3]
    length = math.hypot(a, b)
    shared = max(0.0, min(length, (bright_a * a + bright_b * b) / length)) if length else 0.0
    hue = math.degrees(math.atan2(b, a))
    nearest = min(_HUES, key=lambda each: abs((hue - _HUES[each] + 180) % 360 - 180))
    direction = nearest if shared >= _TINTED else None
    return Cast(a=_rounded(a), b=_rounded(b), strength=_rounded(shared), direction=direction)


def brightest_from(lightness: NDArray[np.floating]) -> float:
    """From where on those of (n,) show the colour of the light, where nothing tells it better."""
    place = math.ceil((len(lightness) - 1) * (1 - _BRIGHTEST))
    return float(np.partition(lightness, place)[place])


def noise_of(array: NDArray[np.uint8]) -> Noise:
    """The noise of ``array`` (height, width, channel), not scaled, or scaled by decoding alone.

    Immerkaer, "Fast Noise Variance Estimation", CVIU 64, 1996: the mean magnitude of the difference of two Laplacians,
    to which edges and slopes add little. He takes it over the whole picture, where texture counts as noise; here it's
    taken over squares, and the smoothest tenth of them tells. What texture there is in those is taken away: at half
    the size it varies as it did, as textures look alike at any distance (Field, JOSA A 4, 1987), while of noise half
    is left. With noise of 3 to 20 added to photographs, 2.8 to 20 is found (one of eight: 1.9 of 3).
    """
    sides = array.shape[1], array.shape[0]
    array = _middle(array)
    grey = luma_of(flattened(array, _WHITE))
    height, width = grey.shape
    # Levels that are cut off don't vary, whatever the noise was.
    told = np.asarray(cv2.inRange(grey, _BLACK_LEVEL + 1, _BLOWN_LEVEL - 1), np.uint8)
    if array.shape[2] == 4:
        told *= _inner(array[..., 3] >= 128)
    blocks = max(1, width // _BLOCK), max(1, height // _BLOCK)
    whole = _means(told, blocks, lambda rows: rows) > 0.95 * 255
    fine = _roughness(grey, blocks)
    smooth = fine <= np.quantile(fine[whole] if whole.any() else fine, _SMOOTH_SHARE)
    smooth = smooth & whole if whole.any() else smooth
    half = cv2.resize(grey, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    coarse = _roughness(np.asarray(half, np.uint8), blocks)
    at_full, at_half = float(fine[smooth].mean()), float(coarse[smooth].mean())
    variance = max(0.0, (_TEXTURE * at_full**2 - at_half**2) / (_TEXTURE - 0.25))
    sigma = math.sqrt(variance)
    # Averaging over k x k pixels leaves a k-th of it.
    seen = sigma * min(1.0, SIDE / max(sides))
    return Noise(width=sides[0], height=sides[1], sigma=_rounded(sigma), seen=_rounded(seen))


def _middle(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """No more of a picture than shows its noise: the middle of each side."""
    height, width = array.shape[:2]
    kept = min(1.0, math.sqrt(_ENOUGH / (width * height)))
    rows, columns = max(1, int(height * kept)), max(1, int(width * kept))
    top, left = (height - rows) // 2, (width - columns) // 2
    return array[top : top + rows, left : left + columns]


def _roughness(grey: NDArray[np.uint8], blocks: tuple[int, int]) -> NDArray[np.float32]:
    """Immerkaer's sigma in each of ``blocks`` (across, down)."""
    return _means(grey, blocks, _rough) * np.float32(math.sqrt(math.pi / 2) / 6)


def _rough(rows: NDArray[np.uint8]) -> NDArray[np.int16]:
    rough = cv2.sepFilter2D(rows, cv2.CV_16S, _SECOND, _SECOND)
    return np.asarray(np.abs(rough, out=rough))


def _means(
    grey: NDArray[np.uint8],
    blocks: tuple[int, int],
    measured: Callable[[NDArray[np.uint8]], NDArray[np.integer]],
) -> NDArray[np.float32]:
    """The mean of what is ``measured`` in each of ``blocks`` (across, down), whose edges may cut through pixels.

    A row of blocks at a time, so that nothing leaves the CPU's cache; ``measured`` is given a pixel more above and
    below.
    """
    (height, width), down = grey.shape, blocks[1]
    sums = np.empty((down, width), np.float32)
    for block in range(down):
        top, bottom = block * height / down, (block + 1) * height / down
        first, last = math.floor(top), math.ceil(bottom)
        above = max(0, first - 1)
        rows = measured(grey[above : last + 1])[first - above : last - above]
        sums[block] = cv2.reduce(rows, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
        sums[block] -= (top - first) * rows[0] + (last - bottom) * rows[-1]
    return np.asarray(cv2.resize(sums, blocks, interpolation=cv2.INTER_AREA) * np.float32(down / height))


def _rounded(value: float | np.floating) -> float:
    """Four places are more than any of the measures is good for, and -0 is 0."""
    return round(float(value), 4) + 0.0
