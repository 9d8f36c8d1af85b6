"""Pictures that are marked as interlaced are looked at before anything is done about it."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.fields import Scan, look
from pipelines.media.plan import TranscodePlan
from pipelines.media.probe import probe
from pipelines.media.transcode import transcode_verified

Pictures = Sequence[NDArray[np.uint8]]
QUICK = {"preset": "ultrafast", "crf": 0}
FILM = factory.whole_pictures(96)


def scan_of(film: Path) -> Scan | None:
    info = probe(film)
    assert info.video is not None
    assert info.video.interlaced
    return look(film, info.video, info.duration_s)


@pytest.mark.parametrize(
    ("pictures", "scan"),
    [
        (factory.whole_pictures(90), "progressive"),
        (factory.woven(factory.whole_pictures(180, step=3)), "interlaced"),
        (factory.telecined_pictures(FILM), "telecined"),
        ([factory.grey(60)] * 90, None),
        (factory.telecined_pictures(FILM) + factory.woven(factory.whole_pictures(180, step=3)), "interlaced"),
    ],
    ids=["whole", "interlaced", "telecined", "still", "both"],
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
    film = factory.fields_film(tmp_path / "film.mkv", factory.woven(factory.whole_pictures(180, step=3)))
    spoiled = factory.with_noise(film, tmp_path / "spoiled.mkv", range(5, 15))
    assert scan_of(spoiled) == "interlaced"


def test_whole_pictures_arent_deinterlaced_whatever_their_mark(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan]
) -> None:
    film = factory.fields_film(tmp_path / "film.mkv", factory.whole_pictures(90))
    plan = looked_at(film, **QUICK)
    assert plan.video is not None
    assert plan.video.video is not None
    assert not plan.video.video.deinterlace
    assert any("marked as interlaced" in warning for warning in plan.warnings)
    assert looked_at(film, deinterlace="on", **QUICK).video.video.deinterlace  # type: ignore[union-attr]


def test_undoing_telecine_gives_the_film_s_own_pictures(
    tmp_path: Path, looked_at: Callable[..., TranscodePlan]
) -> None:
    source = factory.fields_film(tmp_path / "film.mkv", factory.telecined_pictures(FILM))
    plan = looked_at(source, **QUICK)
    assert (plan.method, plan.reason) == (
        "serial",
        "its telecine is undone, which leaves out a picture of five wherever it begins",
    )
    result = transcode_verified(source, tmp_path / "out.mp4", plan, lambda _: None)
    assert result.video_frames == len(FILM)
    steps = np.diff([float(time) for time in factory.frame_times(tmp_path / "out.mp4")])
    assert steps == pytest.approx(1001 / 24_000, abs=0.002)
    for picture, made in zip(FILM, factory.lumas(tmp_path / "out.mp4"), strict=True):
        assert np.abs(picture[: factory.HEIGHT] - made).max() <= 2
