import math

import pytest

from pipelines.media.info import VideoInfo
from pipelines.media.quality.score import (
    effective_share,
    estimated_log2_step,
    grade_of,
    lines_on_screen,
    score_of,
    visible_log2_step,
)


def video(width: int, height: int, rotation_deg: int = 0) -> VideoInfo:
    return VideoInfo.model_validate(
        {
            "index": 0,
            "codec": "h264",
            "width": width,
            "height": height,
            "display_width": width,
            "display_height": height,
            "rotation_deg": rotation_deg,
        }
    )


def score(step: float, lines: float) -> float:
    return score_of(math.log2(step), lines, "a test").score


def test_a_coarser_step_is_worse() -> None:
    scores = [score(step, 1080) for step in (1, 4, 16, 64, 200)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 50


def test_fewer_lines_are_worse() -> None:
    scores = [score(4, lines) for lines in (2160, 1080, 480, 240, 1)]
    assert scores == sorted(scores, reverse=True)


def test_a_step_that_nobody_sees_is_as_good_as_none() -> None:
    assert score(0.5, 1080) == score(1, 1080)


def test_the_score_is_its_worse_part_where_the_other_is_perfect() -> None:
    told = score_of(5.0, 1080, "a test")
    assert told.score == told.parts[0].score
    told = score_of(0.0, 240, "a test")
    assert told.score == told.parts[1].score


@pytest.mark.parametrize(("log2_step", "lines"), [(0.0, 1080), (3.0, 700), (5.0, 240), (6.0, 2160), (0.0, 100)])
def test_what_the_parts_lose_is_what_the_score_lacks(log2_step: float, lines: float) -> None:
    told = score_of(log2_step, lines, "a test")
    perfect = score_of(0.0, 1080, "a test").score
    assert sum(part.lost for part in told.parts) == pytest.approx(perfect - told.score, abs=0.1)
    assert [part.lost > 0 for part in told.parts] == [log2_step > 0, lines < 1080]


@pytest.mark.parametrize(
    ("value", "grade"), [(0, "bad"), (19.9, "bad"), (20, "poor"), (45, "fair"), (79.9, "good"), (100, "excellent")]
)
def test_a_grade_is_a_fifth_of_the_scale(value: float, grade: str) -> None:
    assert grade_of(value) == grade


@pytest.mark.parametrize(
    ("size", "rotation_deg", "lines"),
    [
        ((1920, 1080), 0, 1080),
        ((1920, 800), 0, 1080),
        ((960, 400), 0, 540),
        ((640, 480), 0, 480),
        ((1280, 720), 90, 1280),
    ],
)
def test_lines_are_those_of_the_screen_that_it_fills(size: tuple[int, int], rotation_deg: int, lines: int) -> None:
    assert lines_on_screen(video(*size, rotation_deg)) == lines


def test_detail_that_a_coarse_step_took_does_not_count_twice() -> None:
    assert effective_share(0.25, 6.0) == 1
    assert effective_share(0.25, 1.0) == 0.25
    assert 0.25 < effective_share(0.25, 3.0) < 1


def test_more_bits_are_a_finer_step_and_busier_pictures_a_coarser_one() -> None:
    few, many = (estimated_log2_step("h264", bits, 40) for bits in (0.02, 0.2))
    assert few > many
    assert estimated_log2_step("h264", 0.1, 80) > estimated_log2_step("h264", 0.1, 20)


def test_a_better_codec_needs_fewer_bits() -> None:
    assert estimated_log2_step("mpeg2video", 0.1, 40) > estimated_log2_step("vp8", 0.1, 40)


def test_a_step_shows_less_in_later_codecs() -> None:
    assert visible_log2_step("hevc", 4.0) == visible_log2_step("av1", 4.0) < visible_log2_step("h264", 4.0) == 4.0
