"""Squared errors of a coded picture, plain and weighted by how well they are seen: PSNR and XPSNR.

XPSNR: C. R. Helmrich et al., "XPSNR: A Low-Complexity Extension of the Perceptually Weighted Peak Signal-to-Noise
Ratio for High-Resolution Video Quality Assessment", ICASSP 2020. Errors weigh less in blocks whose picture is busy or
moves. It gives libavfilter's figures to their last digit, in a third of its time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

cv2.setNumThreads(1)  # one picture a process: threads of its own would fight for the same CPUs

Plane = NDArray[Any]

_UHD_PIXELS = 3840 * 2160
_HD_PIXELS = 2048 * 1152  # above it, activity is measured at half the size
_SMOOTHED_PIXELS = 640 * 480  # up to it, weights are bounded by those beside them
_SMALLEST_BLOCK = 4
_FAST_RATE = 32  # frames a second from which on motion that keeps its pace doesn't count
_MOTION = 2.0
_LOW_PASS = np.array([1, 2, 1], np.float32)
_HALVING_HIGH_PASS = np.array(
    [
        [0, -1, -1, -1, -1, 0],
        [-1, -2, -3, -3, -2, -1],
        [-1, -3, 12, 12, -3, -1],
        [-1, -3, 12, 12, -3, -1],
        [-1, -2, -3, -3, -2, -1],
        [0, -1, -1, -1, -1, 0],
    ],
    np.float32,
)


@dataclass(frozen=True)
class Errors:
    """Of each plane: the sum of squared errors, and if asked for the weighted sum, rounded to a whole number."""

    squared: tuple[float, ...]
    weighted: tuple[float, ...]


class ErrorMeter:
    """Measures the pictures of a film in order: how much they move is taken from the last one, at fast rates two."""

    def __init__(self, width: int, height: int, depth: int, frame_rate: float, *, weighted: bool = True) -> None:
        size = width * height / _UHD_PIXELS
        self._width, self._height, self._depth = width, height, depth
        self._block = 4 * int(32 * math.sqrt(size) + 0.5)
        self._scale = math.sqrt(16 * 2 ** (2 * depth - 9) / math.sqrt(max(0.00001, size)))
        self._halved = width * height > _HD_PIXELS
        self._weighted = weighted
        self._fast = frames_back(frame_rate) > 1
        if self._block >= _SMALLEST_BLOCK:
            rows, columns = _edges(height, self._block), _edges(width, self._block)
            margin = 2 if self._halved else 1
            self._inner = np.outer(_inner_lengths(rows, margin), _inner_lengths(columns, margin))
            self._area = np.outer(np.diff(rows), np.diff(columns))
        self._before: Plane | None = None
        self._change_before: Plane | None = None

    def measure(self, original: Sequence[Plane], coded: Sequence[Plane]) -> Errors:
        """Planes are arrays of uint8 or uint16, the first is luma."""
        if not self._weighted or self._block < _SMALLEST_BLOCK:  # smaller pictures are weighted evenly
            squared = tuple(cv2.norm(o, c, cv2.NORM_L2SQR) for o, c in zip(original, coded, strict=True))
            return Errors(squared, squared if self._weighted else ())
        weights = self._weights(original[0])
        squared_errors, weighted = [], []
        for plane, other in zip(original, coded, strict=True):
            height, width = plane.shape
            rows, columns = self._block * height // self._height, self._block * width // self._width
            sums = _block_sums(_squares(plane, other), _edges(height, rows), _edges(width, columns))
            squared_errors.append(float(sums.sum()))
            weighted.append(math.floor(float((sums * weights).sum()) * self._scale + 0.5))
        return Errors(tuple(squared_errors), tuple(weighted))

    def _weights(self, luma: Plane) -> Plane:
        """How much an error counts in each block."""
        rows, columns = _edges(self._height, self._block), _edges(self._width, self._block)
        if self._halved:
            quarters = _quarters(luma)
            texture, shown = _halved_texture(quarters), _sum(quarters)
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        else:
            texture, shown = _texture(luma), luma
        busy, moving = _block_sums(texture, rows, columns), _block_sums(self._motion(shown), rows, columns)
        activity = busy / np.maximum(self._inner, 1) + _MOTION * moving / self._area
        activity = np.maximum(activity, 1 << (self._depth - 6))
        weights = np.where(self._inner > 0, 1 / activity, 1.0)  # blocks without an inside have no activity
        return _smoothed(weights) if self._width * self._height <= _SMOOTHED_PIXELS else weights

    def _motion(self, shown: Plane) -> Plane:
        """How much a picture differs from the last one, or at fast rates from what the last two foretell."""
        before = np.zeros_like(shown) if self._before is None else self._before
        self._before = shown
        if not self._fast:
            return cv2.absdiff(shown, before)
        change = np.subtract(shown, before, dtype=_wide_type(shown))
        change_before = np.zeros_like(change) if self._change_before is None else self._change_before
        self._change_before = change
        return cv2.absdiff(change, change_before)


def frames_back(frame_rate: float) -> int:
    """How many pictures before one have a say in its weights."""
    return 2 if int(frame_rate) >= _FAST_RATE else 1


def psnr_db(mean_squared_error: float, depth: int) -> float:
    """Infinite where there is no error."""
    if mean_squared_error <= 0:
        return math.inf
    return 10 * math.log10((2**depth - 1) ** 2 / mean_squared_error)


def xpsnr_db(root_weighted: float, pixels: int, depth: int) -> float:
    """Of the root of a picture's weighted error, or of the mean of many."""
    return math.inf if root_weighted < 1 else psnr_db(root_weighted**2 / pixels, depth)


