"""Times as whole ticks of a time base, in integers: ``Fraction`` is exact too, and takes seven times as long."""

from fractions import Fraction
from typing import Any

from av.packet import Packet


def rescaled(ticks: int, from_base: Fraction, to_base: Fraction) -> int:
    """The nearest tick of another time base; of two as near, the even one, as ``round`` has it."""
    divisor = from_base.denominator * to_base.numerator
    nearest, twice_left = divmod(2 * ticks * from_base.numerator * to_base.denominator + divisor, 2 * divisor)
    return nearest - (twice_left == 0 and nearest % 2)


def seconds(ticks: int, time_base: Fraction) -> float:
    """The float nearest to it, as ``float(ticks * time_base)`` has it."""
    return ticks * time_base.numerator / time_base.denominator


def end_s_of(packet: "Packet[Any]") -> float:
    """Until when a packet is shown, in seconds; 0 where it has no time."""
    if packet.pts is None:
        return 0.0
    return seconds(packet.pts + (packet.duration or 0), packet.time_base)
