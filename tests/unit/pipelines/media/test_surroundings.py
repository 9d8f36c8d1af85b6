from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import media_factory as factory
import pytest
from shots import Pictures, black, dissolved, faded, shot

from pipelines.media.frames import FrameReader
from pipelines.media.source import open_input
from pipelines.media.surroundings import LookedInto, LookedThrough, Surroundings

_RATE = 25.0
Look = Callable[[Path, list[int]], "contextmanager[Surroundings]"]


@contextmanager
def _into(film: Path, _: list[int]) -> Iterator[Surroundings]:
    with open_input(film) as container:
        stream = container.streams.video[0]
        yield LookedInto(FrameReader(container, stream), stream.time_base or Fraction(1, 25), _RATE)


@contextmanager
def _through(film: Path, wanted: list[int]) -> Iterator[Surroundings]:
    around = LookedThrough(wanted, _RATE)
    with open_input(film) as container:
        reader = FrameReader(container, container.streams.video[0])
        _push_all(around, reader)
    around.finish()
    yield around


def _push_all(around: LookedThrough, reader: FrameReader) -> list[int | None]:
    frame, told = reader.first(), []
    while frame is not None:
        following = reader.following()
        told += [frame.pts] if around.push(frame, None if following is None else following.pts) else []
        frame = following
    return told


@pytest.fixture(params=[_into, _through], ids=["into", "through"])
def look(request: pytest.FixtureRequest) -> Look:
    return request.param  # type: ignore[no-any-return]


def _film(folder: Path, pictures: Pictures) -> Path:
    """Whose ticks are frames."""
    options = {"qp": "0", "preset": "veryfast", "bf": "0"}
    return factory.write_video(folder / "film.avi", pictures, gop=25, options=options)


def _changing(look: Look, film: Path, numbers: list[int]) -> list[bool]:
    with look(film, numbers) as around:
        return [around.is_changing(number) for number in numbers]


def test_frames_of_a_dissolve_are_on_their_way_and_those_beside_it_are_not(look: Look, tmp_path: Path) -> None:
    film = _film(tmp_path, dissolved(shot(1, 80, 0.1), shot(2, 80, 0.1), 24))
    assert _changing(look, film, [20, 45, 62, 68, 74, 100]) == [False, False, True, True, True, False]


def test_frames_of_a_fade_are_on_their_way(look: Look, tmp_path: Path) -> None:
    first, second = faded(shot(1, 70, 0.1), 25, out=True), faded(shot(2, 70, 0.1), 25, out=False)
    film = _film(tmp_path, [*first, *black(20), *second])
    assert _changing(look, film, [20, 52, 56, 98, 104, 130]) == [False, True, True, True, True, False]


def test_a_shot_that_moves_on_is_not_on_its_way(look: Look, tmp_path: Path) -> None:
    film = _film(tmp_path, shot(1, 120, 1.0))
    assert _changing(look, film, [20, 60, 90]) == [False] * 3


def test_shots_end_at_a_cut(look: Look, tmp_path: Path) -> None:
    film = _film(tmp_path, [*shot(1, 60), *shot(2, 60)])
    with look(film, [10, 50, 70]) as around:
        assert around.one_shot(10, 50)
        assert not around.one_shot(10, 70)
        assert not around.one_shot(50, 70)
        assert [each.pts for each in around.boundaries(20, 100)] == [60]


def test_shots_end_at_a_dissolve(look: Look, tmp_path: Path) -> None:
    film = _film(tmp_path, dissolved(shot(1, 80, 0.1), shot(2, 80, 0.1), 24))
    with look(film, [20, 110]) as around:
        assert not around.one_shot(20, 110)


def test_frames_far_apart_are_of_different_shots_without_a_look(tmp_path: Path) -> None:
    film = _film(tmp_path, shot(1, 40))
    with _into(film, []) as around:
        assert not around.one_shot(0, 21 * 25)


def test_the_frames_shown_at_times_wanted_are_told(tmp_path: Path) -> None:
    film = _film(tmp_path, shot(1, 30))
    with open_input(film) as container:
        reader = FrameReader(container, container.streams.video[0])
        assert _push_all(LookedThrough([4, 5, 20, 99], _RATE), reader) == [4, 5, 20, 29]
