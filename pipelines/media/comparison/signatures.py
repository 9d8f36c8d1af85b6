"""Small pictures of frames, by which the same moment is found in another film, however it was encoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipelines.media.info import VideoInfo

SIDE = 24  # pixels; whatever a picture's shape, so that it doesn't matter
_FLAT = 2.0  # levels of 256 by which a picture without detail varies
_LEVELS_APART = 32.0  # flat pictures so far apart in level have nothing in common


@dataclass(frozen=True)
class Strip:
    """Frames in order of showing. ``shapes``: ``(frames, pixels)`` with mean 0 and length 1, zeros where it's flat."""

    times_s: NDArray[np.float64]
    shapes: NDArray[np.float32]
    levels: NDArray[np.float32]

    @property
    def flat(self) -> NDArray[np.bool_]:
        return np.logical_not(self.shapes.any(axis=1))

    def __len__(self) -> int:
        return len(self.times_s)


def strip_of(frames: Iterable[tuple[float, VideoFrame]], video: VideoInfo) -> Strip:
    """Of frames with their times."""
    reformatter = VideoReformatter()
    times_s, pictures = [], []
    for time_s, frame in frames:
        small = reformatter.reformat(frame, SIDE, SIDE, "gray", interpolation="AREA").to_ndarray()
        times_s.append(time_s)
        pictures.append(_upright(small, video).astype(np.float32).ravel())
    stacked = np.array(pictures, np.float32).reshape(-1, SIDE * SIDE)
    levels = stacked.mean(axis=1)
    shapes = stacked - levels[:, None]
    spreads = shapes.std(axis=1, keepdims=True)
    lengths = np.where(spreads < _FLAT, np.inf, spreads * SIDE)
    return Strip(np.array(times_s, np.float64), shapes / lengths, levels)


def _upright(small: NDArray[Any], video: VideoInfo) -> NDArray[Any]:
    mirrored = small[:, ::-1] if video.mirrored else small
    return np.rot90(mirrored, -(video.rotation_deg // 90))


def likeness(reference: Strip, distorted: Strip) -> NDArray[np.float32]:
    """How alike each frame of one is to each of the other, ``(reference, distorted)``: 1 is the same, 0 unlike.

    The correlation of their shapes; where both are flat, how near their levels are.
    """
    alike: NDArray[np.float32] = np.maximum(reference.shapes @ distorted.shapes.T, 0)
    apart = np.abs(reference.levels[:, None] - distorted.levels[None, :])
    both_flat = reference.flat[:, None] & distorted.flat[None, :]
    return np.where(both_flat, np.maximum(0, 1 - apart / _LEVELS_APART), alike).astype(np.float32)
