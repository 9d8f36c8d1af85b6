"""A few characters that stand for a picture until it is there: BlurHash."""

import numpy as np
from numpy.typing import NDArray

from pipelines.media.images.srgb import linear_of, srgb_of

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_LARGEST = 166  # the strongest wave is told in 166ths, by a digit
_STEPS = 9  # on either side of 0, in which a wave's strength is told


def blurhash(picture: NDArray[np.uint8]) -> str:
    """``picture`` (height, width, 3) in sRGB as a BlurHash: 4 x 3 waves, or 3 x 4 of an upright one.

    By the format's description (github.com/woltapp/blurhash, Algorithm.md): the first terms of a cosine transform of
    linear light, the strengths of the waves as the square roots of their shares of the strongest. The picture may be
    small: some 64 pixels a side are plenty.
    """
    height, width = picture.shape[:2]
    across, down = (4, 3) if width >= height else (3, 4)
    waves = [_waves(length, count) for length, count in ((height, down), (width, across))]
    terms = np.einsum("jy,yxc,ix->jic", waves[0], linear_of(picture), waves[1]).reshape(-1, 3)
    average, others = terms[0], 2 * terms[1:]
    level = int(np.clip(np.floor(np.abs(others).max() * _LARGEST - 0.5), 0, 82))
    shares = others * _LARGEST / (level + 1)
    steps = np.floor(np.sign(shares) * np.sqrt(np.abs(shares)) * _STEPS + _STEPS + 0.5)
    told = np.clip(steps, 0, 2 * _STEPS).astype(int)
    red, green, blue = (int(each) for each in np.clip(srgb_of(average) * 255 + 0.5, 0, 255))
    parts = [_digits(across - 1 + 9 * (down - 1), 1), _digits(level, 1), _digits(red << 16 | green << 8 | blue, 4)]
    parts += [_digits(int(one @ (361, 19, 1)), 2) for one in told]
    return "".join(parts)


def _waves(length: int, count: int) -> NDArray[np.float64]:
    """(count, length): cosines of 0, half, one, ... turns over a side, whose sums are means."""
    at = np.arange(length) / length
    return np.asarray(np.cos(np.pi * np.outer(np.arange(count), at)) / length, np.float64)


def _digits(value: int, count: int) -> str:
    return "".join(_DIGITS[value // 83**place % 83] for place in reversed(range(count)))
