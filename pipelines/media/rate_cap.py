"""Bound the frame rate by leaving frames out: which ones follows from their times alone, wherever a film is cut."""

import math
from fractions import Fraction

from av.video.frame import VideoFrame


class RateCap:
    """Gives each frame the nearest slot of a grid of ``rate`` that begins at zero; of those in one slot the last stays.

    Frames come with rising times in ``time_base`` and leave with their slot's number, in a time base of ``1 / rate``.
    """

    def __init__(self, rate: Fraction, time_base: Fraction) -> None:
        self._rate = rate
        self._time_base = time_base
        self._held: VideoFrame | None = None
        self._end = 0

    def push(self, frame: VideoFrame, shown: int, usual_duration: int) -> VideoFrame | None:
        """Take a frame; give out the one before unless this one takes its slot."""
        leaving = self.finish(shown)
        self._end = shown + (frame.duration or usual_duration)
        frame.pts, frame.time_base, frame.duration = self._slot(shown), 1 / self._rate, 1
        self._held = frame
        return leaving

    def finish(self, next_shown: int | None = None) -> VideoFrame | None:
        """Give out the last frame, unless the one that is shown next takes its slot, or it would begin at its end."""
        held, self._held = self._held, None
        if held is None:
            return None
        slot = held.pts or 0
        late = (
            slot >= self._end * self._time_base * self._rate if next_shown is None else slot == self._slot(next_shown)
        )
        return None if late else held

    def _slot(self, shown: int) -> int:
        return math.floor(shown * self._time_base * self._rate + Fraction(1, 2))
