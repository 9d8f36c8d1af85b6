from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.media.rate_cap import RateCap

_MILLISECOND = Fraction(1, 1000)


def frame(duration: int = 0) -> VideoFrame:
    made = VideoFrame(16, 16, "gray")
    made.duration = duration
    return made


def slots(
    times: Sequence[int], rate: int | Fraction, time_base: Fraction = _MILLISECOND, borders: Sequence[int] = ()
) -> list[tuple[int, int]]:
    """Which of ``times`` stay, with the slot of each, where the film is cut before the frames ``borders``."""
    edges = [0, *sorted(set(borders)), len(times)]
    found = []
    for begin, end in pairwise(edges):
        cap, pushed = RateCap(Fraction(rate), time_base), {}
        for pts in times[begin:end]:
            made = frame()
            pushed[id(made)] = (pts, made)
            left = cap.push(made, pts, 1)
            found += [(pushed[id(left)][0], left.pts or 0)] if left else []
        last = cap.finish(times[end] if end < len(times) else None)
        found += [(pushed[id(last)][0], last.pts or 0)] if last else []
    return found


def test_of_frames_in_one_slot_the_last_stays() -> None:
    assert slots([0, 10, 19, 40, 45, 59], 25) == [(19, 0), (59, 1)]


def test_frames_leave_in_the_time_base_of_the_rate() -> None:
    cap = RateCap(Fraction(30000, 1001), _MILLISECOND)
    cap.push(frame(), 100, 40)
    left = cap.finish(200)
    assert left is not None
    assert (left.pts, left.time_base, left.duration) == (3, Fraction(1001, 30000), 1)


def test_frames_below_the_rate_all_stay() -> None:
    times = [0, 41, 83, 125, 400, 2000]
    assert [pts for pts, _ in slots(times, 30)] == times


def test_the_last_frame_goes_if_its_slot_begins_behind_its_end() -> None:
    cap = RateCap(Fraction(1), _MILLISECOND)
    cap.push(frame(), 600, 100)
    assert cap.finish() is None


@pytest.mark.parametrize("rate", [30, 25, Fraction(24000, 1001)])
def test_a_rounded_clock_drops_evenly(rate: int | Fraction) -> None:
    """59.94 frames per second in milliseconds, as Matroska has them."""
    times = [round(number * 1001 / 60) for number in range(600)]
    kept = [slot for _, slot in slots(times, rate)]
    assert kept == list(range(kept[0], kept[0] + len(kept)))


@settings(max_examples=200)
@given(
    gaps=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    rate=st.sampled_from([10, 24, 25, 30, Fraction(24000, 1001), Fraction(30000, 1001)]),
    borders=st.lists(st.integers(1, 59), max_size=8),
    start=st.integers(0, 5000),
)
def test_the_choice_is_the_same_wherever_a_film_is_cut(
    gaps: list[int], rate: int | Fraction, borders: list[int], start: int
) -> None:
    times = [start + sum(gaps[: number + 1]) for number in range(len(gaps))]
    inside = [border for border in borders if border < len(times)]
    assert slots(times, rate, borders=inside) == slots(times, rate)


@given(
    gaps=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    rate=st.sampled_from([10, 25, Fraction(30000, 1001)]),
)
def test_slots_rise_and_are_within_half_of_one(gaps: list[int], rate: int | Fraction) -> None:
    times = [sum(gaps[:number]) for number in range(len(gaps))]
    found = slots(times, rate)
    numbers = [slot for _, slot in found]
    assert numbers == sorted(set(numbers))
    assert all(abs(pts * _MILLISECOND * rate - slot) <= Fraction(1, 2) for pts, slot in found)
