import re
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import media_factory as factory
import numpy as np
import pytest
from unit.pipelines.media.quality.pictures import textured

from pipelines.media.errors import SourceError, SourceUnsupportedError
from pipelines.media.parts import Part
from pipelines.media.profiles import Profile
from pipelines.media.quality.advice import profile_for
from pipelines.media.quality.listener import QualityListener
from pipelines.media.quality.quality import measure_part, plan_quality, quality_of
from pipelines.media.quality.quality_result import conclude
from pipelines.media.quality.quality_spec import QualityResult, QualitySpec
from pipelines.media.validation.full import plan_validation

Encode = Callable[..., Path]
FULL = QualitySpec(full=True)


def measured(film: Path, full: bool = False) -> QualityResult:
    return quality_of(film, QualitySpec(full=full), 1, lambda _: None)


def moving(frames: int = 50) -> list[np.ndarray]:
    return [textured(number % 60) for number in range(frames)]


def test_coarser_and_smaller_encodes_score_less(encoded: Encode) -> None:
    small = [cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for luma in moving(20)]
    scores = [
        measured(encoded(lumas, f"{number}.mkv", qp=qp)).score
        for number, (lumas, qp) in enumerate(((moving(20), "18"), (moving(20), "38"), (small, "38")))
    ]
    assert None not in scores
    assert scores == sorted(scores, reverse=True)


def test_windows_and_all_of_it_come_to_about_the_same(encoded: Encode) -> None:
    film = encoded(moving(100), qp="30")
    some, whole = measured(film), measured(film, full=True)
    assert some.pictures < whole.pictures == 100
    assert some.score == pytest.approx(whole.score, abs=3)
    assert (some.sampled, whole.sampled) == (True, False)


def test_nothing_is_decoded_twice_where_there_is_one_keyframe(encoded: Encode) -> None:
    times_s = [point.time_s for point in measured(encoded(moving(60), gop=60)).points]
    assert times_s == sorted(set(times_s))


def test_parts_come_to_what_one_pass_does(encoded: Encode) -> None:
    lumas = [*moving(40), *[np.full((256, 384), 16, np.uint8)] * 70, *moving(40)]
    film = encoded(lumas, gop=10, qp="30")
    plan = plan_quality(film, FULL, 1, lambda _: None)
    parts = plan_validation(film, 3, lambda _: None, whole_s=0).parts
    assert len(parts) == 3
    pieces = [measure_part(film, plan, part, 1, lambda _: None) for part in parts]
    one = measure_part(film, plan, Part(streams=(0,)), 1, lambda _: None)
    apart, together = conclude(plan, pieces, FULL), conclude(plan, [one], FULL)
    assert apart.flaws == together.flaws
    assert apart.flawed_s == {"black": pytest.approx(2.8, abs=0.05)}
    assert apart.pictures == together.pictures == 150
    assert apart.score == pytest.approx(together.score, abs=1)


def test_a_frozen_stretch_is_found(encoded: Encode) -> None:
    lumas = [*moving(20), *[textured(20)] * 60, *moving(20)]
    result = measured(encoded(lumas, qp="0"), full=True)
    (freeze,) = result.flaws
    assert freeze.kind == "freeze"
    assert (freeze.start_s, freeze.end_s) == pytest.approx((0.8, 3.2), abs=0.05)


def test_silence_and_clipping_are_found(tmp_path: Path) -> None:
    sound = np.concatenate([factory.tone(1, -20), np.zeros((2, 3 * 48_000), np.float32), factory.tone(1, 12)], axis=1)
    result = measured(factory.write_sound(tmp_path / "sound.wav", [(0, np.clip(sound, -1, 1))]), full=True)
    spans = {each.kind: (each.start_s, each.end_s) for each in result.flaws}
    assert spans["silence"] == pytest.approx((1, 4), abs=0.05)
    assert spans["clipping"] == pytest.approx((4, 5), abs=0.1)
    assert result.score is None
    assert [each.code for each in result.recommendations] == ["sound_clips"]


def test_silences_are_found_before_and_behind_a_change_of_channels() -> None:
    listener = QualityListener(None, 1.0)
    for second in range(8):
        channels, layout = (2, "stereo") if second < 4 else (1, "mono")
        silent = second not in {3, 4}
        samples = np.zeros((channels, 48_000), np.float32) if silent else factory.tone(1, -20, channels)
        listener.sound(0, factory.sound_frame(samples, second, layout))
    assert [(each.start_s, each.end_s) for each in listener.result().flaws] == [
        pytest.approx((0, 3), abs=0.05),
        pytest.approx((5, 8), abs=0.05),
    ]


def test_a_film_that_does_not_tell_how_long_it_is_is_looked_at_all_over(encoded: Encode, tmp_path: Path) -> None:
    film = factory.live_film(encoded(moving(100), gop=25), tmp_path / "live.mkv")
    assert measured(film).points[-1].time_s > 2
    assert plan_quality(film, FULL, 1, lambda _: None).info.duration_s == pytest.approx(4, abs=0.05)


def test_a_loud_sound_that_is_whole_does_not_clip(tmp_path: Path) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.tone(1, -0.1))])
    assert measured(sound, full=True).flaws == ()


def test_a_film_of_one_picture_is_measured(encoded: Encode) -> None:
    result = measured(encoded([textured()]))
    assert (result.pictures, len(result.points)) == (1, 1)
    assert result.score is not None


