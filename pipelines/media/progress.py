"""How far the work is, told often enough to look live and seldom enough to cost nothing."""

import time
from collections.abc import Callable

from pydantic import BaseModel

_INTERVAL_S = 0.2


class Progress(BaseModel, frozen=True, extra="forbid"):
    """``fraction`` goes from 0 to 1; ``position_s`` counts in the output."""

    fraction: float
    frames: int
    position_s: float


OnProgress = Callable[[Progress], None]


class ProgressMeter:
    """Reports at most five times a second, and never backwards.

    ``base`` and ``share`` place this piece of work within the whole.
    """

    def __init__(
        self, on_progress: OnProgress, duration_s: float | None, base: float = 0.0, share: float = 1.0
    ) -> None:
        self._on_progress = on_progress
        self._duration_s = duration_s
        self._base = base
        self._share = share
        self._next_s = 0.0
        self._highest = 0.0

    def update(self, position_s: float, frames: int) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _INTERVAL_S
        self._report(min(1.0, position_s / self._duration_s) if self._duration_s else 0.0, position_s, frames)

    def finish(self, position_s: float, frames: int) -> None:
        self._report(1.0, position_s, frames)

    def _report(self, part: float, position_s: float, frames: int) -> None:
        self._highest = max(self._highest, part)
        fraction = min(1.0, self._base + self._share * self._highest)
        self._on_progress(Progress(fraction=fraction, frames=frames, position_s=max(0.0, position_s)))