def _wide_type(samples: Plane) -> type[np.int16] | type[np.float32]:
    """What holds sums of a few samples exactly."""
    return np.int16 if samples.dtype in (np.uint8, np.int16) else np.float32


def _squares(original: Plane, coded: Plane) -> Plane:
    difference = cv2.absdiff(original, coded)
    return np.multiply(difference, difference, dtype=np.uint16 if difference.dtype == np.uint8 else np.float32)


def _texture(luma: Plane) -> Plane:
    """What a high pass leaves, 16 times a pixel less [1 2 1] by [1 2 1] of them, without the picture's margin."""
    wide = _wide_type(luma)
    low = cv2.sepFilter2D(luma, cv2.CV_16S if wide is np.int16 else cv2.CV_32F, _LOW_PASS, _LOW_PASS)
    texture = cv2.absdiff(np.multiply(luma, 16, dtype=wide), low)
    texture[[0, -1]] = 0
    texture[:, [0, -1]] = 0
    return texture


def _quarters(luma: Plane) -> list[Plane]:
    """The pixels of even and odd lines and columns, each as a picture."""
    height, width = luma.shape[0] // 2 * 2, luma.shape[1] // 2 * 2
    return [np.ascontiguousarray(luma[y:height:2, x:width:2]) for y in (0, 1) for x in (0, 1)]


def _sum(quarters: Sequence[Plane]) -> Plane:
    total: Plane = quarters[0].astype(_wide_type(quarters[0]))
    for quarter in quarters[1:]:
        total += quarter
    return total


def _halved_texture(quarters: Sequence[Plane]) -> Plane:
    """The same for large pictures, at half the size."""
    depth = cv2.CV_16S if _wide_type(quarters[0]) is np.int16 else cv2.CV_32F
    kernels = [_HALVING_HIGH_PASS[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    parts = [cv2.filter2D(quarter, depth, kernel) for quarter, kernel in zip(quarters, kernels, strict=True)]
    texture: Plane = np.abs(_sum(parts))
    texture[[0, -1]] = 0
    texture[:, [0, -1]] = 0
    return texture


@cache
def _edges(length: int, block: int) -> Plane:
    return np.append(np.arange(0, length, block), length)


def _inner_lengths(edges: Plane, margin: int) -> Plane:
    lengths = np.diff(edges)
    lengths[0] -= margin
    lengths[-1] -= margin
    return np.maximum(lengths, 0)


def _block_sums(values: Plane, rows: Plane, columns: Plane) -> Plane:
    """The sums of ``values`` within blocks whose edges are given."""
    # A column of a block has at most 128 values of 16 bits: 32 bits of float hold their sum.
    depth = cv2.CV_64F if values.dtype == np.float32 else cv2.CV_32F
    sums = [cv2.reduce(values[top:bottom], 0, cv2.REDUCE_SUM, dtype=depth) for top, bottom in pairwise(rows)]
    return np.add.reduceat(np.concatenate(sums), columns[:-1], axis=1, dtype=np.float64)


def _smoothed(weights: Plane) -> Plane:
    """Bound each weight by the largest of those left, right and above it, in order: so do their bounded values."""
    columns = weights.shape[1]
    flat = weights.ravel().tolist()

    def bound(at: int, largest: float) -> None:
        flat[at] = min(flat[at], largest)

    for number in range(1, len(flat)):
        column = number % columns
        # The one before is bounded now that the one behind it is known; the first of a row is behind no other.
        if column == 0:
            beside = flat[number - 2] if number > 1 else 0.0
        else:
            beside = max(flat[number - 2], flat[number]) if column > 1 else flat[number]
        if number > columns:
            beside = max(beside, flat[number - 1 - columns])
        bound(number - 1, beside)
    if len(flat) > columns + 1:
        bound(len(flat) - 1, max(flat[-2], flat[-1 - columns]))
    return np.array(flat).reshape(weights.shape)