def test_ten_bits_measure_as_eight_do(encoded: Encode) -> None:
    eight = measured(encoded(moving(10), "eight.mkv", codec="ffv1")).points[0]
    deep = measured(deep_film(encoded)).points[0]
    assert (deep.si, deep.luma) == pytest.approx((eight.si, eight.luma), rel=0.01)


def deep_film(encoded: Encode) -> Path:
    source = encoded(moving(10), "source.mkv", codec="ffv1")
    target = source.with_name("deep.mkv")
    with av.open(str(source)) as read, av.open(str(target), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 384, 256, "yuv420p10le"
        for frame in read.decode(video=0):
            output.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        output.mux(stream.encode(None))
    return target


def test_a_codec_without_loss_is_as_good_as_its_size(encoded: Encode) -> None:
    result = measured(encoded(moving(10), codec="ffv1"))
    assert result.parts[0].source == "a codec without loss"
    assert result.parts[0].value == 1


def test_a_codec_that_does_not_tell_is_judged_by_its_bits(encoded: Encode) -> None:
    result = measured(encoded(moving(10), "film.avi", codec="mjpeg", strict="unofficial", qmin="10", qmax="10"))
    assert result.parts[0].source == "estimated from bits per pixel and detail"
    assert result.score is not None


def test_a_film_that_was_scaled_up_is_told_with_a_smaller_profile(encoded: Encode) -> None:
    small = [cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for luma in moving(10)]
    result = measured(encoded([cv2.resize(luma, (1280, 720), interpolation=cv2.INTER_CUBIC) for luma in small], qp="8"))
    assert result.summary is not None
    assert result.summary.effective_height < 400
    assert ("scaled_up", "mobile-480p") in [(each.code, each.profile) for each in result.recommendations]


@pytest.mark.parametrize(
    ("codec", "options", "code"),
    [
        ("libx264", {"qp": "45"}, "coarse"),
        ("libx264", {"qp": "4"}, "many_bits"),
        ("mpeg4", {"qmin": "2", "qmax": "2"}, "old_codec"),
    ],
)
def test_what_would_help_is_told(codec: str, options: dict[str, str], code: str, encoded: Encode) -> None:
    result = measured(encoded(moving(10), codec=codec, **options))
    assert code in [each.code for each in result.recommendations]


def test_a_film_that_is_well_kept_needs_nothing(encoded: Encode) -> None:
    smooth = [cv2.GaussianBlur(luma, (0, 0), 0.8) for luma in moving(25)]
    assert measured(encoded(smooth, qp="27", preset="medium")).recommendations == ()


def test_recommended_profiles_are_there(profiles: dict[str, Profile], encoded: Encode) -> None:
    info = plan_quality(encoded(moving(3)), QualitySpec(), 1, lambda _: None).info.video
    assert info is not None
    named = {profile_for(info, lines) for lines in (240, 720, 1080, 2160)}
    named |= {profile_for(info.model_copy(update={"hdr": "hdr10"}), lines) for lines in (720, 2160)}
    assert named <= set(profiles)
    assert len(named) == 5


def test_points_are_bounded(encoded: Encode) -> None:
    film = encoded([np.full((16, 16), 100 + number % 40, np.uint8) for number in range(4000)], preset="ultrafast")
    assert 150 < len(measured(film, full=True).points) <= 310


@pytest.mark.parametrize("full", [False, True])
def test_a_cut_off_film_is_measured_as_far_as_it_goes_and_told(encoded: Encode, full: bool) -> None:
    film = encoded(moving(100), gop=10, qp="30")
    assert measured(film, full=full).warnings == ()
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    result = measured(film, full=full)
    assert result.score is not None
    assert re.match(r"film\.mkv was cut off: its pictures end after \d\.\d of 4\.0 s\.", result.warnings[0])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("level", [16, 126])
def test_a_film_that_shows_nothing_has_no_score(encoded: Encode, level: int, full: bool) -> None:
    result = measured(encoded([np.full((256, 384), level, np.uint8)] * 60), full=full)
    assert (result.score, result.grade, result.parts, result.recommendations) == (None, None, (), ())
    (warning,) = result.warnings
    assert "nothing to see" in warning


def test_a_film_that_shows_something_somewhere_has_a_score(encoded: Encode) -> None:
    result = measured(encoded([*[np.full((256, 384), 16, np.uint8)] * 60, *moving(10)]), full=True)
    assert result.score is not None
    assert result.warnings == ()


def test_a_film_of_which_nothing_decodes_says_so(encoded: Encode) -> None:
    film = encoded(moving(5))
    spoiled = factory.with_noise(film, film.with_name("spoiled.mkv"), range(5))
    result = measured(spoiled)
    assert result.score is None or result.pictures > 0
    if result.score is None:
        assert result.warnings == ("No picture decodes; its file is damaged.",)


def test_what_is_no_media_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(SourceError):
        measured(tmp_path / "film.mkv")


def test_a_file_with_subtitles_only_is_refused(tmp_path: Path, rich_film: Path) -> None:
    target = tmp_path / "subtitles.mkv"
    with av.open(str(rich_film)) as source, av.open(str(target), "w") as output:
        stream = source.streams.subtitles[0]
        copied = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copied
                output.mux(packet)
    with pytest.raises(SourceUnsupportedError):
        measured(target)
