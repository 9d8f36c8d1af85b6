"""BlurHash: against what the format's description says of a few pictures, and read back."""

import numpy as np
import pytest

from pipelines.media.images.placeholder import blurhash
from pipelines.media.images.srgb import linear_of

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"


def number(text: str) -> int:
    return sum(DIGITS.index(digit) * 83**place for place, digit in enumerate(reversed(text)))


def shown(code: str, width: int, height: int) -> np.ndarray:
    """Read as the description says: linear light, (height, width, 3)."""
    across, down = number(code[0]) % 9 + 1, number(code[0]) // 9 + 1
    most = (number(code[1]) + 1) / 166
    average = number(code[2:6])
    levels = np.array([[[average >> 16, average >> 8 & 255, average & 255]]], np.uint8)
    terms = [linear_of(levels)[0, 0]]
    for at in range(6, len(code), 2):
        told = number(code[at : at + 2])
        steps = np.array([told // 361, told // 19 % 19, told % 19]) - 9
        terms.append(np.sign(steps) * (steps / 9) ** 2 * most)
    x, y = np.arange(width) / width, np.arange(height) / height
    return sum(
        terms[i + j * across] * (np.cos(np.pi * i * x)[None, :] * np.cos(np.pi * j * y)[:, None])[..., None]
        for j in range(down)
        for i in range(across)
    )


@pytest.mark.parametrize(("level", "average"), [(0, "0000"), (255, "TSUA")])
def test_the_average_is_told_by_four_digits(level, average):
    code = blurhash(np.full((12, 16, 3), level, np.uint8))
    assert code[0] == "L"  # 4 x 3 waves: 3 + 2 * 9 = 21
    assert code[2:6] == average


def test_an_upright_picture_has_more_waves_downwards():
    assert number(blurhash(np.zeros((16, 12, 3), np.uint8))[0]) == 2 + 3 * 9


def test_read_back_it_looks_like_the_picture():
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[..., 0] = np.linspace(20, 230, 64)[None, :]
    picture[..., 1] = np.linspace(200, 40, 48)[:, None]
    picture[..., 2] = 90
    error = shown(blurhash(picture), 64, 48) - linear_of(picture)
    assert np.sqrt((error**2).mean()) < 0.06


def test_one_pixel_is_enough():
    assert len(blurhash(np.full((1, 1, 3), 77, np.uint8))) == 28
