"""The lowest and highest sample in each of many equal stretches of a sound, kept while it comes in."""

import numpy as np
from numpy.typing import NDArray

_LOWEST, _HIGHEST = -32768, 32767
_ROOM = 4096  # stretches


class Peaks:
    """Peaks of stretches of ``samples_per_pixel`` samples, for each channel.

    Where there would be more than ``most`` stretches, two and two become one, as often as it takes.
    """

    def __init__(self, channels: int, samples_per_pixel: int, most: int) -> None:
        self.samples_per_pixel = samples_per_pixel
        self.end = 0  # how long the sound is, in samples
        self._most = most
        self._lows = np.full((channels, _ROOM), _HIGHEST, np.int16)
        self._highs = np.full((channels, _ROOM), _LOWEST, np.int16)
        self._squares = np.zeros((channels, _ROOM))
        self._counts = np.zeros(_ROOM)

    def add(self, start: int, samples: NDArray[np.int16]) -> None:
        """Take ``samples``, as ``(channels, count)``, the first of which is number ``start`` of the sound."""
        end = start + samples.shape[1]
        self.end = max(self.end, end)
        self._make_room()
        first = start // self.samples_per_pixel
        begins = np.arange(first * self.samples_per_pixel, end, self.samples_per_pixel) - start
        begins[0] = 0
        into = slice(first, first + len(begins))
        squares = np.square(samples, dtype=np.float64)
        self._lows[:, into] = np.minimum(self._lows[:, into], np.minimum.reduceat(samples, begins, 1))
        self._highs[:, into] = np.maximum(self._highs[:, into], np.maximum.reduceat(samples, begins, 1))
        self._squares[:, into] += np.add.reduceat(squares, begins, 1)
        self._counts[into] += np.diff(begins, append=end - start)

    @property
    def length(self) -> int:
        """How many stretches there are."""
        return -(-self.end // self.samples_per_pixel)

    @property
    def lows(self) -> NDArray[np.int16]:
        """The lowest samples, as ``(channels, length)``; 0 where there is no sound."""
        return np.where(self._counts[: self.length] > 0, self._lows[:, : self.length], np.int16(0))

    @property
    def highs(self) -> NDArray[np.int16]:
        return np.where(self._counts[: self.length] > 0, self._highs[:, : self.length], np.int16(0))

    @property
    def loudness(self) -> NDArray[np.float64]:
        """The root of the mean square, as ``(channels, length)``."""
        return np.sqrt(self._squares[:, : self.length] / np.maximum(self._counts[: self.length], 1))

    def _make_room(self) -> None:
        while self.length > self._most:
            self.samples_per_pixel *= 2
            self._lows = np.minimum(self._lows[:, ::2], self._lows[:, 1::2])
            self._highs = np.maximum(self._highs[:, ::2], self._highs[:, 1::2])
            self._squares = self._squares[:, ::2] + self._squares[:, 1::2]
            self._counts = self._counts[::2] + self._counts[1::2]
        room = len(self._counts)
        while room < self.length:
            room *= 2
        if more := room - len(self._counts):
            self._lows = np.pad(self._lows, ((0, 0), (0, more)), constant_values=_HIGHEST)
            self._highs = np.pad(self._highs, ((0, 0), (0, more)), constant_values=_LOWEST)
            self._squares = np.pad(self._squares, ((0, 0), (0, more)))
            self._counts = np.pad(self._counts, (0, more))
