"""Scale pixels, turn them as they are shown, and choose what is kept of them."""

import cv2
import numpy as np
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


def scaled(array: NDArray[np.uint8], size: tuple[int, int], span: tuple[float, float]) -> NDArray[np.uint8]:
    """``array`` (height, width, channel) scaled to ``size`` (width, height), whatever its shape was, by Lanczos.

    ``span`` is how many of its columns and rows the image covers: with the array's own size, a JPEG of an odd width
    that was decoded at half of it would be shifted by up to half a pixel. Alpha is taken into account: the hidden
    colours of clear pixels don't show at edges.
    """
    if (array.shape[1], array.shape[0]) == size == span:
        return array
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    return _three(np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=(0, 0, *span))))


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
    alpha = array[..., 3:].astype(np.float32) / 255
    mixed = array[..., :3] * alpha + np.asarray(background, np.float32) * (1 - alpha)
    return (mixed + 0.5).astype(np.uint8)
