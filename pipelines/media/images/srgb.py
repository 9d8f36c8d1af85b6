"""Between sRGB levels, linear light and CIE Lab."""

import cv2
import numpy as np
from numpy.typing import NDArray

_LEVELS = np.arange(256) / 255


def srgb_of(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear light, 0 to 1, as sRGB, 0 to 1 (IEC 61966-2-1)."""
    light = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_linear(coded: NDArray[np.floating]) -> NDArray[np.float64]:
    """sRGB, 0 to 1, as linear light, 0 to 1 (IEC 61966-2-1)."""
    level = np.clip(np.asarray(coded, np.float64), 0, 1)
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


LINEAR = to_linear(_LEVELS)  # of each of 256 levels


def linear_of(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Linear light, 0 to 1, of sRGB levels."""
    return np.asarray(LINEAR[picture], np.float64)


def lab_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``picture`` (height, width, 3) in sRGB as CIE L*a*b* of D65: L* from 0 to 100."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def rgb_of(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The levels of ``lab_of``, again; what sRGB can't show is cut off."""
    levels = np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32) * 255
    return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)
