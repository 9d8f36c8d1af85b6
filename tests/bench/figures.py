"""A measured figure beside what it is held against."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """``against`` is the peer's figure in the same run, or the bar; ``None`` where a figure is only stated."""

    what: str
    ours: float
    unit: str
    against: float | None = None
    how: str = ""

    def row(self) -> tuple[str, str, str, str, str]:
        against = "" if self.against is None else f"{self.against:g} {self.unit}"
        ratio = "" if not self.against else f"{self.ours / self.against:.2f}"
        return self.what, f"{self.ours:.4g} {self.unit}", against, ratio, self.how


def percentile(samples: Sequence[float], percent: int) -> float:
    """The smallest sample that ``percent`` of all don't exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)
