"""Pictures that are marked as interlaced are looked at before anything is done about it."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.errors import ParamsError
from pipelines.media.plan import TranscodePlan
from pipelines.media.probing.fields import look
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import Scan
from pipelines.media.transcode import transcode_verified

Pictures = Sequence[NDArray[np.uint8]]
QUICK = {"preset": "ultrafast", "crf": 0}
FILM = factory.whole_pictures(96)
COMBED = factory.woven(factory.whole_pictures(180, step=3))


def scan_of(film: Path) -> Scan | None:
    info = probe(film)
    assert info.video is not None
    assert info.video.interlaced
    return look(film, info.video, info.duration_s)


@pytest.mark.parametrize(
    ("pictures", "scan"),
    [
        (factory.whole_pictures(90), "progressive"),
        (COMBED, "interlaced"),
        (factory.telecined_pictures(FILM), "telecined"),
        ([factory.grey(60)] * 90, None),
        (factory.telecined_pictures(FILM) + COMBED, "interlaced"),
        (factory.telecined_pictures(FILM) + factory.whole_pictures(90), "interlaced"),
    ],
    ids=["whole", "interlaced", "telecined", "still", "both", "telecined in part"],
)
def test_marked_pictures_are_told_apart(tmp_path: Path, pictures: Pictures, scan: Scan | None) -> None:
    assert scan_of(factory.fields_film(tmp_path / "film.mkv", pictures)) == scan


def test_telecine_at_uneven_times_isnt_undone(tmp_path: Path) -> None:
    pictures = factory.telecined_pictures(FILM)
    pts = [33 * number + 20 * (number % 7 == 3) for number in range(len(pictures))]
    film = factory.write_video(
        tmp_path / "film.mkv", pictures, pts, Fraction(1, 1000), rate=factory.NTSC, options=factory.FIELDS_OPTIONS
    )
    assert scan_of(film) == "interlaced"


def test_a_damaged_film_is_looked_at_as_far_as_it_decodes(tmp_path: Path) -> None:
    film = factory.fields_film(tmp_path / "film.mkv", COMBED)
    spoiled = factory.with_noise(film, tmp_path / "spoiled.mkv", range(5, 15))
    assert scan_of(spoiled) == "interlaced"


def test_whole_pictures_arent_deinterlaced_whatever_their_mark(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan]
) -> None:
    film = factory.fields_film(tmp_path / "film.mkv", factory.whole_pictures(90))
    plan = looked_at(film, **QUICK)
    assert plan.video is not None
    assert plan.video.video is not None
    assert plan.video.video.deinterlace is None
    assert any("marked as interlaced" in warning for warning in plan.warnings)
    assert deinterlaced(looked_at(film, deinterlace="on", **QUICK)) == "all"


def deinterlaced(plan: TranscodePlan) -> str | None:
    assert plan.video is not None
    assert plan.video.video is not None
    return plan.video.video.deinterlace


def test_combed_pictures_are_deinterlaced_whatever_they_say_of_themselves(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan]
) -> None:
    # The container marks the film, the codec none of its pictures.
    unmarked = factory.write_video(tmp_path / "film.mkv", COMBED, options={"qp": "0", "field_order": "tt"})
    assert scan_of(unmarked) == "unmarked"
    plan = looked_at(unmarked, **QUICK)
    assert deinterlaced(plan) == "all"
    transcode_verified(unmarked, tmp_path / "out.mp4", plan, lambda _: None)
    before, after = (
        np.abs(np.diff(factory.lumas(path)[40], axis=0)).mean() for path in (unmarked, tmp_path / "out.mp4")
    )
    assert after < before / 2


def test_sound_alone_of_a_marked_film_isnt_looked_at(tmp_path: Path, looked_at: Callable[..., TranscodePlan]) -> None:
    film = factory.fields_film(tmp_path / "film.mkv", factory.whole_pictures(90))
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.clicks(3, (1,)))])
    both = factory.with_sound(film, sound, tmp_path / "both.mkv")
    assert not any("interlaced" in warning for warning in looked_at(both, "audio-mp3").warnings)


def test_telecine_that_isnt_at_one_rate_everywhere_is_deinterlaced(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan]
) -> None:
    pictures = factory.telecined_pictures(factory.whole_pictures(800))
    pts = [1001 * number + 5005 * (number > 300) for number in range(len(pictures))]  # a gap between what is looked at
    film = factory.write_video(
        tmp_path / "film.mkv", pictures, pts, 1 / factory.NTSC / 1001, rate=factory.NTSC, options=factory.FIELDS_OPTIONS
    )
    assert scan_of(film) == "telecined"
    assert deinterlaced(looked_at(film, **QUICK)) == "all"
    with pytest.raises(ParamsError, match="one rate"):
        looked_at(film, deinterlace="telecine", **QUICK)


@pytest.mark.parametrize("rate", [12, 3])
def test_undone_telecine_may_be_bounded_in_its_rate(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan], rate: int
) -> None:
    source = factory.fields_film(tmp_path / "film.mkv", factory.telecined_pictures(FILM))
    plan = looked_at(source, frame_rate=rate, **QUICK)
    result = transcode_verified(source, tmp_path / "out.mp4", plan, lambda _: None)
    assert result.duration_s == pytest.approx(120 / float(factory.NTSC), abs=1 / rate)
    assert result.video_frames == pytest.approx(120 / float(factory.NTSC) * rate, abs=1)


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_undoing_telecine_gives_the_film_s_own_pictures_at_their_times(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan], container: str
) -> None:
    source = factory.fields_film(tmp_path / f"film.{container}", factory.telecined_pictures(FILM))
    plan = looked_at(source, **QUICK)
    assert (plan.method, plan.reason) == (
        "serial",
        "its telecine is undone, which leaves out a picture of five wherever it begins",
    )
    result = transcode_verified(source, tmp_path / "out.mp4", plan, lambda _: None)
    assert result.video_frames == len(FILM)
    times = [float(time) for time in factory.frame_times(tmp_path / "out.mp4")]
    assert times == pytest.approx([number * 1001 / 24_000 for number in range(len(FILM))], abs=0.002)
    for picture, made in zip(FILM, factory.lumas(tmp_path / "out.mp4"), strict=True):
        assert np.abs(picture[: factory.HEIGHT] - made).max() <= 2
