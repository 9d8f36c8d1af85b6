"""Scenes of films whose cuts are known, in every container, and of films that are broken."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import pytest
from damage import rewritten
from pydantic import ValidationError
from shots import Pictures, black, dissolved, faded, shot

from pipelines.media.errors import NoVideoStreamError, SourceUnreadableError
from pipelines.media.progress import Progress
from pipelines.media.scenes.scenes import find_shots, plan_scenes
from pipelines.media.scenes.scenes_spec import Scenes, ScenesPlan, ScenesResult, ScenesSpec, gathered

LENGTHS = (30, 45, 25, 60)
STARTS_S = (1.2, 3.0, 4.0)


def pictures(lengths: Sequence[int] = LENGTHS) -> Pictures:
    return [picture for number, length in enumerate(lengths) for picture in shot(number, length)]


def looked(source: Path, slots: int = 2, **spec: object) -> tuple[ScenesResult, Scenes, ScenesPlan]:
    plan = plan_scenes(source, slots, lambda _: None)
    found = [find_shots(source, plan, stretch, 1, lambda _: None) for stretch in plan.stretches]
    scenes, result = gathered(plan, found, ScenesSpec.model_validate(spec), "film.scenes.json")
    return result, scenes, plan


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 frames in four shots, cut at 1.2, 3 and 4 s."""
    return factory.write_video(tmp_path_factory.mktemp("films") / "film.mp4", pictures())


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes in a shot every 7 s, at 5 frames a second, with a keyframe every 10 s."""
    path = tmp_path_factory.mktemp("films") / "long.mkv"
    options = {"preset": "ultrafast", "crf": "20", "x264-params": "scenecut=0"}
    return factory.write_video(
        path, pictures([35] * 86), time_base=Fraction(1, 5), rate=Fraction(5), gop=50, options=options
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi"])
def test_cuts_are_found_at_their_frames_in_every_container(tmp_path: Path, suffix: str) -> None:
    options = {"qp": "0", "bf": "0"} if suffix == "avi" else {"crf": "18"}
    result, _, _ = looked(factory.write_video(tmp_path / f"film.{suffix}", pictures(), options=options))
    assert [boundary.time_s for boundary in result.boundaries] == pytest.approx(STARTS_S, abs=0.002)
    assert (result.count, result.cuts, result.frames) == (3, 3, 160)


def test_boundaries_name_the_frame_by_its_pts(film: Path) -> None:
    result, scenes, _ = looked(film)
    with av.open(str(film)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert [boundary.pts for boundary in result.boundaries] == [times[30], times[75], times[100]]
    assert Fraction(scenes.time_base) == Fraction(1, 12800)


def test_lengths_of_scenes_are_told(film: Path) -> None:
    result, _, _ = looked(film)
    assert (result.shortest_s, result.median_s, result.longest_s) == (1.0, 1.5, 2.4)


def test_a_fade_is_told_with_its_begin_and_end(tmp_path: Path) -> None:
    faces = [*faded(shot(1, 60), 12, out=True), *black(6), *faded(shot(2, 60), 12, out=False)]
    result, _, _ = looked(factory.write_video(tmp_path / "fade.mkv", faces))
    (fade,) = result.boundaries
    assert (fade.kind, result.fades) == ("fade", 1)
    assert fade.begin_s < 2.4 < fade.time_s < fade.end_s


def test_scenes_shorter_than_asked_are_put_together(film: Path) -> None:
    result, _, _ = looked(film, min_scene_s=1.3)
    assert result.count == 1
    assert result.shortest_s >= 1.3


def test_boundaries_less_sure_than_asked_are_left_out(film: Path) -> None:
    sure, _, _ = looked(film)
    most = max(boundary.confidence for boundary in sure.boundaries)
    result, _, _ = looked(film, min_confidence=most)
    assert {boundary.confidence for boundary in result.boundaries} == {most}


def test_a_long_film_is_looked_through_in_stretches_that_meet(long_film: Path) -> None:
    plan = plan_scenes(long_film, 5, lambda _: None)
    borders = [(stretch.begin_pts, stretch.end_pts) for stretch in plan.stretches]
    assert len(borders) == 5
    assert [end for _, end in borders[:-1]] == [begin for begin, _ in borders[1:]]
    assert (borders[0][0], borders[-1][1]) == (None, None)


def test_what_has_no_index_is_looked_through_in_few_stretches(tmp_path: Path) -> None:
    """For each, all that is before is read."""
    times = [*range(0, 4000, 40), *(72_000 * number for number in range(1, 151))]  # 25 a second, says a look at it
    film = factory.write_video(
        tmp_path / "long.mkv", factory.moving_pictures(250), pts=times, time_base=Fraction(1, 1000), gop=1
    )
    live = rewritten(film, tmp_path / "live.mkv", lambda *_: True, options={"live": "1"})
    assert len(plan_scenes(film, 2, lambda _: None).stretches) > 2
    assert len(plan_scenes(live, 2, lambda _: None).stretches) == 2


def test_stretches_find_what_one_look_through_the_whole_does(long_film: Path) -> None:
    result, scenes, plan = looked(long_film, slots=5)
    whole = plan.stretches[0].model_copy(update={"end_pts": None, "until_pts": None})
    alone = find_shots(long_film, plan, whole, 2, lambda _: None)
    assert [boundary.pts for boundary in scenes.boundaries] == [boundary.pts for boundary in alone.boundaries]
    assert (result.frames, result.count) == (alone.frames, 85) == (3010, 85)


def test_the_result_has_the_first_hundred_and_the_file_all(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "many.mkv", pictures([8] * 130), options={"preset": "ultrafast", "crf": "18"})
    result, scenes, _ = looked(film, min_scene_s=0.1)
    assert len(result.boundaries) == 100
    assert len(scenes.boundaries) == result.count > 100


def test_times_count_from_a_late_start(tmp_path: Path) -> None:
    late = factory.write_video(tmp_path / "late.mp4", pictures(), pts=range(250, 410))
    result, _, _ = looked(late)
    assert [boundary.time_s for boundary in result.boundaries] == pytest.approx(STARTS_S)


def test_variable_frame_times_are_kept(tmp_path: Path) -> None:
    times = [number * 40 + (number % 3) * 9 for number in range(160)]
    film = factory.write_video(tmp_path / "vfr.mkv", pictures(), pts=times, time_base=Fraction(1, 1000))
    result, _, _ = looked(film)
    assert [boundary.time_s for boundary in result.boundaries] == pytest.approx(
        [times[n] / 1000 for n in (30, 75, 100)]
    )


def test_one_frame_is_one_scene(tmp_path: Path) -> None:
    result, _, _ = looked(factory.write_video(tmp_path / "one.mp4", shot(1, 1)))
    assert (result.count, result.frames) == (0, 1)


def test_a_film_of_no_frames_a_second_is_looked_through(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "film.avi", pictures(), options={"qp": "0", "bf": "0"})
    result, _, _ = looked(factory.without_rate(film, tmp_path / "zero.avi"))
    assert result.frames == 160


def test_a_film_that_tells_no_frame_rate_is_looked_through(tmp_path: Path) -> None:
    result, _, plan = looked(factory.write_video(tmp_path / "one.ts", shot(1, 1)))
    assert (result.frames, result.count, plan.frame_rate) == (1, 0, 50)


def test_a_raw_stream_has_boundaries_by_its_frames_number(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "film.h264", pictures(), options={"crf": "18", "bf": "0"})
    result, _, _ = looked(film)
    assert [boundary.time_s for boundary in result.boundaries] == pytest.approx(STARTS_S)


def test_times_that_jump_ahead_are_told_as_they_are(tmp_path: Path) -> None:
    times = [*range(75), *range(25_000, 25_085)]
    result, _, _ = looked(factory.write_video(tmp_path / "jump.mkv", pictures(), pts=times))
    assert [boundary.time_s for boundary in result.boundaries] == pytest.approx([1.2, 1000, 1001], abs=0.002)


def test_of_a_film_that_was_cut_off_what_is_there_is_looked_through(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "film.mkv", pictures())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size * 6 // 10])
    result, _, _ = looked(cut)
    assert 0 < result.frames < 160
    assert result.count >= 1
    assert "cut.mkv was cut off" in result.warnings[0]


def test_damage_is_passed_over_and_told(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "film.mkv", pictures(), options={"crf": "18", "bf": "0"})
    result, _, _ = looked(factory.with_noise(film, tmp_path / "noise.mkv", [50, 51]))
    assert result.decode_errors > 0
    assert "don't decode" in result.warnings[-1]
    assert {1.2, 3.0, 4.0} <= {round(boundary.time_s, 2) for boundary in result.boundaries}


def test_a_film_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    film = factory.grey_ramp(tmp_path / "film.mkv", frames=20)
    with pytest.raises(SourceUnreadableError):
        looked(factory.with_noise(film, tmp_path / "noise.mkv", range(20)))


def test_sound_alone_has_no_scenes(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStreamError):
        looked(factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))]))


def test_a_cover_has_no_scenes(shared_video: Path) -> None:
    with pytest.raises(NoVideoStreamError, match="no moving pictures"):
        looked(shared_video.parent / "audio" / "flac_with_cover.flac")


def test_real_cuts_are_found_and_a_title_is_none(shared_video: Path) -> None:
    result, _, _ = looked(shared_video / "vp8_vorbis_720p_30s_bbb.webm")
    found = [(boundary.kind, round(boundary.time_s * 24)) for boundary in result.boundaries]
    assert found == [("cut", 283), ("cut", 376), ("cut", 551)]


def test_a_real_dissolve_is_found(shared_video: Path) -> None:
    result, _, _ = looked(shared_video / "h264_two_video_two_audio_subs.mp4")
    assert [boundary.kind for boundary in result.boundaries] == ["dissolve", "cut"]
    assert result.boundaries[0].time_s == pytest.approx(5.4, abs=0.2)


@pytest.mark.parametrize("spec", [{"min_scene_s": -1}, {"min_confidence": 0.4}, {"min_confidence": 1.1}])
def test_nonsense_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScenesSpec.model_validate(spec)


def test_progress_rises(long_film: Path) -> None:
    seen: list[Progress] = []
    plan = plan_scenes(long_film, 5, lambda _: None)
    find_shots(long_film, plan, plan.stretches[1], 1, seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_a_stretch_finds_what_the_whole_film_does_at_fifty_frames_a_second(tmp_path: Path) -> None:
    shots = dissolved(shot(1, 120, 0.1), shot(2, 120, 0.1), 36)
    film = factory.write_video(
        tmp_path / "fast.mp4", shots, time_base=Fraction(1, 50), rate=Fraction(50), gop=25, options={"crf": "18"}
    )
    plan = plan_scenes(film, 1, lambda _: None)
    (whole,) = plan.stretches
    with av.open(str(film)) as container:
        keyframes = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe]
    later = whole.model_copy(update={"from_pts": keyframes[1]})
    one, other = (find_shots(film, plan, stretch, 1, lambda _: None).boundaries for stretch in (whole, later))
    assert {boundary.kind for boundary in one} == {"dissolve"}
    assert other == one
