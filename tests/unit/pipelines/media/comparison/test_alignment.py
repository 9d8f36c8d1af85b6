"""Where one film lies in the other, and whether it does at all."""

from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from unit.pipelines.media.comparison.conftest import COARSE, Compare, scenes

from pipelines.media.comparison.compare_spec import Alignment, CompareSpec
from pipelines.media.comparison.planning import plan_comparison


def aligned(distorted: Path, reference: Path, **spec: object) -> Alignment:
    return plan_comparison(distorted, reference, CompareSpec.model_validate(spec), 1).alignment


def coarse(path: Path, pictures: list[np.ndarray], **options: object) -> Path:
    return factory.write_video(path, pictures, options=COARSE, **options)  # type: ignore[arg-type]


def test_films_of_the_same_times_have_no_offset(distorted: Path, reference: Path) -> None:
    found = aligned(distorted, reference)
    assert (found.verdict, found.offset_s, found.found) == ("same", 0.0, "times")
    assert found.confidence > 0.95


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_a_few_extra_frames_before_are_found(reference: Path, tmp_path: Path, frames: int) -> None:
    longer = coarse(tmp_path / "longer.mp4", [factory.grey(16)] * frames + scenes(120))
    found = aligned(longer, reference)
    assert (found.offset_s, found.found) == (pytest.approx(frames / 25), "times")


def test_many_extra_frames_before_are_searched_for(reference: Path, tmp_path: Path) -> None:
    longer = coarse(tmp_path / "longer.mp4", [factory.grey(16)] * 60 + scenes(120))
    found = aligned(longer, reference)
    assert (found.verdict, found.offset_s, found.found) == ("same", pytest.approx(2.4), "search")
    assert found.confidence > 0.95


def test_a_missing_beginning_is_found(reference: Path, tmp_path: Path) -> None:
    found = aligned(coarse(tmp_path / "later.mp4", scenes(80, first=40)), reference)
    assert (found.verdict, found.offset_s) == ("same", pytest.approx(-1.6))


def test_an_offset_beyond_the_bound_is_not_found(reference: Path, tmp_path: Path) -> None:
    longer = coarse(tmp_path / "longer.mp4", [factory.grey(16)] * 60 + scenes(120))
    assert aligned(longer, reference, max_offset=1).verdict != "same"


def test_a_late_start_on_the_containers_clock_is_none(reference: Path, tmp_path: Path) -> None:
    late = coarse(tmp_path / "late.mp4", scenes(120), pts=range(250, 370))
    assert aligned(late, reference).offset_s == 0.0


def test_a_first_frame_that_was_dropped_moves_the_clock(reference: Path, tmp_path: Path) -> None:
    found = aligned(coarse(tmp_path / "dropped.mp4", scenes(119, first=1)), reference)
    assert found.offset_s == pytest.approx(-0.04)


def test_another_frame_rate_keeps_the_times(reference: Path, tmp_path: Path) -> None:
    half = coarse(tmp_path / "half.mp4", scenes(120)[::2], pts=range(0, 120, 2))
    assert aligned(half, reference).offset_s == 0.0


def test_times_in_milliseconds_are_the_same_to_the_millisecond(reference: Path, tmp_path: Path) -> None:
    ntsc = Fraction(1001, 30_000)
    films = [
        factory.write_video(tmp_path / f"film.{suffix}", scenes(120), range(120), ntsc, rate=1 / ntsc)
        for suffix in ("mkv", "mp4")
    ]
    assert aligned(*films).offset_s == pytest.approx(0, abs=0.001)


def test_a_given_offset_is_taken_and_judged(distorted: Path, reference: Path) -> None:
    found = aligned(distorted, reference, offset=0.8)
    assert (found.offset_s, found.found) == (0.8, "given")
    assert found.verdict == "doubtful"


def test_other_films_are_told(distorted: Path, tmp_path: Path) -> None:
    other = factory.write_video(tmp_path / "other.mkv", factory.moving_pictures(100))
    found = aligned(distorted, other)
    assert found.verdict == "different"
    assert found.confidence == 0.0


def test_black_is_no_match_for_a_picture(distorted: Path, tmp_path: Path) -> None:
    black = factory.write_video(tmp_path / "black.mkv", [factory.grey(16)] * 100)
    assert aligned(distorted, black).verdict == "different"


def test_what_does_not_move_leaves_the_offset_unsure(tmp_path: Path) -> None:
    still = factory.write_video(tmp_path / "still.mkv", [factory.quadrants()] * 60)
    found = aligned(still, still)
    assert (found.verdict, found.offset_s, found.sharpness) == ("same", 0.0, 0.0)
    assert found.confidence == 0.5


def test_a_part_cut_out_in_the_middle_is_told(compare: Compare, reference: Path, tmp_path: Path) -> None:
    cut = coarse(tmp_path / "cut.mp4", scenes(40) + scenes(75, first=45))
    assert any("don't keep one offset" in warning for warning in compare(cut, reference).result.warnings)


def test_a_clip_is_found_in_its_film(reference: Path, tmp_path: Path) -> None:
    found = aligned(coarse(tmp_path / "clip.mp4", scenes(10, first=50)), reference)
    assert (found.verdict, found.offset_s) == ("same", pytest.approx(-2.0))


def test_an_offset_of_minutes_is_found_where_it_is_searched_for(reference: Path, tmp_path: Path) -> None:
    longer = coarse(tmp_path / "longer.mp4", [factory.grey(16)] * 4210 + scenes(120))
    found = aligned(longer, reference, max_offset=200)
    assert (found.verdict, found.offset_s, found.found) == ("same", pytest.approx(168.4), "search")


def test_an_offset_that_leaves_little_that_both_have_is_found(tmp_path: Path) -> None:
    slow = {"time_base": Fraction(1, 5), "rate": Fraction(5)}
    before = coarse(tmp_path / "before.mp4", [*scenes(120), *scenes(500, first=1000)], **slow)
    behind = coarse(tmp_path / "behind.mp4", [*scenes(500, first=1500), *scenes(120)], **slow)
    assert aligned(behind, before, max_offset=200).offset_s == pytest.approx(100)
