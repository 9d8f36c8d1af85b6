from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.probing.packets import find_in_packets
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import FrameTimes, Groups, PacketFindings, PicturePackets

CLOSED = {"qp": "20", "preset": "veryfast", "x264-params": "keyint=10:scenecut=0:bframes=2:b-pyramid=0"}


def found_in(clip: Path) -> PacketFindings:
    return find_in_packets(clip, probe(clip), lambda _: None)


def picture_of(clip: Path) -> PicturePackets:
    (picture,) = found_in(clip).video
    return picture


def groups_of(clip: Path) -> Groups:
    groups = picture_of(clip).groups
    assert groups is not None
    return groups


def times_of(clip: Path) -> FrameTimes:
    times = picture_of(clip).times
    assert times is not None
    return times


def test_groups_of_pictures_are_measured(tmp_path: Path) -> None:
    groups = groups_of(factory.film(tmp_path / "film.mp4", 45, options=CLOSED))
    assert (groups.keyframes, groups.shortest_frames, groups.mean_frames, groups.longest_frames) == (5, 5, 9, 10)
    assert (groups.shortest_s, groups.mean_s, groups.longest_s) == (0.2, 0.36, 0.4)
    assert (groups.open, groups.leading) == (0, 0)


def test_open_groups_are_counted_but_for_the_first(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.ts", 45, codec="mpeg2video", options={"bf": "2"})
    groups = groups_of(film)
    assert groups.open == groups.keyframes - 1 > 0


def test_pictures_before_the_first_keyframe_are_counted(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.nut", 45, options=CLOSED)
    groups = groups_of(factory.without_packet(film, tmp_path / "headless.nut", 0))
    assert (groups.leading, groups.keyframes) == (9, 4)


@pytest.mark.parametrize(("options", "places"), [(CLOSED, 1), ({"qp": "20", "x264-params": "bframes=0"}, 0)])
def test_the_order_of_decoding_is_told(tmp_path: Path, options: dict[str, str], places: int) -> None:
    picture = picture_of(factory.film(tmp_path / "film.mkv", 45, options=options))
    assert (picture.reordered, picture.reorder_frames) == (places > 0, places)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_constant_rate_is_one_however_times_are_rounded(tmp_path: Path, suffix: str) -> None:
    film = factory.write_video(
        tmp_path / f"film.{suffix}", factory.moving_pictures(60), time_base=1 / factory.NTSC, rate=factory.NTSC
    )
    times = times_of(film)
    assert (times.mode, times.irregular) == ("constant", 0)
    assert times.frame_rate == pytest.approx(30_000 / 1001, abs=0.02)


def test_a_variable_rate_is_measured(tmp_path: Path) -> None:
    pts = [0, 40, 80, 120, 160, 460, 500, 540, 560]
    times = times_of(factory.film(tmp_path / "film.mkv", len(pts), pts=pts, time_base=Fraction(1, 1000)))
    assert (times.mode, times.irregular) == ("variable", 2)
    assert (times.shortest_s, times.median_s, times.longest_s) == (0.02, 0.04, 0.3)


def test_one_frame_has_no_rate(tmp_path: Path) -> None:
    picture = picture_of(factory.film(tmp_path / "film.mp4", 1))
    assert picture.times is None
    assert picture.groups is not None
    assert (picture.packets, picture.groups.keyframes, picture.groups.longest_frames) == (1, 1, 1)


def noisy(second: int, seconds: int) -> list[NDArray[np.uint8]]:
    """25 flat pictures a second, and noise in one of the seconds."""
    random = np.random.default_rng(1)
    pictures = [factory.grey(100) for _ in range(25 * seconds)]
    for picture in pictures[25 * second : 25 * (second + 1)]:
        picture[: factory.HEIGHT] = random.integers(16, 235, (factory.HEIGHT, factory.WIDTH))
    return pictures


def test_the_bit_rate_is_told_for_each_second(tmp_path: Path) -> None:
    picture = picture_of(factory.write_video(tmp_path / "film.mkv", noisy(3, 6), options={"crf": "20"}))
    curve = picture.curve
    assert curve is not None
    assert (curve.step_s, len(curve.values_bps), curve.peak_at_s) == (1, 6, 3)
    assert curve.peak_bps == max(curve.values_bps) == curve.values_bps[3]
    assert sum(curve.values_bps) == picture.size_bytes * 8
    assert picture.bit_rate_bps == pytest.approx(picture.size_bytes * 8 / 6, rel=0.01)


def test_a_long_stream_has_no_more_values(tmp_path: Path) -> None:
    pts = [2 * number for number in range(700)]
    film = factory.write_video(tmp_path / "film.mkv", [factory.grey(90)] * 700, pts=pts, time_base=Fraction(1))
    curve = picture_of(film).curve
    assert curve is not None
    assert (curve.step_s, len(curve.values_bps)) == (3, 467)


def test_less_than_a_second_has_its_mean_for_a_peak(tmp_path: Path) -> None:
    picture = picture_of(factory.film(tmp_path / "film.mp4", 5))
    assert picture.curve is not None
    assert picture.curve.peak_bps == picture.bit_rate_bps


def test_sound_has_a_bit_rate(tmp_path: Path) -> None:
    (track,) = found_in(factory.write_sound(tmp_path / "sound.wav", [(0, factory.tone(2, -20))])).audio
    assert (track.bit_rate_bps, track.begin_s, track.end_s) == (1_536_000, 0, 2)


def test_every_stream_is_counted(rich_film: Path) -> None:
    found = found_in(rich_film)
    assert [[s.index for s in streams] for streams in (found.video, found.audio, found.other)] == [[0], [1, 2], [3]]
    assert found.other[0].packets == 2
    assert found.warnings == ()


def test_a_cover_is_no_picture_that_moves(tmp_path: Path, shared_video: Path) -> None:
    found = found_in(shared_video / "h264_cover_art_png.mp4")
    assert [stream.index for stream in found.video] == [0]
    assert [(stream.index, stream.packets, stream.end_s) for stream in found.other] == [(2, 1, None)]


def test_what_an_edit_list_leaves_out_is_counted(shared_video: Path) -> None:
    assert picture_of(shared_video / "h264_edit_list_preroll.mp4").hidden == 1


def test_a_gap_in_sound_is_a_jump(tmp_path: Path) -> None:
    parts = [(0.0, factory.tone(2, -20)), (5.0, factory.tone(1, -20))]
    (track,) = found_in(factory.write_sound(tmp_path / "gap.mkv", parts)).audio
    assert track.jumps == 1
    assert track.jumps_at_s[0] == pytest.approx(2, abs=0.1)


def test_times_that_begin_anew_are_a_jump(tmp_path: Path) -> None:
    """Two recordings in one file."""
    part = factory.film(tmp_path / "part.ts", 60, options=CLOSED | {"x264-params": "bframes=0:keyint=10"})
    twice = tmp_path / "twice.ts"
    twice.write_bytes(part.read_bytes() * 2)
    picture = picture_of(twice)
    assert (picture.packets, picture.jumps) == (120, 1)
    assert picture.jumps_at_s[0] == pytest.approx(59 / 25, abs=0.1)


def test_times_far_apart_are_no_reason_to_fail(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "far.nut", 3, pts=[0, 1, 1 << 40], time_base=Fraction(1, 1000))
    picture = picture_of(film)
    assert (picture.packets, picture.curve, picture.times) == (3, None, None)


def test_a_raw_stream_has_frames_without_times(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 45, options=CLOSED)
    picture = picture_of(factory.stream_of(film, tmp_path / "film.h264"))
    assert picture.undated > 0
    assert picture.times is None
    assert picture.groups is not None
    assert (picture.groups.keyframes, picture.groups.longest_s) == (5, None)


def test_a_file_that_was_cut_off_tells_what_is_there(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    found = found_in(cut)
    assert 20 < found.video[0].packets < 80
    assert found.warnings[-1].endswith("of 4.0 s: it was cut off.")


def test_only_headers_are_told_as_such(shared_video: Path) -> None:
    found = found_in(shared_video.parent / "bad" / "video" / "truncated_after_moov.m4b")
    assert [track.packets for track in found.audio] == [0]
    assert found.warnings[0].startswith("Nothing of truncated_after_moov.m4b can be read but its headers")


def test_progress_goes_to_the_end(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 45)
    told: list[float] = []
    find_in_packets(film, probe(film), lambda progress: told.append(progress.fraction))
    assert told == sorted(told)
    assert told[-1] == 1
