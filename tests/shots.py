"""Shots that can be told apart, and ways from one to the next, as planar YUV 4:2:0 pictures of 96x64 pixels."""

from collections.abc import Sequence

import numpy as np
from media_factory import HEIGHT, WIDTH
from numpy.typing import NDArray

Pictures = list[NDArray[np.uint8]]


def shot(number: int, frames: int, step: float = 0.5) -> Pictures:
    """A coarse pattern in colours of its own that wanders ``step`` pixels a frame."""
    random = np.random.default_rng(number)
    luma = np.kron(random.integers(30, 225, (HEIGHT // 8, 3 * WIDTH // 8)), np.ones((8, 8))).astype(np.uint8)
    chroma = np.repeat(random.integers(90, 166, 2), HEIGHT // 4)[:, None]
    pictures = []
    for index in range(frames):
        picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        picture[:HEIGHT] = np.roll(luma, -round(index * step), axis=1)[:, :WIDTH]
        picture[HEIGHT:] = chroma
        pictures.append(picture)
    return pictures


def dissolved(before: Pictures, after: Pictures, frames: int) -> Pictures:
    """One shot melts into the next: the last ``frames`` of one lie over the first of the other."""
    shares = np.arange(1, frames + 1) / (frames + 1)
    both = zip(before[-frames:], after[:frames], shares, strict=True)
    mixed = [np.rint((1 - share) * a + share * b).astype(np.uint8) for a, b, share in both]
    return [*before[:-frames], *mixed, *after[frames:]]


def faded(pictures: Pictures, frames: int, *, out: bool) -> Pictures:
    """The last ``frames`` become black, or the first grow out of it."""
    shares = np.arange(1, frames + 1) / (frames + 1)
    part = pictures[-frames:] if out else pictures[:frames]
    dimmed = [_dimmed(picture, share) for picture, share in zip(part, 1 - shares if out else shares, strict=True)]
    return [*pictures[:-frames], *dimmed] if out else [*dimmed, *pictures[frames:]]


def black(frames: int) -> Pictures:
    return [_dimmed(np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8), 0.0)] * frames


def brighter(pictures: Pictures, numbers: Sequence[int], by: int) -> Pictures:
    """Some of the pictures as a flash lights them."""
    lit = list(pictures)
    for number in numbers:
        lit[number] = pictures[number].copy()
        lit[number][:HEIGHT] = np.minimum(235, pictures[number][:HEIGHT].astype(int) + by)
    return lit


def _dimmed(picture: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    dimmed = np.empty_like(picture)
    dimmed[:HEIGHT] = np.rint(16 + share * (picture[:HEIGHT].astype(float) - 16))
    dimmed[HEIGHT:] = np.rint(128 + share * (picture[HEIGHT:].astype(float) - 128))
    return dimmed
