"""Integer times are what exact fractions say."""

from fractions import Fraction

from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media.ticks import end_s_of, rescaled, seconds

TICKS = st.integers(-(2**63), 2**63)
BASES = st.builds(Fraction, st.integers(1, 1001), st.integers(1, 90_000))


@given(TICKS, BASES, BASES)
def test_a_time_in_another_base_is_the_nearest_tick(ticks: int, from_base: Fraction, to_base: Fraction) -> None:
    assert rescaled(ticks, from_base, to_base) == round(ticks * from_base / to_base)


@given(TICKS, BASES)
def test_seconds_are_the_nearest_float(ticks: int, time_base: Fraction) -> None:
    assert seconds(ticks, time_base) == float(ticks * time_base)


def test_a_packet_ends_after_its_duration() -> None:
    packet: Packet = Packet()
    packet.time_base = Fraction(1, 25)
    assert end_s_of(packet) == 0.0
    packet.pts, packet.duration = 50, 2
    assert end_s_of(packet) == 2.08
