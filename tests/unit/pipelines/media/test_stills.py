from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from shots import black, dissolved, faded, shot

from pipelines.media.errors import NoVideoStreamError, SourceUnreadableError, TimeOutOfRangeError
from pipelines.media.probing.probe import probe
from pipelines.media.progress import Progress
from pipelines.media.stills import stills
from pipelines.media.stills_spec import Still, StillsSpec, estimate_s


def _take(source: Path, folder: Path, **spec: object) -> tuple[Still, ...]:
    given = {"format": "png", **spec}
    return stills(source, folder, StillsSpec.model_validate(given), lambda _: None).items


def _level(path: Path) -> float:
    """The mean luma of a grey picture, in the limited range of the source."""
    with Image.open(path) as picture:
        return float(np.asarray(picture.convert("L")).mean()) * 219 / 255 + 16


@pytest.mark.parametrize("time_s", [0, 0.04, 0.39, 0.4, 0.41, 1.0, 1.96, 1.99])
def test_the_still_shows_the_frame_of_its_time(grey_ramp: Path, tmp_path: Path, time_s: float) -> None:
    (still,) = _take(grey_ramp, tmp_path, times=[time_s])
    index = int(time_s * 25 + 1e-6)
    assert still.time_s == pytest.approx(index / 25)
    assert _level(tmp_path / still.name) == pytest.approx(factory.ramp_level(index), abs=1.5)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi", "ts"])
def test_every_container_finds_the_frame(tmp_path: Path, suffix: str) -> None:
    # AVI can't tell the times of reordered pictures.
    options = {"qp": "0", "bf": "0" if suffix == "avi" else "3"}
    clip = factory.grey_ramp(tmp_path / f"ramp.{suffix}", frames=120, gop=40, options=options)
    taken = _take(clip, tmp_path, times=[3.9, 0.2, 2.0, 2.36])
    indices = [5, 50, 59, 97]
    expected = [factory.ramp_level(index) for index in indices]
    assert [_level(tmp_path / still.name) for still in taken] == pytest.approx(expected, abs=1.5)


def test_a_raw_stream_without_times_shows_frames_by_their_number(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "ramp.h264", frames=100, gop=20, options={"qp": "0", "bf": "0"})
    taken = _take(clip, tmp_path, times=[2.0, 0.2, 1.0])
    expected = [factory.ramp_level(index) for index in (5, 25, 50)]
    assert [_level(tmp_path / still.name) for still in taken] == pytest.approx(expected, abs=1.5)


def test_a_transport_stream_that_seeks_late_still_shows_the_right_frame(shared_video: Path, tmp_path: Path) -> None:
    clip = shared_video / "mpeg2_mp2_1080p.ts"
    times = [float(time) for time in factory.frame_times(clip)]
    taken = _take(clip, tmp_path, times=[times[i] + 0.005 for i in (3, 20, 40, 57)], sizes=["64"])
    assert [still.time_s for still in taken] == pytest.approx([times[i] for i in (3, 20, 40, 57)], abs=1e-6)


def test_variable_frame_times_show_what_was_on_screen(tmp_path: Path) -> None:
    times = [0, 900, 45_000, 46_000, 180_000]
    pictures = [factory.grey(factory.ramp_level(i)) for i in range(5)]
    clip = factory.write_video(tmp_path / "vfr.mp4", pictures, pts=times, time_base=Fraction(1, 90_000))
    taken = _take(clip, tmp_path, times=[0.4, 0.505, 1.9])
    assert [still.pts for still in taken] == [900, 45_000, 46_000]


def test_times_count_from_a_late_start(tmp_path: Path) -> None:
    pictures = [factory.grey(factory.ramp_level(i)) for i in range(50)]
    clip = factory.write_video(tmp_path / "late.mp4", pictures, pts=range(250, 300))
    (still,) = _take(clip, tmp_path, times=[1.0])
    assert _level(tmp_path / still.name) == pytest.approx(factory.ramp_level(25), abs=1.5)


