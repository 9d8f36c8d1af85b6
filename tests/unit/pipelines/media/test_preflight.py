from collections.abc import Callable
from pathlib import Path

import media_factory as factory
import pytest
from damage import rewritten

from pipelines.media.errors import SourceTruncatedError
from pipelines.media.plan import TranscodePlan
from pipelines.media.transcode import transcode

Look = Callable[..., TranscodePlan]

B_FRAMES = {"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}
LOSSLESS: dict[str, object] = {"codec": "h264", "crf": 0, "preset": "ultrafast"}


@pytest.fixture(scope="session")
def film(made: Path) -> Path:
    """40 frames with a keyframe every 10th."""
    return factory.film(made / "preflight.mp4")


def test_a_film_is_cut_by_seeking(film: Path, looked_at: Look) -> None:
    plan = looked_at(film, **LOSSLESS)
    assert (plan.method, len(plan.chunks)) == ("chunk", 5)
    assert [chunk.seek_pts is not None for chunk in plan.chunks] == [chunk.key_pts is not None for chunk in plan.chunks]
    assert plan.reason == "cut into 5 chunks at frames, by seeking"
    assert plan.estimated_frames == sum(chunk.frames for chunk in plan.chunks) == 40


@pytest.mark.parametrize("name", ["film.ts", "film.m2ts", "film.mkv", "film.avi", "film.flv", "film.mxf"])
def test_chunks_are_found_by_seeking_in_any_container(tmp_path: Path, looked_at: Look, name: str) -> None:
    codecs: dict[str, dict[str, object]] = {".avi": {"codec": "mpeg4"}, ".flv": {}, ".mxf": {"codec": "mpeg2video"}}
    film = factory.film(tmp_path / name, **codecs.get(Path(name).suffix, {"options": B_FRAMES}))
    plan = looked_at(film, **LOSSLESS)
    assert [chunk.seek_pts is not None for chunk in plan.chunks] == [chunk.key_pts is not None for chunk in plan.chunks]
    assert plan.reason.endswith("chunks at frames, by seeking")


def test_chunks_are_found_by_seeking_where_an_edit_list_takes_frames_out(tmp_path: Path, looked_at: Look) -> None:
    whole = factory.film(tmp_path / "whole.mkv", options=B_FRAMES)
    part = factory.part_from_keyframe(whole, tmp_path / "part.mp4", 1)
    assert looked_at(part, **LOSSLESS).reason.endswith("by seeking")


@pytest.fixture(scope="session")
def recording(made: Path) -> Path:
    """200 frames with a keyframe every 10th, in Matroska without an index: a seek reads all that is before."""
    film = factory.film(made / "whole.mkv", frames=200)
    return rewritten(film, made / "recording.mkv", lambda *_: True, options={"live": "1"})


def test_where_there_is_no_index_chunks_are_found_by_reading(recording: Path, looked_at: Look) -> None:
    plan = looked_at(recording, chunk_s=2, **LOSSLESS)
    assert {chunk.seek_pts for chunk in plan.chunks} == {None}
    assert plan.reason == "cut into 4 chunks at frames, 3 of them by reading from the start: no seek leads to them"


def test_reading_from_the_start_is_done_for_a_bounded_number_of_chunks(recording: Path, looked_at: Look) -> None:
    plan = looked_at(recording, chunk_s=0.04, **LOSSLESS)
    assert plan.method == "chunk"
    assert 32 < len(plan.chunks) <= 64


def test_a_part_is_cut_within_its_bounds(film: Path, looked_at: Look) -> None:
    plan = looked_at(film, start=0.4, end=1.2, **LOSSLESS)
    assert sum(chunk.frames for chunk in plan.chunks) == 20
    assert [chunk.key_pts is not None for chunk in plan.chunks] == [True] * len(plan.chunks)


@pytest.mark.parametrize("start_s", [0.3, 0.32, 0.36, 0.4])
def test_one_pass_from_a_start_has_every_frame_shown_from_then(tmp_path: Path, looked_at: Look, start_s: float) -> None:
    # The frames before the keyframe at 0.4 s are decoded behind it, and it is decoded before they are shown.
    open_gops = factory.film(tmp_path / "open.mp4", options=B_FRAMES)
    plan = looked_at(open_gops, chunk_s=None, start=start_s, **LOSSLESS)
    assert plan.method == "serial"
    transcode(open_gops, tmp_path / "out.mp4", plan, lambda _: None)
    first = -(-round(start_s * 100) // 4)
    shown = [picture for _, picture in factory.shown_pictures(open_gops)[first:]]
    assert [picture for _, picture in factory.shown_pictures(tmp_path / "out.mp4")] == shown


def test_sound_that_begins_before_the_picture_is_kept_by_one_pass(tmp_path: Path, looked_at: Look) -> None:
    film = factory.rich_film(tmp_path / "late.mkv", video_start_s=1.5)
    plan = looked_at(film, "archive-hevc", chunk_s=None, start=0.5, audio_codec="aac", **LOSSLESS)
    assert plan.method == "serial"
    transcode(film, tmp_path / "out.mkv", plan, lambda _: None)
    assert factory.click_times(tmp_path / "out.mkv")[0] == pytest.approx(0.5, abs=0.03)


def test_one_bit_rate_for_the_whole_film_is_kept_by_one_pass(film: Path, looked_at: Look) -> None:
    plan = looked_at(film, codec="h264", bitrate="500k")
    assert (plan.method, plan.reason) == ("serial", "an average bit rate is kept over the whole film")


def test_a_bound_of_the_bit_rate_holds_in_every_chunk(film: Path, looked_at: Look) -> None:
    assert looked_at(film, codec="h264", crf=20, max_bitrate="500k").method == "chunk"


def test_a_film_without_times_is_encoded_in_one_pass(tmp_path: Path, looked_at: Look) -> None:
    plan = looked_at(factory.film(tmp_path / "film.h264"), **LOSSLESS)
    assert (plan.method, plan.reason) == ("serial", "it can't be cut: some of its frames have no times")


def test_a_film_with_equal_times_is_encoded_in_one_pass(tmp_path: Path, looked_at: Look) -> None:
    # A clock of milliseconds can't tell frames apart that follow each other in less.
    times = [number * 3600 + (number % 2) * -3590 for number in range(40)]
    film = factory.film(tmp_path / "film.mkv", pts=times, time_base=factory.Fraction(1, 90_000))
    plan = looked_at(film, **LOSSLESS)
    assert (plan.method, plan.reason) == ("serial", "it can't be cut: some of its frames have the same time")


def test_a_short_film_is_encoded_in_one_pass(film: Path, looked_at: Look) -> None:
    plan = looked_at(film, chunk_s=None, **LOSSLESS)
    assert (plan.method, plan.reason, plan.chunks) == ("serial", "it is too short to be cut", ())


def test_a_picture_that_fits_is_copied(film: Path, looked_at: Look) -> None:
    plan = looked_at(film)
    assert (plan.method, plan.reason) == ("copy", "the picture is copied")


def test_sound_alone_isnt_cut(tmp_path: Path, looked_at: Look) -> None:
    sound = factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))])
    plan = looked_at(sound)
    assert (plan.method, plan.reason) == ("copy", "there is no picture to encode")


