import pytest

from pipelines.media.quality.flaws import FlawMeter, joined, long_enough
from pipelines.media.quality.quality_spec import Flaw


def black(start_s: float, end_s: float, stream: int = 0) -> Flaw:
    return Flaw(kind="black", stream=stream, start_s=start_s, end_s=end_s)


def found(flags: str) -> list[tuple[float, float]]:
    """In seconds of one flag each: x is flawed."""
    meter = FlawMeter("black", 0)
    for time_s, flag in enumerate(flags):
        meter.add(float(time_s), flawed=flag == "x")
    return [(each.start_s, each.end_s) for each in meter.result(float(len(flags)))]


@pytest.mark.parametrize(
    ("flags", "flaws"),
    [
        ("..xxx..", [(2, 5)]),
        ("..x..", []),
        ("x...", [(0, 1)]),
        ("...x", [(3, 4)]),
        ("xxxx", [(0, 4)]),
        ("....", []),
    ],
)
def test_long_stretches_and_those_at_the_edges_are_told(flags: str, flaws: list[tuple[float, float]]) -> None:
    assert found(flags) == flaws


def test_a_stretch_may_have_begun_before_it_could_be_told() -> None:
    meter = FlawMeter("freeze", 0)
    meter.add(0.0, flawed=False)
    meter.add(1.0, flawed=True, since_s=0.5)
    assert meter.result(4.0)[0].start_s == 0.5


def test_stretches_that_touch_are_one() -> None:
    assert joined([black(3, 5), black(0, 3.05)]) == [black(0, 5)]


def test_stretches_of_other_streams_stay_apart() -> None:
    assert joined([black(0, 3), black(3, 5, stream=1)]) == [black(0, 3), black(3, 5, stream=1)]


def test_short_stretches_of_two_parts_are_long_enough_together() -> None:
    assert long_enough([black(8.5, 10), black(10, 11), black(20, 21)]) == [black(8.5, 11)]


def test_any_clipping_is_long_enough() -> None:
    clipping = Flaw(kind="clipping", stream=1, start_s=2.0, end_s=2.02)
    assert long_enough([clipping]) == [clipping]