def test_an_edit_list_hides_what_lies_before_the_first_frame_shown(shared_video: Path, tmp_path: Path) -> None:
    clip = shared_video / "h264_edit_list_preroll.mp4"
    times = [float(time) for time in factory.frame_times(clip) if time >= 0]
    taken = _take(clip, tmp_path, times=[time_s + 0.01 for time_s in times], sizes=["64"])
    assert [still.time_s for still in taken] == pytest.approx(times, abs=1e-6)


def test_before_a_late_picture_its_first_frame_is_shown(tmp_path: Path) -> None:
    film = factory.rich_film(tmp_path / "late.mkv", video_start_s=1)
    (still,) = _take(film, tmp_path, times=[0.2])
    assert still.time_s == pytest.approx(1.0)


def test_after_the_last_picture_it_stays(grey_ramp: Path, tmp_path: Path) -> None:
    (still,) = _take(grey_ramp, tmp_path, times=[2.0])
    assert still.time_s == pytest.approx(1.96)


def test_a_time_behind_the_end_is_refused(grey_ramp: Path, tmp_path: Path) -> None:
    with pytest.raises(TimeOutOfRangeError, match=r"2\.5 s"):
        _take(grey_ramp, tmp_path, times=[1, 2.5])


def test_even_stills_are_the_centres_of_equal_parts(grey_ramp: Path, tmp_path: Path) -> None:
    taken = _take(grey_ramp, tmp_path, count=5)
    assert [still.time_s for still in taken] == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8])
    assert [still.name for still in taken] == [f"still-{number:04d}.png" for number in range(1, 6)]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_stills_are_turned_as_players_show_them(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()], rotation=(degrees, mirrored))
    (still,) = _take(clip, tmp_path, times=[0])
    with Image.open(tmp_path / still.name) as picture:
        grey = np.asarray(picture.convert("L")).astype(float) * 219 / 255 + 16
    height, width = grey.shape
    corners = [grey[round(y * height), round(x * width)] for y in (0.25, 0.75) for x in (0.25, 0.75)]
    shown = np.rot90(np.array([[40, 90], [140, 190]]), degrees // 90)
    assert corners == pytest.approx((np.fliplr(shown) if mirrored else shown).ravel().tolist(), abs=2)


def test_pixels_become_square(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "wide.mp4", frames=3, aspect=Fraction(4, 3))
    (still,) = _take(clip, tmp_path, times=[0])
    assert (still.width, still.height) == (128, 64)


@pytest.mark.parametrize(
    ("size", "pixels", "name"),
    [
        ("48", (48, 32), "still-0001.png"),
        ("960", (96, 64), "still-0001.png"),
        ("90x16", (24, 16), "still-0001.png"),
        ("24x60", (24, 16), "still-0001.png"),
    ],
)
def test_sizes_bound_and_never_enlarge(
    grey_ramp: Path, tmp_path: Path, size: str, pixels: tuple[int, int], name: str
) -> None:
    (still,) = _take(grey_ramp, tmp_path, times=[1], sizes=[size])
    with Image.open(tmp_path / still.name) as picture:
        assert picture.size == (still.width, still.height) == pixels
    assert still.name == name


def test_formats_and_sizes_are_of_one_frame(grey_ramp: Path, tmp_path: Path) -> None:
    taken = _take(grey_ramp, tmp_path, times=[1], sizes=[48, 96], format=["jpeg", "avif"])
    assert [(still.name, still.format, still.pts) for still in taken] == [
        (f"still-0001-{size}w.{suffix}", name, taken[0].pts)
        for size in (48, 96)
        for name, suffix in (("jpeg", "jpg"), ("avif", "avif"))
    ]
    shown = [Image.open(tmp_path / still.name) for still in taken]
    assert [(picture.format, picture.width) for picture in shown] == [
        (name, width) for width in (48, 96) for name in ("JPEG", "AVIF")
    ]


def test_several_sizes_are_named_by_their_size(grey_ramp: Path, tmp_path: Path) -> None:
    taken = _take(grey_ramp, tmp_path, times=[1], sizes=[48, "90x16"], format="jpeg")
    assert [still.name for still in taken] == ["still-0001-48w.jpg", "still-0001-90x16.jpg"]


@pytest.mark.parametrize(
    ("name", "magic"), [("jpeg", b"\xff\xd8"), ("png", b"\x89PNG"), ("webp", b"RIFF"), ("avif", b"\0\0\0 ftypavif")]
)
def test_formats(grey_ramp: Path, tmp_path: Path, name: str, magic: bytes) -> None:
    (still,) = _take(grey_ramp, tmp_path, times=[1], format=name)
    data = (tmp_path / still.name).read_bytes()
    assert data.startswith(magic)
    assert len(data) == still.size_bytes


def test_the_telling_frame_is_neither_black_nor_flat(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    detail = factory.grey(110)
    detail[: factory.HEIGHT] = (
        random.integers(40, 200, (factory.HEIGHT // 8, factory.WIDTH // 8)).repeat(8, 0).repeat(8, 1)
    )
    pictures = [factory.grey(16)] * 20 + [detail] * 5 + [factory.grey(235)] * 10 + [factory.grey(120)] * 15
    clip = factory.write_video(tmp_path / "scenes.mkv", pictures, gop=5)
    (still,) = _take(clip, tmp_path)
    assert 0.8 <= still.time_s < 1.0


def _shots_film(folder: Path, pictures: Sequence[NDArray[np.uint8]], gop: int) -> Path:
    return factory.write_video(folder / "shots.mp4", pictures, gop=gop)


@pytest.mark.parametrize("gop", [10, 1000])
def test_telling_frames_are_of_different_shots(tmp_path: Path, gop: int) -> None:
    pictures = [picture for number in range(6) for picture in shot(number, 50, 2.0)]
    taken = _take(_shots_film(tmp_path, pictures, gop), tmp_path, count=6, telling=True)
    assert [int(still.time_s // 2) for still in taken] == [0, 1, 2, 3, 4, 5]


def test_of_fewer_shots_than_wanted_each_has_one_first(tmp_path: Path) -> None:
    pictures = [picture for number in range(3) for picture in shot(number, 50)]
    taken = _take(_shots_film(tmp_path, pictures, 10), tmp_path, count=5, telling=True)
    assert len({still.pts for still in taken}) == 5
    assert {int(still.time_s // 2) for still in taken} == {0, 1, 2}


@pytest.mark.parametrize("gop", [5, 1000])
def test_telling_frames_are_not_within_dissolves_or_fades(tmp_path: Path, gop: int) -> None:
    pictures = faded(dissolved(shot(1, 80, 0.1), shot(2, 80, 0.1), 24), 25, out=True)
    taken = _take(_shots_film(tmp_path, [*pictures, *black(25)], gop), tmp_path, count=2, telling=True)
    first, second = (round(still.time_s * 25) for still in taken)
    assert first <= 58
    assert 78 <= second <= 115


def test_keyframes_are_looked_at_where_they_are_dense_and_told(tmp_path: Path) -> None:
    pictures = [picture for number in range(6) for picture in shot(number, 50)]
    dense = _take(_shots_film(tmp_path, pictures, 10), tmp_path, count=3, telling=True)
    assert all(still.keyframe and still.pts * 25 // 12_800 % 10 == 0 for still in dense)
    sparse = _take(_shots_film(tmp_path, pictures, 1000), tmp_path, count=3, telling=True)
    assert not any(still.keyframe for still in sparse)


def test_of_dense_keyframes_as_many_are_chosen_as_are_wanted_however_many(tmp_path: Path) -> None:
    pictures = [picture for number in range(14) for picture in shot(number, 50)]
    taken = _take(_shots_film(tmp_path, pictures, 5), tmp_path, count=60, telling=True, sizes=["16"], format="jpeg")
    assert len({still.pts for still in taken}) == 60
    assert all(still.keyframe for still in taken)


def test_telling_frames_are_the_same_each_time(tmp_path: Path) -> None:
    clip = _shots_film(tmp_path, [picture for number in range(6) for picture in shot(number, 50)], 10)
    assert _take(clip, tmp_path, count=3, telling=True) == _take(clip, tmp_path, count=3, telling=True)


def _warnings(source: Path, folder: Path, **spec: object) -> tuple[str, ...]:
    return stills(source, folder, StillsSpec.model_validate(spec), lambda _: None).warnings


@pytest.mark.parametrize("frames", [1, 3])
def test_no_frame_is_taken_twice_and_that_there_are_fewer_is_told(tmp_path: Path, frames: int) -> None:
    clip = factory.grey_ramp(tmp_path / "short.mkv", frames=frames)
    taken = _take(clip, tmp_path, count=5, sizes=[48, 24])
    assert len({still.pts for still in taken}) == len(taken) / 2 == frames
    assert _warnings(clip, tmp_path, count=5, sizes=[48, 24], format=["png", "jpeg"]) == (
        f"short.mkv: only {frames} of 5 stills; there are no more frames in it that differ.",
    )


def test_a_frame_that_is_asked_for_twice_by_its_time_is_taken_twice(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "short.mkv", frames=1)
    assert len(_take(clip, tmp_path, times=[0, 0.01])) == 2
    assert _warnings(clip, tmp_path, times=[0, 0.01]) == ()


@pytest.mark.parametrize("gop", [10, 1000])
@pytest.mark.parametrize("picture", [black(1)[0], shot(1, 1)[0]], ids=["black", "still"])
def test_of_a_film_that_shows_one_picture_there_is_one_telling_frame(
    tmp_path: Path, picture: NDArray[np.uint8], gop: int
) -> None:
    clip = _shots_film(tmp_path, [picture] * 75, gop)
    assert len(_take(clip, tmp_path, count=4, telling=True)) == 1
    assert "only 1 of 4 stills" in _warnings(clip, tmp_path, count=4, telling=True)[0]


def test_where_there_are_as_many_as_were_asked_for_nothing_is_told(grey_ramp: Path, tmp_path: Path) -> None:
    assert _warnings(grey_ramp, tmp_path, count=5) == _warnings(grey_ramp, tmp_path) == ()


@pytest.mark.parametrize("frames", [1, 2])
def test_of_hardly_any_frames_what_is_there_is_taken(tmp_path: Path, frames: int) -> None:
    clip = factory.grey_ramp(tmp_path / "short.mkv", frames=frames)
    assert len(_take(clip, tmp_path, count=4, telling=True)) == frames


def test_stills_are_spread_over_a_film_that_does_not_tell_how_long_it_is(tmp_path: Path) -> None:
    clip = factory.live_film(factory.grey_ramp(tmp_path / "ramp.mp4", frames=100), tmp_path / "live.mkv")
    assert [still.time_s for still in _take(clip, tmp_path, count=2)] == pytest.approx([1.0, 3.0], abs=0.001)


def test_pictures_without_a_size_are_told_to_be_unreadable(tmp_path: Path) -> None:
    clip = factory.without_size(factory.grey_ramp(tmp_path / "ramp.ts"), tmp_path / "scrambled.ts")
    with pytest.raises(SourceUnreadableError, match="size of its pictures"):
        _take(clip, tmp_path)


def test_a_cover_stands_in_for_missing_pictures(shared_video: Path, tmp_path: Path) -> None:
    (still,) = _take(shared_video.parent / "audio" / "flac_with_cover.flac", tmp_path)
    assert (still.width, still.height) == (371, 320)


def test_sound_alone_has_no_stills(tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))])
    with pytest.raises(NoVideoStreamError):
        _take(clip, tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        {"times": [1], "count": 2},
        {"times": [-1]},
        {"sizes": ["big"]},
        {"sizes": ["0"]},
        {"quality": 0},
        {"format": []},
        {"format": ["png", "png"]},
        {"sizes": [9, 9]},
    ],
)
def test_contradictions_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StillsSpec.model_validate(spec)


def test_progress_ends_at_one(grey_ramp: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    stills(grey_ramp, tmp_path, StillsSpec(count=3), seen.append)
    assert [progress.frames for progress in seen] == [1, 2, 3]
    assert seen[-1].fraction == 1


def test_one_small_still_is_told_to_be_quick(grey_ramp: Path) -> None:
    assert estimate_s(probe(grey_ramp), StillsSpec(times=(1,))) < 0.2
