"""Find the black bars around a picture, and the picture between them, from some frames of a film.

A row or a column belongs to the picture if enough of it is brighter than black in any of the frames. A single frame
can't tell bars from a dark scene: the edges have to be the same in several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipelines.media.info import VideoInfo
from pipelines.media.probing.probe_result import PictureBox

_BLACK = 24  # of 255, as libavfilter's cropdetect has it: black at 16, and the noise of its compression
_LIT = 0.01  # of a row or column: fewer bright pixels are noise
_LEAST_FRAMES = 5  # that aren't dark
_LEAST_ALIKE = 3  # of these, and a tenth: so many have to reach each edge
_ALIKE = 0.01  # of the side: edges nearer than this are the same, and bars narrower than this are none


@dataclass(frozen=True)
class _Edges:
    """How many pixels of a decoded picture are black on each side, up to the first that isn't."""

    top: int
    bottom: int
    left: int
    right: int


class BarsMeter:
    """Looks at frames of any place in a film."""

    def __init__(self, video: VideoInfo) -> None:
        self._video = video
        self._found: list[_Edges] = []

    def take(self, frame: VideoFrame) -> None:
        if frame.is_corrupt or (frame.width, frame.height) != (self._video.width, self._video.height):
            return
        luma, black = luma_of(frame)
        lit = luma > black
        rows = np.flatnonzero(lit.mean(axis=1) > _LIT)
        columns = np.flatnonzero(lit.mean(axis=0) > _LIT)
        if len(rows) and len(columns):
            height, width = luma.shape
            self._found.append(
                _Edges(int(rows[0]), height - 1 - int(rows[-1]), int(columns[0]), width - 1 - int(columns[-1]))
            )

    def box(self) -> PictureBox | None:
        """The picture, or ``None`` where too few frames show where its edges are."""
        if len(self._found) < _LEAST_FRAMES:
            return None
        width, height = self._video.width, self._video.height
        top = _agreed([edges.top for edges in self._found], height)
        bottom = _agreed([edges.bottom for edges in self._found], height)
        left = _agreed([edges.left for edges in self._found], width)
        right = _agreed([edges.right for edges in self._found], width)
        if top is None or bottom is None or left is None or right is None:
            return None
        return _shown(_Edges(top, bottom, left, right), self._video)


def luma_of(frame: VideoFrame) -> tuple[NDArray[np.unsignedinteger], int]:
    """The luma of each pixel, and the brightest that counts as black."""
    if not frame.format.is_planar or frame.format.is_rgb or frame.planes[0].line_size < 0:
        frame = frame.reformat(format="yuv420p")
    bits = frame.format.components[0].bits
    samples = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    if frame.format.is_big_endian:
        samples = samples.newbyteorder(">")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), samples).reshape(-1, plane.line_size // samples.itemsize)
    return rows[: frame.height, : frame.width], _BLACK << (bits - 8)


def _agreed(insets: Sequence[int], side: int) -> int | None:
    """The narrowest bar, if enough frames have one as narrow."""
    narrowest = min(insets)
    alike = sum(inset - narrowest <= max(1, _ALIKE * side) for inset in insets)
    if alike < max(_LEAST_ALIKE, len(insets) / 10):
        return None
    return 0 if narrowest < _ALIKE * side else narrowest


def _shown(edges: _Edges, video: VideoInfo) -> PictureBox:
    """The picture in pixels as shown, from one in pixels as decoded."""
    top, bottom = Fraction(edges.top, video.height), Fraction(edges.bottom, video.height)
    left, right = Fraction(edges.left, video.width), Fraction(edges.right, video.width)
    if video.mirrored:
        left, right = right, left
    for _ in range(video.rotation_deg // 90):  # a quarter clockwise: what was on the left is on top
        top, right, bottom, left = left, top, right, bottom
    width, height = video.display_width, video.display_height
    from_left, from_top = round(left * width), round(top * height)
    box = (width - from_left - round(right * width), height - from_top - round(bottom * height), from_left, from_top)
    return PictureBox(
        width=box[0],
        height=box[1],
        left=box[2],
        top=box[3],
        of_width=width,
        of_height=height,
        crop=f"{box[0]}x{box[1]}+{box[2]}+{box[3]}",
        bars=(edges.top, edges.bottom, edges.left, edges.right) != (0, 0, 0, 0),
    )
