from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import media_factory as factory
import pytest
from damage import rewritten

from pipelines.media.errors import SourceTruncatedError, TimeOutOfRangeError
from pipelines.media.plan import TranscodePlan
from pipelines.media.probing.packets import find_in_packets
from pipelines.media.probing.probe import probe
from pipelines.media.transcode import transcode

Look = Callable[..., TranscodePlan]
CutUp = Callable[..., Any]

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


def test_one_pass_begins_at_the_start_where_frames_have_no_times(tmp_path: Path, looked_at: Look) -> None:
    raw = factory.grey_ramp(tmp_path / "ramp.h264", frames=30)
    plan = looked_at(raw, start=0.4, **LOSSLESS)
    transcode(raw, tmp_path / "out.mp4", plan, lambda _: None)
    assert factory.levels(tmp_path / "out.mp4") == [factory.ramp_level(number) for number in range(10, 30)]


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


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Two frames every 0.08 s: a clock of milliseconds can't tell them apart."""
    times = [number * 3600 + (number % 2) * -3590 for number in range(40)]
    return factory.film(tmp_path / "film.mkv", pts=times, time_base=factory.Fraction(1, 90_000))


def test_a_film_with_equal_times_is_encoded_in_one_pass(twins: Path, looked_at: Look) -> None:
    plan = looked_at(twins, **LOSSLESS)
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


FAST_START = {"movflags": "+faststart"}


@pytest.fixture(scope="session")
def long_film(made: Path) -> Path:
    """8 s with sound, in MP4 whose index is first, and beside it in Matroska."""
    film = factory.film(made / "long.mkv", frames=200, options={"preset": "ultrafast", "crf": "10"})
    sound = factory.write_sound(made / "long-sound.mkv", [(0, factory.tone(8, -20))], codec="aac")
    both = factory.with_sound(film, sound, made / "long-both.mkv")
    with av.open(str(both)) as container, av.open(str(made / "long.mp4"), "w", options=FAST_START) as output:
        streams = [output.add_stream_from_template(each, opaque=True) for each in container.streams]
        for packet in container.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    return made / "long.mp4"


@pytest.fixture(params=["long.mp4", "long-both.mkv"])
def torn(request: pytest.FixtureRequest, long_film: Path, tmp_path: Path) -> Path:
    """Of 8 s, some five are left."""
    data = long_film.with_name(request.param).read_bytes()
    (tmp_path / request.param).write_bytes(data[: len(data) * 5 // 8])
    return tmp_path / request.param


@pytest.mark.parametrize("method", ["join", "serial"])
@pytest.mark.parametrize("start_s", [0, 1])
def test_what_is_whole_of_a_film_that_was_cut_off_can_be_made(
    torn: Path, cut_up: CutUp, looked_at: Look, method: str, start_s: int
) -> None:
    with pytest.raises(SourceTruncatedError, match=r"or set end to [45] to take what is whole") as caught:
        looked_at(torn, **LOSSLESS)
    end_s = int(caught.value.message.split("set end to ")[1][0])
    pieces = cut_up(torn, chunk_s=0.7, start=start_s, end=end_s, **LOSSLESS)
    _, result = getattr(pieces, method)()
    assert (result.video_frames, result.decode_errors) == ((end_s - start_s) * 25, 0)
    assert [stream.end_s for stream in result.expected.streams] == pytest.approx([end_s - start_s] * 2, abs=0.05)


def test_a_part_that_reaches_into_what_was_cut_off_is_refused(torn: Path, looked_at: Look) -> None:
    with pytest.raises(SourceTruncatedError):
        looked_at(torn, end=6.5, **LOSSLESS)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"start": 0.41, "end": 0.43}, "between 0.41 s and 0.43 s; the nearest begin at 0.400 s and 0.440 s"),
        ({"start": 1.57}, "between 1.57 s and its end; the nearest begin at 1.560 s"),
    ],
)
def test_a_part_without_a_frame_is_refused(film: Path, looked_at: Look, params: dict[str, float], told: str) -> None:
    with pytest.raises(TimeOutOfRangeError, match=told):
        looked_at(film, **(LOSSLESS | params))


def test_a_part_without_a_frame_is_refused_in_one_pass(tmp_path: Path, twins: Path, looked_at: Look) -> None:
    plan = looked_at(twins, start=0.41, end=0.43, **LOSSLESS)
    assert plan.method == "serial"
    with pytest.raises(TimeOutOfRangeError, match="No frame"):
        transcode(twins, tmp_path / "out.mp4", plan, lambda _: None)


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


@pytest.fixture(scope="module")
def subtitled(made: Path) -> Path:
    """Eight seconds of film, and a line that is shown until the twelfth."""
    film = factory.film(made / "to-subtitle.mkv", frames=200, options={"preset": "ultrafast", "crf": "10"})
    return factory.with_subtitles(film, made / "subtitled.mkv", "subrip", [(1000, 11_000, b"So long")])


def test_subtitles_may_be_shown_longer_than_the_film(subtitled: Path, looked_at: Look) -> None:
    assert looked_at(subtitled, **LOSSLESS).method == "chunk"


@pytest.mark.parametrize("params", [{}, {"end": 11}])
def test_a_subtitle_that_reaches_beyond_the_cut_hides_no_missing_film(
    tmp_path: Path, subtitled: Path, looked_at: Look, params: dict[str, object]
) -> None:
    data = subtitled.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceTruncatedError, match=r"set end to (\d) ") as told:
        looked_at(tmp_path / "cut.mkv", **LOSSLESS, **params)
    whole_s = int(told.value.message.split("set end to ")[1][0])
    assert 2 <= whole_s < 6
    plan = looked_at(tmp_path / "cut.mkv", **LOSSLESS, end=whole_s, damage="fail")
    assert (plan.method, plan.warnings) == ("chunk", ())


def test_nor_does_it_in_one_pass(tmp_path: Path, subtitled: Path, planned: Callable[..., TranscodePlan]) -> None:
    data = subtitled.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    plan = planned(tmp_path / "cut.mkv", preset="ultrafast")
    with pytest.raises(SourceTruncatedError, match="ends after"):
        transcode(tmp_path / "cut.mkv", tmp_path / "out.mp4", plan, lambda _: None)


def test_packets_tell_a_cut_and_not_a_subtitle_that_is_shown_longer(tmp_path: Path, subtitled: Path) -> None:
    data = subtitled.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole, cut = (find_in_packets(path, probe(path), lambda _: None) for path in (subtitled, tmp_path / "cut.mkv"))
    assert not whole.warnings
    assert "was cut off" in cut.warnings[0]
