"""When a container starts, and a stream's ticks as seconds from there, and back."""

from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.stream import Disposition


def start_of(container: InputContainer) -> Fraction:
    """The container's start on its own clock, exact: the earliest start of its sound and pictures."""
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.type in {"video", "audio"}
        and stream.start_time is not None
        and stream.time_base
        and not stream.disposition & Disposition.attached_pic
    ]
    return min(starts, default=Fraction(0))


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
