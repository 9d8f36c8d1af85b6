"""Boundaries of shots in films whose every transition is known."""

from pathlib import Path

import joined
import media_factory as factory
import numpy as np
import pytest
from av.video.frame import VideoFrame
from shots import Pictures, black, brighter, dissolved, faded, shot

from pipelines.media.scenes.boundary import Boundary, settled
from pipelines.media.scenes.detector import REACH_LOOKS, ShotDetector, look_of
from pipelines.media.scenes.thumbs import ThumbMaker

SLOW = 0.1


def found(
    pictures: Pictures, rate: float = 25, *, from_start: bool = True, frames_before: int = 0
) -> tuple[Boundary, ...]:
    """The boundaries; the frame ``n`` is shown at 10 times that."""
    thumbs, detector = ThumbMaker(), ShotDetector(rate, from_start=from_start, frames_before=frames_before)
    for number, picture in enumerate(pictures, start=frames_before):
        detector.push(thumbs.make(VideoFrame.from_ndarray(picture, format="yuv420p")), 10 * number)
    return detector.result()


def kinds(boundaries: tuple[Boundary, ...]) -> list[tuple[str, int]]:
    return [(boundary.kind, boundary.pts // 10) for boundary in boundaries]


def test_a_cut_is_the_first_frame_of_the_new_shot() -> None:
    (cut,) = found([*shot(1, 30), *shot(2, 30)])
    assert (cut.kind, cut.pts, cut.begin_pts, cut.end_pts) == ("cut", 300, 290, 300)
    assert cut.confidence > 0.7


def test_all_cuts_are_found_in_their_order() -> None:
    lengths = [12, 40, 25, 9, 60, 18]
    film = [picture for number, length in enumerate(lengths) for picture in shot(number, length)]
    assert kinds(found(film)) == [("cut", int(number)) for number in np.cumsum(lengths)[:-1]]


def test_a_film_of_one_shot_has_no_boundary() -> None:
    assert found(shot(1, 100)) == ()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_hardly_a_frame_has_no_boundary(frames: int) -> None:
    assert found(shot(1, frames)) == ()


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_flash_is_no_cut(frames: int) -> None:
    assert found(brighter(shot(1, 80), range(40, 40 + frames), 120)) == ()


@pytest.mark.parametrize("step", [3, 6, 10])
def test_a_pan_is_no_cut(step: float) -> None:
    assert found(shot(1, 80, step)) == ()


def test_a_cut_from_a_pan_is_found() -> None:
    assert kinds(found([*shot(1, 40, 4), *shot(2, 40)])) == [("cut", 40)]


def test_noise_is_no_cut() -> None:
    random = np.random.default_rng(3)
    film = [np.clip(picture + random.normal(0, 20, picture.shape), 16, 235).astype(np.uint8) for picture in shot(1, 60)]
    assert found(film) == ()


def test_light_that_changes_is_no_boundary() -> None:
    film = [np.clip(p.astype(int) // 2 + 20 + n, 16, 235).astype(np.uint8) for n, p in enumerate(shot(1, 60))]
    assert found(film) == ()


@pytest.mark.parametrize("frames", [8, 12, 20, 30])
def test_a_dissolve_is_found_about_its_middle(frames: int) -> None:
    (boundary,) = found(dissolved(shot(1, 70, SLOW), shot(2, 70, SLOW), frames))
    assert boundary.kind == "dissolve"
    assert boundary.pts / 10 == pytest.approx(70 - frames / 2, abs=4)
    assert boundary.begin_pts < boundary.pts < boundary.end_pts


def test_a_fade_through_black_is_one_boundary_where_there_is_a_picture_again() -> None:
    film = [*faded(shot(1, 60), 12, out=True), *black(6), *faded(shot(2, 60), 12, out=False)]
    (fade,) = found(film)
    assert fade.kind == "fade"
    assert fade.pts / 10 == pytest.approx(66, abs=2)
    assert fade.begin_pts / 10 == pytest.approx(48, abs=4)
    assert fade.end_pts / 10 == pytest.approx(78, abs=4)


def test_a_cut_to_black_that_a_picture_grows_out_of_is_a_fade() -> None:
    assert [b.kind for b in found([*shot(1, 60), *black(10), *faded(shot(2, 60), 12, out=False)])] == ["fade"]


def test_a_film_that_grows_out_of_black_has_no_boundary_there() -> None:
    assert found([*black(10), *faded(shot(1, 60), 12, out=False)]) == ()


def test_a_film_that_ends_in_black_has_no_boundary_there() -> None:
    assert found([*faded(shot(1, 60), 12, out=True), *black(10)]) == ()


def test_twice_the_frame_rate_finds_the_same() -> None:
    film = [*dissolved(shot(1, 70, SLOW), shot(2, 70, SLOW), 20), *shot(3, 40)]
    twice = [picture for picture in film for _ in range(2)]
    slow, fast = kinds(found(film)), kinds(found(twice, 50))
    assert [kind for kind, _ in fast] == [kind for kind, _ in slow]
    assert [number / 2 for _, number in fast] == pytest.approx([number for _, number in slow], abs=1)


def test_a_stretch_with_what_is_around_it_finds_what_the_whole_does() -> None:
    parts = [shot(1, 200), shot(2, 60), dissolved(shot(3, 80, SLOW), shot(4, 120, SLOW), 16)]
    parts.append([*faded(shot(5, 90), 10, out=True), *black(4), *faded(shot(6, 150), 10, out=False)])
    film = [picture for part in parts for picture in part]
    begin, end = 250, 400
    lower = begin - REACH_LOOKS
    part = found(film[lower : end + REACH_LOOKS], from_start=False)
    own = [b for b in part if begin <= b.pts // 10 + lower < end]
    whole = [b for b in found(film) if begin <= b.pts // 10 < end]
    assert [(kind, number + lower) for kind, number in kinds(tuple(own))] == kinds(tuple(whole))
    assert [kind for kind, _ in kinds(tuple(whole))] == ["cut", "dissolve"]


def test_a_long_film_is_judged_in_pieces_without_a_gap() -> None:
    pairs = [(shot(number, 60, SLOW), shot(number + 50, 60, SLOW)) for number in range(12)]
    film = [picture for before, after in pairs for picture in dissolved(before, after, 16)]
    assert [kind for kind, _ in kinds(found(film)) if kind == "dissolve"] == ["dissolve"] * 12


@pytest.mark.parametrize(("rate", "frames"), [(12, 1), (25, 1), (30, 1), (50, 2), (60, 2), (120, 5)])
def test_fast_films_are_looked_at_less_often(rate: float, frames: int) -> None:
    assert look_of(rate) == frames


def _boundary(pts: int, confidence: float) -> Boundary:
    return Boundary(pts=pts, kind="cut", confidence=confidence, begin_pts=pts - 1, end_pts=pts)


def test_of_two_that_are_close_the_surer_one_stays() -> None:
    close = [_boundary(100, 0.6), _boundary(105, 0.9), _boundary(111, 0.7), _boundary(200, 0.6)]
    assert [b.pts for b in settled(close, 10, 0, 300)] == [105, 200]


def test_none_is_left_too_close_to_an_end() -> None:
    assert [b.pts for b in settled([_boundary(pts, 0.8) for pts in (5, 10, 290, 296)], 10, 0, 300)] == [10, 290]


def test_thumbs_are_means() -> None:
    thumb = ThumbMaker().make(VideoFrame.from_ndarray(factory.quadrants(640, 360), format="yuv420p"))
    assert thumb.shape == (3, 36, 64)
    assert thumb[0, ::35, ::63].tolist() == [[40, 90], [140, 190]]


@pytest.fixture(scope="module")
def material() -> dict[str, joined.Frames]:
    media = Path(__file__).parents[6] / "shared" / "media"
    if not media.is_dir():
        pytest.skip(f"the shared clips aren't at {media}")
    return joined.shots(media)


@pytest.mark.parametrize("seed", [1, 2])
def test_in_real_clips_all_cuts_are_found_and_nothing_else(material: dict[str, joined.Frames], seed: int) -> None:
    film, changes = joined.joined(material, 30, seed)
    thumbs, detector = ThumbMaker(), ShotDetector(25)
    for number, picture in enumerate(film):
        detector.push(thumbs.make(VideoFrame.from_ndarray(picture, format="rgb24")), number)
    score = joined.scored([boundary.pts for boundary in settled(detector.result(), 12, 0, len(film))], changes)
    assert score.found["cut"] == score.all["cut"]
    assert score.recall > 0.85
    assert score.precision > 0.95


@pytest.mark.parametrize("begin", [10, 11])
def test_a_dissolve_lies_where_it_does_wherever_the_stretch_begins(begin: int) -> None:
    pictures = dissolved(shot(1, 120, SLOW), shot(2, 120, SLOW), 36)
    whole = found(pictures, 50)
    assert found(pictures[begin:], 50, from_start=False, frames_before=begin) == whole
    assert [boundary.kind for boundary in whole] == ["dissolve"]
