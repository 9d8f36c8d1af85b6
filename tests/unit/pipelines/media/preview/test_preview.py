import hashlib
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import pytest
from PIL import Image, ImageSequence
from pydantic import ValidationError
from shots import Pictures, black, dissolved, shot

from pipelines.media.errors import LimitError, NoVideoStreamError, ParamsError
from pipelines.media.preview.preview import preview
from pipelines.media.preview.preview_spec import PreviewResult, PreviewSpec, estimate_s, rate_for
from pipelines.media.probing.probe import probe
from pipelines.media.progress import Progress

_SHOT = 75  # frames: 3 s
Make = Callable[..., PreviewResult]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(source: Path, **spec: object) -> PreviewResult:
        return preview(source, tmp_path, PreviewSpec.model_validate(spec), lambda _: None)

    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten shots of 3 s, with a keyframe every second; the third is black."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    shots = [black(_SHOT) if number == 2 else shot(number, _SHOT) for number in range(10)]
    return factory.write_video(path, [picture for each in shots for picture in each], gop=25)


def _shown(path: Path) -> list[np.ndarray]:
    """The grey frames of an animation."""
    with Image.open(path) as image:
        return [np.asarray(frame.convert("L")).astype(float) for frame in ImageSequence.Iterator(image)]


def _starts_ms(path: Path) -> list[int]:
    """When the frames of an animation begin; those that are the same are one."""
    with Image.open(path) as image:
        durations = [frame.copy().info["duration"] for frame in ImageSequence.Iterator(image)]
    return [0, *accumulate(durations)]


def _away(one: np.ndarray, picture: np.ndarray) -> float:
    return float(np.abs(one * 219 / 255 + 16 - picture[: factory.HEIGHT]).mean())


def test_pieces_begin_with_shots_and_are_spread_over_the_film(make: Make, film: Path) -> None:
    made = make(film)
    starts = [segment.start_s for segment in made.segments]
    assert [start_s % 3 for start_s in starts] == pytest.approx([0] * 5, abs=1e-3)
    assert [segment.end_s - segment.start_s for segment in made.segments] == pytest.approx([1.2] * 5)
    assert all(b - a >= 3 for a, b in pairwise(starts))
    assert starts[0] <= 6
    assert starts[-1] >= 21


def test_nothing_black_is_shown(make: Make, film: Path, tmp_path: Path) -> None:
    make(film)
    assert all(frame.std() > 10 for frame in _shown(tmp_path / "preview.webp"))


