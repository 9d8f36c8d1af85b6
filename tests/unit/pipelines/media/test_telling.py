from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from av.video.frame import VideoFrame
from media_factory import HEIGHT, WIDTH, grey
from shots import shot

from pipelines.media.telling import Candidate, choose, judge


def _judged(picture: np.ndarray, pts: int = 0) -> Candidate:
    frame = VideoFrame.from_ndarray(picture, format="yuv420p")
    frame.pts = pts
    return judge(frame)


def _blurred(picture: np.ndarray) -> np.ndarray:
    luma = picture[:HEIGHT].astype(float)
    for _ in range(12):
        luma = (np.roll(luma, 1, 0) + np.roll(luma, -1, 0) + np.roll(luma, 1, 1) + np.roll(luma, -1, 1) + luma) / 5
    return np.concatenate([luma.astype(np.uint8), picture[HEIGHT:]])


def _candidates(count: int, looks: Callable[[int], int] = lambda number: number) -> list[Candidate]:
    """One every 10 ticks; those that ``looks`` gives the same number are alike. Earlier ones have higher scores."""
    made = []
    for number in range(count):
        judged = _judged(shot(looks(number), 1)[0])
        made.append(Candidate(10 * number, 0.9 - 0.01 * number, judged.histogram, judged.hash ^ (number & 1)))
    return made


def test_a_crisp_picture_tells_more_than_its_blurred_copy() -> None:
    (picture,) = shot(1, 1)
    assert _judged(picture).score > 1.2 * _judged(_blurred(picture)).score


@pytest.mark.parametrize("level", [16, 120, 235])
def test_a_flat_picture_shows_nothing(level: int) -> None:
    assert _judged(grey(level)).shows_nothing


def test_a_dark_picture_with_detail_shows_something() -> None:
    (picture,) = shot(1, 1)
    picture[:HEIGHT] = 16 + (picture[:HEIGHT] - 16) // 4
    assert not _judged(picture).shows_nothing


def test_the_same_picture_a_little_moved_is_alike_and_another_is_not() -> None:
    first, *_, moved = shot(1, 3)
    assert _judged(first).is_like(_judged(moved))
    assert not _judged(first).is_like(_judged(shot(2, 1)[0]))


def test_a_picture_differs_from_another_more_than_from_its_moved_self() -> None:
    first, *_, moved = map(_judged, shot(1, 3))
    assert first.difference(_judged(shot(2, 1)[0])) > first.difference(moved)


def test_the_best_are_chosen_in_order_of_time() -> None:
    candidates = _candidates(5)
    assert [each.pts for each in choose(candidates[::-1], 3)] == [0, 10, 20]


def test_of_nearly_the_same_score_the_one_that_differs_more_is_chosen() -> None:
    (first,), (second,) = shot(1, 1), shot(2, 1)
    mixed = first.copy()
    mixed[:HEIGHT, : WIDTH // 3] = second[:HEIGHT, : WIDTH // 3]
    best, partly, wholly = _judged(first, 0), _judged(mixed, 10), _judged(second, 20)
    assert not best.is_like(partly)
    scored = [replace(each, score=score) for each, score in ((best, 0.9), (partly, 0.61), (wholly, 0.6))]
    assert [each.pts for each in choose(scored, 2)] == [0, 20]


def test_near_duplicates_wait_until_nothing_else_is_left() -> None:
    candidates = _candidates(6, looks=lambda number: number // 2)
    assert [each.pts for each in choose(candidates, 3)] == [0, 20, 40]
    assert len(choose(candidates, 6)) == 6


def test_of_a_shot_only_one_is_chosen_while_there_are_others() -> None:
    def one_shot(begin_pts: int, end_pts: int) -> bool:
        return begin_pts // 30 == end_pts // 30

    assert [each.pts for each in choose(_candidates(9), 3, one_shot=one_shot)] == [0, 30, 60]


def test_what_is_changing_is_chosen_after_near_duplicates() -> None:
    candidates = _candidates(4, looks=lambda number: number // 2)
    chosen = choose(candidates, 2, is_changing=lambda pts: pts >= 20)
    assert [each.pts for each in chosen] == [0, 10]


def test_what_shows_nothing_comes_last() -> None:
    black = [_judged(grey(16), pts) for pts in (5, 15)]
    assert [each.pts for each in choose([*black, *_candidates(2)], 3)] == [0, 5, 10]


def test_without_a_choice_all_that_there_is_is_taken() -> None:
    assert [each.pts for each in choose([_judged(grey(16, WIDTH), 7)], 3)] == [7]


@pytest.mark.parametrize("is_changing", [False, True])
def test_no_picture_is_chosen_twice(is_changing: bool) -> None:
    (picture,) = shot(1, 1)
    candidates = [_judged(each, pts) for pts, each in enumerate([picture, picture, grey(16), grey(16), picture])]
    assert [each.pts for each in choose(candidates, 5, lambda _: is_changing)] == [0, 2]


def test_of_a_thousand_those_that_are_alike_wait_for_all_others() -> None:
    random = np.random.default_rng(1)
    shots = random.dirichlet(np.full(64, 0.1), 500), random.integers(2**63, size=500)
    candidates = [
        Candidate(2 * number + copy, 0.9 - 0.1 * copy, histogram, int(hash_) ^ copy)
        for number, (histogram, hash_) in enumerate(zip(*shots, strict=True))
        for copy in range(2)
    ]
    assert [each.pts for each in choose(candidates, 450) if each.pts % 2] == []
    assert len(choose(candidates, 750)) == 750