def test_an_index_that_points_behind_the_end_is_refused(tmp_path: Path, looked_at: Look) -> None:
    film = factory.film(tmp_path / "film.mov", codec="mjpeg", pixel_format="yuvj420p")
    data = film.read_bytes()
    place = data.index(b"mdat") - 4
    length = int.from_bytes(data[place : place + 4], "big")
    index = data[place + length :]
    (tmp_path / "cut.mov").write_bytes(data[:place] + index + data[place : place + length // 2])
    with pytest.raises(SourceTruncatedError, match="index names data behind its end"):
        looked_at(tmp_path / "cut.mov", **LOSSLESS)


def test_a_film_that_ends_early_is_refused(tmp_path: Path, looked_at: Look) -> None:
    data = factory.rich_film(tmp_path / "rich.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceTruncatedError, match="ends after"):
        looked_at(tmp_path / "cut.mkv", **LOSSLESS)


@pytest.mark.parametrize("seconds", [10, 3600])
def test_a_film_that_starts_late_isnt_taken_for_cut_off(tmp_path: Path, looked_at: Look, seconds: int) -> None:
    # Its header says how long it lasts from zero.
    late = factory.film(tmp_path / "late.mkv", pts=[seconds * 25 + number for number in range(40)])
    assert looked_at(late, **LOSSLESS).method == "chunk"


def test_a_film_that_starts_late_and_ends_early_is_refused(tmp_path: Path, looked_at: Look) -> None:
    late = factory.film(tmp_path / "late.mkv", frames=300, pts=[250 + number for number in range(300)])
    data = late.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceTruncatedError, match="ends after"):
        looked_at(tmp_path / "cut.mkv", **LOSSLESS)
