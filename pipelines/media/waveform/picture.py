"""A picture of a sound's peaks: how far it goes in a lighter shade, how loud it is on the whole in a darker one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from pipelines.media.waveform.peaks import Peaks
from pipelines.media.waveform.waveform_spec import WaveformSpec

_FINER = 4  # columns looked at for one of the picture
_AT_ONCE = 256  # columns of the picture
_FAINT = 0.5
_MARGIN = 0.04  # of a channel's height, above and below
_LEAST_PX = 1.0  # silence is a line
_FULL_SCALE = 32768.0

Shares = NDArray[np.float64]


def picture_of(peaks: Peaks, spec: WaveformSpec) -> Image.Image:
    """The channels below one another, as RGBA; as RGB on a background that is opaque."""
    lows, highs, loudness = (part / _FULL_SCALE for part in (peaks.lows, peaks.highs, peaks.loudness))
    if spec.normalize and (loudest := max(float(-lows.min()), float(highs.max()))):
        lows, highs, loudness = lows / loudest, highs / loudest, loudness / loudest
    count = len(lows)
    borders = np.linspace(0, spec.height, count + 1).round().astype(int)
    lanes = [
        _lane(low, high, loud, (spec.width, int(below - above)))
        for low, high, loud, above, below in zip(lows, highs, loudness, borders, borders[1:], strict=False)
    ]
    return _coloured(np.concatenate(lanes), spec)


def _lane(lows: Shares, highs: Shares, loudness: Shares, size: tuple[int, int]) -> NDArray[np.float32]:
    """How much of each pixel one channel covers, as ``(height, width)``."""
    width, height = size
    lane = np.empty((height, width), np.float32)
    columns = width * _FINER
    low, high, loud = (
        _spread(part, columns, how) for part, how in ((lows, np.minimum), (highs, np.maximum), (loudness, np.maximum))
    )
    for begin in range(0, width, _AT_ONCE):
        part = slice(begin * _FINER, min(width, begin + _AT_ONCE) * _FINER)
        faint = _covered(low[part], high[part], height)
        full = _covered(np.maximum(-loud[part], low[part]), np.minimum(loud[part], high[part]), height)
        lane[:, begin : begin + _AT_ONCE] = 1 - (1 - _FAINT * faint) * (1 - full)
    return lane


def _spread(values: Shares, columns: int, how: np.ufunc) -> Shares:
    """``values`` for so many columns: the outermost of those in a column, or what lies between two."""
    if len(values) >= columns:
        begins = np.linspace(0, len(values), columns, endpoint=False).astype(int)
        spread: Shares = how.reduceat(values, begins)
        return spread
    centres = (np.arange(columns) + 0.5) * len(values) / columns - 0.5
    return np.interp(centres, np.arange(len(values)), values)


def _covered(lows: Shares, highs: Shares, height: int) -> Shares:
    """What share of each pixel lies between, as ``(height, width)``: of the finer columns the mean."""
    scale = height * (0.5 - _MARGIN)
    middle = (height - 1) // 2 + 0.5  # of a row: the line of silence is sharp
    top, bottom = middle - highs * scale, middle - lows * scale
    thin = np.maximum(0, _LEAST_PX - (bottom - top)) / 2
    top, bottom = top - thin, bottom + thin
    rows = np.arange(height)[:, None]
    share = np.clip(np.minimum(rows + 1, bottom) - np.maximum(rows, top), 0, 1)
    return np.asarray(share.reshape(height, -1, _FINER).mean(2))


def _coloured(covered: NDArray[np.float32], spec: WaveformSpec) -> Image.Image:
    wave, ground = _rgba(spec.colour), _rgba(spec.background)
    alpha = covered * (wave[3] / 255)
    rest = (1 - alpha) * (ground[3] / 255)
    whole = alpha + rest
    picture = np.empty((*covered.shape, 4), np.uint8)
    for band in range(3):
        mixed = (alpha * wave[band] + rest * ground[band]) / np.maximum(whole, 1e-6)
        picture[..., band] = np.rint(mixed)
    picture[..., 3] = np.rint(whole * 255)
    image = Image.fromarray(picture, "RGBA")
    return image.convert("RGB") if ground[3] == 255 else image


def _rgba(colour: str) -> Sequence[int]:
    return (*ImageColor.getrgb(colour), 255)[:4]