def test_frames_are_those_of_their_times(make: Make, film: Path, tmp_path: Path) -> None:
    made = make(film, quality=90)
    shown = dict(zip(_starts_ms(tmp_path / "preview.webp"), _shown(tmp_path / "preview.webp"), strict=False))
    assert made.frames == 5 * 15
    second = made.segments[1]
    at_ms, number = round(second.shown_at_s * 1000), round(second.start_s * 25)
    own = shot(number // _SHOT, _SHOT)
    assert _away(shown[at_ms], own[0]) < 3
    assert _away(shown[at_ms + 1000], own[25]) < min(_away(shown[at_ms + 1000], own[each]) for each in (22, 28))


def test_the_rate_is_constant_to_the_millisecond(make: Make, film: Path, tmp_path: Path) -> None:
    made = make(film)
    starts_ms = _starts_ms(tmp_path / "preview.webp")
    assert set(starts_ms) <= {round(number * 1000 / 12) for number in range(76)}
    assert starts_ms[-1] == round(made.duration_s * 1000) == 6250


def test_avif_moves(make: Make, film: Path, tmp_path: Path) -> None:
    made = make(film, format="avif", segments=2, segment_s=0.5)
    with Image.open(tmp_path / made.name) as image:
        assert (image.format, getattr(image, "n_frames", 1), image.size) == ("AVIF", 12, (96, 64))


def test_mp4_is_h264_without_sound_that_plays_before_it_has_arrived(make: Make, film: Path, tmp_path: Path) -> None:
    made = make(film, format="mp4", segments=3)
    path = tmp_path / "preview.mp4"
    info = probe(path)
    assert info.video is not None
    assert (info.video.codec, info.video.pixel_format, info.video.frame_rate) == ("h264", "yuv420p", "25")
    assert (info.video.color_space, info.audio) == ("bt709", ())
    assert len(factory.frame_times(path)) == made.frames == 90
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("format_", ["webp", "mp4"])
def test_the_same_film_makes_the_same_bytes(make: Make, film: Path, tmp_path: Path, format_: str) -> None:
    digests = set()
    for _ in range(2):
        made = make(film, format=format_, segments=2, segment_s=0.5)
        digests.add(hashlib.sha256((tmp_path / made.name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_an_avif_does_not_tell_when_it_was_made(make: Make, film: Path, tmp_path: Path) -> None:
    data = (tmp_path / make(film, format="avif", segments=2, segment_s=0.5).name).read_bytes()
    for header in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(header)
        assert data[at + 4] == 1
        assert data[at + 8 : at + 24] == bytes(16)


@pytest.mark.parametrize("format_", ["webp", "mp4"])
def test_quality_is_lowered_until_it_fits(make: Make, film: Path, tmp_path: Path, format_: str) -> None:
    free = make(film, format=format_, segments=2)
    bound = free.size_bytes * 9 // 10
    made = make(film, format=format_, segments=2, max_bytes=bound)
    assert (tmp_path / made.name).stat().st_size == made.size_bytes <= bound
    assert made.quality < free.quality


def test_what_fits_keeps_its_quality(make: Make, film: Path) -> None:
    assert make(film, segments=1, max_bytes=10_000_000).quality == 65


def test_what_can_not_fit_is_refused(make: Make, film: Path, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="more than 1000"):
        make(film, max_bytes=1000, format="mp4")
    assert not (tmp_path / "preview.mp4").exists()


def test_a_short_film_is_shown_whole(make: Make, grey_ramp: Path, tmp_path: Path) -> None:
    made = make(grey_ramp)
    (segment,) = made.segments
    assert (segment.start_s, segment.end_s, made.frames) == (0, 2, 24)
    assert len(_shown(tmp_path / made.name)) == 24


def test_a_single_frame_is_a_preview(make: Make, tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "one.mkv", frames=1)
    for format_ in ("webp", "mp4"):
        assert make(clip, format=format_).frames == 1


def test_no_piece_begins_within_a_dissolve(make: Make, tmp_path: Path) -> None:
    pictures: Pictures = shot(0, 100, 0.1)
    for number in range(1, 5):
        pictures = dissolved(pictures, shot(number, 100, 0.1), 24)
    clip = factory.write_video(tmp_path / "dissolves.mp4", pictures, gop=25)
    made = make(clip, segments=4)
    middles = [(76 * number + 88) / 25 for number in range(4)]
    assert all(abs(segment.start_s - middle) > 0.25 for segment in made.segments for middle in middles)


def test_quick_cuts_are_shown_from_a_cut_without_a_flicker_at_the_end(make: Make, tmp_path: Path) -> None:
    pictures = [picture for number in range(40) for picture in shot(number, 20)]
    clip = factory.write_video(tmp_path / "quick.mp4", pictures, gop=20)
    made = make(clip, segments=4)
    for segment in made.segments:
        assert segment.start_s * 25 % 20 == pytest.approx(0, abs=1e-3)
        assert segment.end_s * 25 % 20 == pytest.approx(0, abs=1e-3) or segment.end_s * 25 % 20 >= 10


def test_of_a_short_last_shot_no_more_is_shown_than_there_is(make: Make, tmp_path: Path) -> None:
    pictures = [picture for number, frames in enumerate((100, 90, 10)) for picture in shot(number, frames)]
    made = make(factory.write_video(tmp_path / "last.mp4", pictures, gop=5), segments=5, segment_s=1.5)
    assert all(0.3 <= segment.end_s - segment.start_s <= 1.5 for segment in made.segments)
    assert all(b.start_s >= a.end_s for a, b in pairwise(made.segments))


def test_it_is_turned_with_square_pixels_and_never_larger(make: Make, tmp_path: Path) -> None:
    turned = factory.write_video(
        tmp_path / "turned.mp4", [factory.quadrants()] * 5, rotation=(90, False), aspect=Fraction(4, 3)
    )
    made = make(turned)
    assert (made.width, made.height) == (64, 128)
    (shown, *_) = _shown(tmp_path / made.name)
    corners = [shown[y, x] * 219 / 255 + 16 for y in (32, 96) for x in (16, 48)]
    assert corners == pytest.approx([90, 190, 40, 140], abs=4)


def test_times_that_vary_become_even(make: Make, tmp_path: Path) -> None:
    times = [0, 900, 45_000, 90_000, 135_000]
    pictures = [factory.grey(level) for level in (20, 60, 100, 140, 180)]
    clip = factory.write_video(tmp_path / "vfr.mp4", pictures, pts=times, time_base=Fraction(1, 90_000))
    make(clip, frame_rate=4)
    levels = [float(frame.mean()) * 219 / 255 + 16 for frame in _shown(tmp_path / "preview.webp")]
    assert levels == pytest.approx([20, 60, 100, 140, 180], abs=3)


def test_a_film_that_starts_late_is_shown_from_its_start(make: Make, tmp_path: Path) -> None:
    pictures = [factory.grey(factory.ramp_level(index)) for index in range(50)]
    clip = factory.write_video(tmp_path / "late.mp4", pictures, pts=range(250, 300))
    make(clip)
    shown = _shown(tmp_path / "preview.webp")
    assert shown[0].mean() * 219 / 255 + 16 == pytest.approx(factory.ramp_level(0), abs=3)


def test_sound_alone_has_no_preview(make: Make, tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))])
    with pytest.raises(NoVideoStreamError):
        make(clip)


def test_a_cover_is_no_moving_picture(make: Make, shared_video: Path) -> None:
    with pytest.raises(NoVideoStreamError):
        make(shared_video.parent / "audio" / "flac_with_cover.flac")


def test_of_a_file_that_was_cut_off_what_is_there_is_shown(make: Make, film: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    with av.open(str(film)) as source, av.open(str(whole), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    made = make(cut)
    assert made.segments[-1].end_s < 20
    assert "was cut off" in made.warnings[0]


def test_too_many_pixels_for_an_animation_are_refused(make: Make, tmp_path: Path) -> None:
    clip = factory.write_video(tmp_path / "large.mp4", [factory.grey(100, 640, 480)] * 2)
    with pytest.raises(ParamsError, match="mp4"):
        make(clip, width=640, segments=50, segment_s=2)


@pytest.mark.parametrize(
    "spec", [{"segments": 0}, {"segment_s": 0.1}, {"segments": 50, "segment_s": 3}, {"format": "gif"}, {"max_bytes": 9}]
)
def test_what_makes_no_preview_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PreviewSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("rate", "format_", "expected"),
    [("25", "mp4", 25), ("60000/1001", "mp4", Fraction(30_000, 1001)), ("50", "webp", 12), ("10", "avif", 10)],
)
def test_the_rate_is_the_films_or_an_even_part_of_it(
    grey_ramp: Path, rate: str, format_: str, expected: Fraction
) -> None:
    video = probe(grey_ramp).video
    assert video is not None
    video = video.model_copy(update={"average_frame_rate": rate, "frame_rate": rate})
    assert rate_for(video, PreviewSpec.model_validate({"format": format_})) == expected


def test_progress_rises_to_one(film: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    preview(film, tmp_path, PreviewSpec(segments=2), seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_small_preview_is_told_to_be_quick(grey_ramp: Path) -> None:
    assert estimate_s(probe(grey_ramp), PreviewSpec()) < 1
