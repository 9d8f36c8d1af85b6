"""Find parts of pictures that were never decoded.

FFmpeg's HEVC and VVC decoders stop at the end of a slice wherever its data says that it is, and say nothing of blocks
that are left: there remains what lay in the picture's memory before. So pictures that are done with get a mark that no
picture has, all over, before their memory goes back to the decoder; where a decoded picture still has it, nothing was
decoded. New memory is all zero, which is no colour that a picture has, either.
"""

import sys
from collections import deque

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_STEP = 64  # pixels between marks: what is left over ends where a slice does, and most have many blocks of 16 to 64
_EDGE = 4  # from the bottom right corner, the last that is decoded: marks are counted from there
_KEPT_FRAMES = 17  # a decoder holds on to 16 at most
_KEPT_BYTES = 192 << 20
_ALONE = 2  # references that remain when nobody else has a frame: a variable and the call's that counts


class Unwritten:
    """Marks the memory of frames and looks for marks in new ones."""

    def __init__(self) -> None:
        self._kept: deque[VideoFrame] = deque()

    def blocks(self, frame: VideoFrame) -> int:
        """How many of the looked-at places of ``frame`` weren't decoded; takes hold of it until it can be marked."""
        if not frame.format.name.startswith("yuv"):  # zero is a colour there
            return 0
        luma, chroma = _samples(frame, 0), _samples(frame, 1)
        rows, columns = min(len(luma), len(chroma)), min(luma.shape[1], chroma.shape[1])
        black, colour = luma[:rows, :columns] == 0, chroma[:rows, :columns]
        left = np.count_nonzero(black & ((colour == 0) | (colour == _highest(frame)))) if black.any() else 0
        self._keep(frame)
        return int(left)

    def _keep(self, frame: VideoFrame) -> None:
        self._kept.append(frame)
        most = min(_KEPT_FRAMES, max(4, _KEPT_BYTES // (frame.width * frame.height * 3)))
        if len(self._kept) > most:
            done = self._kept.popleft()
            if sys.getrefcount(done) == _ALONE:
                _mark(done)


def _mark(frame: VideoFrame) -> None:
    """Mark its memory, if the decoder doesn't have it any more."""
    before = frame.planes[0].buffer_ptr
    frame.make_writable()  # a copy, if so
    if frame.planes[0].buffer_ptr == before:
        _samples(frame, 0)[...] = 0
        _samples(frame, 1)[...] = _highest(frame)


def _highest(frame: VideoFrame) -> int:
    return (1 << frame.format.components[0].bits) - 1


def _samples(frame: VideoFrame, number: int) -> NDArray[np.uint16]:
    """The looked-at samples of a plane, as a view of its memory."""
    plane = frame.planes[number]
    sample = np.dtype(np.uint8 if frame.format.components[number].bits <= 8 else np.uint16)
    lines = np.frombuffer(memoryview(plane), dtype=sample).reshape(-1, plane.line_size // sample.itemsize)
    across = _STEP * plane.width // frame.width
    down = _STEP * plane.height // frame.height
    picture = lines[: plane.height, : plane.width]
    view: NDArray[np.uint16] = picture[-1 - _EDGE * down // _STEP :: -down, -1 - _EDGE * across // _STEP :: -across]
    return view
