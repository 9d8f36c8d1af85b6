"""The times that tiles stand for."""

from dataclasses import dataclass

from pydantic import BaseModel

from pipelines.media.errors import LimitError
from pipelines.media.storyboard.storyboard_spec import MAX_TILES, count_of


@dataclass(frozen=True)
class Slot:
    """The time that a tile stands for, and that of the frame that it is to show."""

    start_s: float
    end_s: float
    wanted_s: float


class BoardPlan(BaseModel, frozen=True, extra="forbid"):
    """The tiles to make, ``size`` pixels each, of a video that lasts ``duration_s``."""

    slots: tuple[Slot, ...]
    interval_s: float
    duration_s: float
    size: tuple[int, int]
    warnings: tuple[str, ...] = ()


def slots_of(interval_s: float, end_s: float, last_s: float) -> list[Slot]:
    """Even times up to ``end_s``; the last goes on to ``last_s``."""
    count = count_of(interval_s, end_s)
    if count > MAX_TILES:
        raise LimitError(f"It would be {count} tiles (limit {MAX_TILES}); give a longer interval.", tiles=count)
    slots = []
    for number in range(count):
        start_s, until_s = number * interval_s, min(end_s, (number + 1) * interval_s)
        shown_s = last_s if number == count - 1 else until_s
        slots.append(Slot(round(start_s, 6), round(shown_s, 6), (start_s + until_s) / 2))
    return slots
