from collections.abc import Sequence

import pytest

from pipelines.media.comparison.pairing import pair_up


def pairs(
    reference: Sequence[float], distorted: Sequence[float], tolerance_s: float = 0.021
) -> list[tuple[float, float]]:
    return list(pair_up(((t, t) for t in reference), ((t, t) for t in distorted), tolerance_s))


def rate(fps: float, count: int, start_s: float = 0.0) -> list[float]:
    return [start_s + number / fps for number in range(count)]


def test_frames_of_the_same_times_are_pairs() -> None:
    assert pairs(rate(25, 5), rate(25, 5)) == list(zip(rate(25, 5), rate(25, 5), strict=True))


def test_times_rounded_to_milliseconds_are_the_same_times() -> None:
    assert len(pairs(rate(24, 1000), [round(time_s, 3) for time_s in rate(24, 1000)])) == 1000


def test_a_frame_that_was_dropped_leaves_its_partner_alone() -> None:
    assert [r for r, _ in pairs(rate(25, 5), [0.0, 0.04, 0.12, 0.16])] == [0.0, 0.04, 0.12, 0.16]


def test_at_half_the_rate_every_other_frame_has_a_partner() -> None:
    assert pairs(rate(50, 8), rate(25, 4)) == [(time_s, time_s) for time_s in rate(25, 4)]


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_no_frame_is_in_two_pairs(fps: float) -> None:
    found = pairs(rate(25, 100), rate(fps, 300))
    assert len({r for r, _ in found}) == len({d for _, d in found}) == len(found)


def test_each_is_paired_with_the_nearest() -> None:
    assert pairs([0.0, 0.04], [0.015, 0.035, 0.06]) == [(0.0, 0.015), (0.04, 0.035)]


def test_what_is_too_far_apart_is_no_pair() -> None:
    assert pairs([0.0, 0.04], [0.5, 0.54]) == []


def test_what_lies_before_and_behind_the_other_is_alone() -> None:
    assert [r for r, _ in pairs(rate(25, 10), rate(25, 3, start_s=0.12))] == pytest.approx([0.12, 0.16, 0.2])


def test_nothing_pairs_with_nothing() -> None:
    assert pairs([], rate(25, 3)) == pairs(rate(25, 3), []) == []


def test_it_takes_no_more_than_one_frame_ahead() -> None:
    taken: list[float] = []

    def reading(times: Sequence[float]):  # type: ignore[no-untyped-def]
        for time_s in times:
            taken.append(time_s)
            yield time_s, time_s

    found = pair_up(reading(rate(25, 100)), reading(rate(25, 100)), 0.02)
    next(found)
    assert len(taken) == 4
