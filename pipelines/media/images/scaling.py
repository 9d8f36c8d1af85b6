"""Scale pixels, turn them as they are shown, and choose what is kept of them."""

import math

import cv2
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

# EXIF orientation: what is left after mirroring left to right (of 2, 4, 5 and 7), as OpenCV's turn.
_TURNS = {
    3: cv2.ROTATE_180,
    4: cv2.ROTATE_180,
    5: cv2.ROTATE_90_COUNTERCLOCKWISE,
    6: cv2.ROTATE_90_CLOCKWISE,
    7: cv2.ROTATE_90_CLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORED = frozenset({2, 4, 5, 7})

# Rows that libvips is asked for at once, on the thread that asks: a whole image it would make on a worker of its own,
# with 40 switches between the two, which wait for a CPU where all are busy.
_STRIP = 64
_LONGEST_FILTER = 8.0

pyvips.cache_set_max(0)  # no two calls are the same


def scaled(array: NDArray[np.uint8], size: tuple[int, int], span: tuple[float, float]) -> NDArray[np.uint8]:
    """``array`` (height, width, channel) scaled to ``size`` (width, height), whatever its shape was, by Lanczos.

    ``span`` is how many of its columns and rows the image covers: with the array's own size, a JPEG of an odd width
    that was decoded at half of it would be shifted by up to half a pixel. Alpha is taken into account: the hidden
    colours of clear pixels don't show at edges.
    """
    if (array.shape[1], array.shape[0]) == size == span:
        return array
    if array.shape[2] != 4 and size[0] <= span[0] and size[1] <= span[1]:
        return _reduced(array, size, span)
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    return _three(np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=(0, 0, *span))))


def _reduced(array: NDArray[np.uint8], size: tuple[int, int], span: tuple[float, float]) -> NDArray[np.uint8]:
    """By libvips, which takes a fifth of Pillow's time (docs/decisions/0017).

    It puts the middle of what it makes on the middle of what it is given, so it is given twice, four or eight times a
    span that isn't whole: as much as makes it whole. What lies beyond is neither computed nor kept.
    """
    array, span = _shrunk(array, size, span)
    height, width, bands = array.shape
    given = pyvips.Image.new_from_memory(np.ascontiguousarray(array), width, height, bands, "uchar")
    whole = [math.ceil(each * _whole_factor(each)) for each in span]
    if whole != [width, height]:
        given = given.embed(0, 0, *whole, extend="copy")
    made = pyvips.Region.new(given.reduce(span[0] / size[0], span[1] / size[1], kernel="lanczos3"))
    reduced = np.empty((size[1], size[0], bands), np.uint8)
    for top in range(0, size[1], _STRIP):
        strip = reduced[top : top + _STRIP]
        strip[:] = np.frombuffer(made.fetch(0, top, size[0], len(strip)), np.uint8).reshape(strip.shape)
    return reduced


def _shrunk(
    array: NDArray[np.uint8], size: tuple[int, int], span: tuple[float, float]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """At a half, a quarter, … of a side that gets more than eight times shorter; four times are left to the filter.

    The longer libvips' filter is, the darker its whole numbers make a picture, by 3 % at 60 times; at 333 it refuses.
    """
    factors = halvings(span, size)
    if factors == (1, 1):
        return array, span
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    return _three(np.asarray(image.reduce(factors))), (span[0] / factors[0], span[1] / factors[1])


def halvings(span: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """The parts of its sides at which an image is taken first, to be scaled from ``span`` to ``size``: 1, 2, 4, …"""
    across, down = (_halvings(whole / made) for whole, made in zip(span, size, strict=True))
    return across, down


def _halvings(factor: float) -> int:
    halvings = 1
    while factor / halvings > _LONGEST_FILTER:
        halvings *= 2
    return halvings


def _whole_factor(span: float) -> int:
    """The least power of two that makes a span whole: it is so many eighths, or finer parts that were halved."""
    factor = 1
    while span * factor % 1:
        factor *= 2
    return factor


def _three(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return array[..., None] if array.ndim == 2 else array


def upright(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """``array`` as it is shown, from how it is stored: EXIF's ``orientation``, 1 to 8."""
    if orientation in _MIRRORED:
        array = array[:, ::-1]
    if orientation in _TURNS:
        array = _three(np.asarray(cv2.rotate(np.ascontiguousarray(array), _TURNS[orientation]), np.uint8))
    return array


def flattened(array: NDArray[np.uint8], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Without alpha: (height, width, 3) over ``background``."""
    if array.shape[2] != 4:
        return array
    behind, made = np.asarray(background, np.float32), np.empty((*array.shape[:2], 3), np.uint8)
    for top in range(0, len(array), _STRIP):  # all of it in floating point would take 30 bytes a pixel
        rows = array[top : top + _STRIP]
        alpha = rows[..., 3:].astype(np.float32) / 255
        made[top : top + _STRIP] = rows[..., :3] * alpha + behind * (1 - alpha) + 0.5
    return made
