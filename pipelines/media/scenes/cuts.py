"""Cuts: a frame that differs from the one before by more than its neighbours do from theirs, and goes on differing."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipelines.media.scenes.thumbs import HEIGHT, WIDTH, Thumb

_AROUND = 6  # frames on each side that a change is compared with
_USUAL_PERCENT = 70  # of the changes around, this share is smaller than what is usual there
_FLASH = 4  # looks that a flash may last
_GRADUAL = 2.5  # of a cut, frames farther away differ by up to this times as much: its first may be badly coded
_LEAST = 5.0  # a change that counts for nothing
_STILL = 3.0  # below, motion isn't looked for: it could only make the change smaller
_SHIFT = 2  # pixels that a part of the picture may have moved
_BLOCK_HEIGHT, _BLOCK_WIDTH = 6, 8
_BINS = 256  # 16 of luma by 4 of each chroma
_COLOURS = 0.85  # how much a change of colours counts beside one of places


@dataclass(frozen=True)
class Cut:
    """``number`` counts the frames pushed: the first of the new shot. ``confidence`` is above 0.5, and up to 1."""

    number: int
    confidence: float


@dataclass(frozen=True)
class _Look:
    thumb: NDArray[np.int16]
    histogram: NDArray[np.int64]


class CutFinder:
    """Is given every frame's thumb; ``step``: how many frames make a look, of which a flash lasts a few."""

    def __init__(self, step: int) -> None:
        self.cuts: list[Cut] = []
        self._apart = [looks * step for looks in range(1, _FLASH + 1)]
        self._ahead = max(_AROUND, self._apart[-1])
        self._looks: deque[_Look] = deque(maxlen=2 * self._ahead + 2)
        self._changes: deque[float] = deque(maxlen=2 * self._ahead + 2)
        self._count = 0

    def push(self, thumb: Thumb) -> None:
        look = _Look(thumb.astype(np.int16), _histogram(thumb))
        self._changes.append(_change(self._looks[-1], look) if self._looks else 0.0)
        self._looks.append(look)
        self._count += 1
        if self._count > self._ahead:
            self._decide(self._count - 1 - self._ahead)

    def finish(self) -> None:
        """Decide on the last frames, behind which there are no more to compare with."""
        for number in range(max(0, self._count - self._ahead), self._count):
            self._decide(number)

    def _decide(self, number: int) -> None:
        place = number - (self._count - len(self._looks))
        change = self._changes[place]
        if change <= _LEAST:
            return
        around = [self._changes[at] for at in self._places(place - _AROUND, place + _AROUND + 1) if at != place]
        usual = 1.5 * float(np.percentile(around, _USUAL_PERCENT)) if around else 0.0
        if change <= usual + _LEAST:
            return
        farther = [change, *self._farther(place)]
        lasting, growing = min(farther), max(0.0, max(farther) - _GRADUAL * change)
        confidence = lasting / (lasting + max(usual, growing) + _LEAST)
        if confidence > 0.5:
            self.cuts.append(Cut(number, confidence))

    def _farther(self, place: int) -> list[float]:
        """The change from the frame before to later ones, and from earlier ones to this."""
        before, looks = place - 1, self._looks
        pairs = [(before, place + apart) for apart in self._apart] + [(before - apart, place) for apart in self._apart]
        return [_change(looks[a], looks[b]) for a, b in pairs if a >= 0 and b < len(looks)]

    def _places(self, begin: int, end: int) -> range:
        return range(max(0, begin), min(len(self._changes), end))


def _histogram(thumb: Thumb) -> NDArray[np.int64]:
    luma, blue, red = thumb >> np.array([4, 6, 6], np.uint8)[:, None, None]
    return np.bincount((luma * 16 + blue * 4 + red).ravel(), minlength=_BINS)


def _change(before: _Look, after: _Look) -> float:
    """The mean difference of pixels, of luma and both chromas in all, weighed by how much the colours changed.

    Each block of pixels is compared with where it fits best nearby: it may only have moved.
    """
    colours = float(np.abs(before.histogram - after.histogram).sum()) / (2 * HEIGHT * WIDTH)
    weight = 1 - _COLOURS + _COLOURS * colours
    plain = float(np.abs(before.thumb - after.thumb).sum()) / (HEIGHT * WIDTH)
    return plain * weight if plain * weight < _STILL else _moved(before.thumb, after.thumb) * weight


def _moved(before: NDArray[np.int16], after: NDArray[np.int16]) -> float:
    padded = np.pad(before, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)), mode="edge")
    shifted = sliding_window_view(padded, (HEIGHT, WIDTH), axis=(1, 2))
    away = np.abs(shifted - after[:, None, None]).sum(0, dtype=np.int32)
    blocks = away.reshape(-1, HEIGHT // _BLOCK_HEIGHT, _BLOCK_HEIGHT, WIDTH // _BLOCK_WIDTH, _BLOCK_WIDTH)
    return float(blocks.mean((2, 4)).min(0).mean())
