"""A stream's ticks as seconds from the container's start, and back."""

from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer

from pipelines.media.probing.probe import start_of


@dataclass(frozen=True)
class Timing:
    """``start``: the container's, on its own clock; a cover has none but 0."""

    time_base: Fraction
    start: Fraction = Fraction(0)

    @classmethod
    def of(cls, container: InputContainer, stream_index: int) -> "Timing":
        return cls(container.streams[stream_index].time_base or Fraction(1, 1000), start_of(container))

    def pts_of(self, time_s: float) -> int:
        """The tick at ``time_s``, with a thousandth of a second's grace: printed times are rounded."""
        exact = (Fraction(time_s).limit_denominator(1_000_000) + self.start) / self.time_base
        return int(exact + min(Fraction(1, 2000) / self.time_base, Fraction(1, 2)))

    def time_of(self, pts: int) -> float:
        return float(pts * self.time_base - self.start)
