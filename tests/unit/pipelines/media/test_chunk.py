from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media import chunk as chunk_module
from pipelines.media.chunk import encode_chunk, reorder_of
from pipelines.media.errors import OutOfSpaceError, OutputInvalidError, SourceError, SourceUnreadableError
from pipelines.media.plan import TranscodePlan
from pipelines.media.progress import Progress
from pipelines.media.results import ChunkResult

Look = Callable[..., TranscodePlan]
CutUp = Callable[..., Any]

LOSSLESS: dict[str, object] = {"codec": "h264", "crf": 0, "preset": "ultrafast"}


@pytest.fixture(scope="session")
def film(made: Path) -> Path:
    """40 frames with a keyframe every 10th."""
    return factory.film(made / "chunk.mkv", options={"preset": "veryfast", "crf": "20"})


@pytest.mark.parametrize(
    ("coded", "reorder"),
    [
        ([], 0),
        ([0], 0),
        ([0, 1, 2, 3], 0),
        ([0, 3, 1, 2], 1),
        ([0, 4, 2, 1, 3], 2),
        ([0, 8, 4, 2, 1, 3, 6, 5, 7], 3),
        ([0, 300, 20, 7000], 1),
    ],
)
def test_reorder_is_how_far_a_frame_comes_late(coded: Sequence[int], reorder: int) -> None:
    assert reorder_of(coded) == reorder


@given(st.permutations(range(12)))
def test_frames_decoded_that_much_earlier_are_all_in_time(coded: list[int]) -> None:
    reorder = reorder_of(coded)
    shown = [*range(-reorder, 0), *sorted(coded)]
    assert all(decoded <= pts for decoded, pts in zip(shown, coded, strict=False))
    assert reorder == 0 or any(decoded + 1 > pts for decoded, pts in zip(shown, coded, strict=False))


def test_chunks_hold_the_frames_of_their_part(film: Path, cut_up: CutUp) -> None:
    pieces = cut_up(film, **LOSSLESS)
    shown = [factory.shown_pictures(chunk.path) for chunk in pieces.chunks]
    assert [len(frames) for frames in shown] == [chunk.frames for chunk in pieces.plan.chunks]
    assert [time for frames in shown for time, _ in frames] == factory.frame_times(film)


def test_the_result_tells_what_lies_at_the_borders(film: Path, cut_up: CutUp) -> None:
    results: list[ChunkResult] = [chunk.result for chunk in cut_up(film, **LOSSLESS).chunks]
    for before, after in pairwise(results):
        assert before.source_beyond_pts == after.source_first_pts == after.first_pts
        assert before.last_pts == after.first_pts - 40
    assert results[-1].source_beyond_pts is None
    assert {(r.first_psnr_db, r.last_psnr_db, r.decode_errors) for r in results} == {(60, 60, 0)}


def test_one_encoder_makes_all_chunks(film: Path, cut_up: CutUp) -> None:
    assert len({chunk.result.extradata for chunk in cut_up(film, **LOSSLESS).chunks}) == 1


def test_the_last_frames_before_another_chunk_get_more_bits(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, chunk_s=0.8, codec="h264", crf=30, preset="medium")
    going_on = plan.chunks[0]
    ending = going_on.model_copy(update={"next_pts": None})
    before, at_the_end = (
        encode_chunk(film, tmp_path / f"{number}.nut", plan, chunk, lambda _: None)
        for number, chunk in enumerate((going_on, ending))
    )
    assert before.frames == at_the_end.frames == going_on.frames
    assert before.last_psnr_db is not None
    assert at_the_end.last_psnr_db is not None
    assert before.last_psnr_db > at_the_end.last_psnr_db + 0.3
    assert before.first_psnr_db == at_the_end.first_psnr_db


def test_the_first_frame_behind_another_chunk_gets_fewer_bits(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, chunk_s=0.8, codec="h264", crf=30, preset="medium")
    following = plan.chunks[1]
    behind, at_the_start = (
        encode_chunk(film, tmp_path / f"{chunk.number}.nut", plan, chunk, lambda _: None)
        for chunk in (following, following.model_copy(update={"number": 0}))
    )
    assert behind.first_psnr_db is not None
    assert at_the_start.first_psnr_db is not None
    assert behind.first_psnr_db < at_the_start.first_psnr_db - 0.3


def test_a_chunk_of_few_frames_is_made_as_if_alone(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, chunk_s=0.4, codec="h264", crf=30, preset="medium")
    short = plan.chunks[1]
    alone = short.model_copy(update={"number": 0, "next_pts": None})
    made, as_alone = (
        encode_chunk(film, tmp_path / f"{number}.nut", plan, chunk, lambda _: None)
        for number, chunk in enumerate((short, alone))
    )
    assert (made.frames, made.sha256) == (as_alone.frames, as_alone.sha256)


def test_losses_are_measured(film: Path, cut_up: CutUp) -> None:
    results = [chunk.result for chunk in cut_up(film, codec="h264", crf=40, preset="ultrafast").chunks]
    assert all(15 < result.first_psnr_db < 45 for result in results)


def test_every_chunk_is_the_same_when_made_again(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, codec="h264", crf=25, preset="medium")
    first = encode_chunk(film, tmp_path / "a.nut", plan, plan.chunks[1], lambda _: None)
    again = encode_chunk(film, tmp_path / "b.nut", plan, plan.chunks[1], lambda _: None)
    assert first.sha256 == again.sha256


@pytest.mark.parametrize("name", ["film.ts", "film.mkv", "film.mp4"])
@pytest.mark.parametrize("astray", [None, 10**9, -(10**9)])
def test_a_chunk_is_the_same_however_its_keyframe_is_found(
    tmp_path: Path, looked_at: Look, name: str, astray: int | None
) -> None:
    gops = "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"
    film = factory.film(tmp_path / name, options={"preset": "veryfast", "x264-params": gops})
    plan = looked_at(film, **LOSSLESS)
    sought = plan.chunks[3]
    assert sought.seek_pts is not None
    astray_or_not = sought.model_copy(update={"seek_pts": astray})
    first, second = (
        encode_chunk(film, tmp_path / f"{number}.nut", plan, chunk, lambda _: None)
        for number, chunk in enumerate((sought, astray_or_not))
    )
    assert first.frames == sought.frames
    assert first.sha256 == second.sha256


def test_progress_rises(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, chunk_s=1, **LOSSLESS)
    seen: list[Progress] = []
    encode_chunk(film, tmp_path / "a.nut", plan, plan.chunks[0], seen.append)
    fractions = [progress.fraction or 0 for progress in seen]
    assert fractions == sorted(fractions)
    assert all(fraction <= 1 for fraction in fractions)


def test_progress_is_told_while_the_encoder_gives_out_what_it_held_back(
    film: Path, looked_at: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a slow preset that is all of a short chunk: it looks as far ahead."""
    monkeypatch.setattr("pipelines.media.progress._INTERVAL_S", 0.0)
    plan = looked_at(film, chunk_s=1, codec="h264", preset="veryslow")
    seen: list[Progress] = []
    chunk = plan.chunks[0]
    encode_chunk(film, tmp_path / "a.nut", plan, chunk, seen.append)
    assert {progress.frames for progress in seen} >= set(range(1, chunk.frames + 1))


def _spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]) -> None:
    """Spoil a chunk's file after it was written and before it is read back."""
    read_back = chunk_module._read_back

    def spoil_first(target: Path) -> object:
        spoil(target)
        return read_back(target)

    monkeypatch.setattr(chunk_module, "_read_back", spoil_first)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)


def _a_frame_less(path: Path) -> None:
    factory.without_packet(path, path.with_suffix(".less"), 3).rename(path)


@pytest.mark.parametrize("spoil", [_cut_off, _emptied, _overwritten, _a_frame_less])
def test_a_file_that_isnt_what_was_encoded_is_noticed(
    film: Path, looked_at: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    plan = looked_at(film, **LOSSLESS)
    _spoiled(monkeypatch, spoil)
    with pytest.raises(OutputInvalidError):
        encode_chunk(film, tmp_path / "a.nut", plan, plan.chunks[1], lambda _: None)


def test_a_full_disk_is_told_apart(film: Path, looked_at: Look) -> None:
    plan = looked_at(film, **LOSSLESS)
    with pytest.raises(OutOfSpaceError):
        encode_chunk(film, Path("/dev/full"), plan, plan.chunks[0], lambda _: None)


def test_a_chunk_of_which_nothing_decodes_is_empty(film: Path, tmp_path: Path, looked_at: Look) -> None:
    noise = factory.with_noise(film, tmp_path / "noise.mkv", range(40))
    plan = looked_at(noise, **LOSSLESS)
    result = encode_chunk(noise, tmp_path / "a.nut", plan, plan.chunks[1], lambda _: None)
    assert (result.frames, result.first_pts, result.last_psnr_db) == (0, None, None)
    assert result.decode_errors > 0


def test_a_film_with_an_empty_chunk_is_not_joined_and_one_pass_makes_it(
    film: Path, tmp_path: Path, cut_up: CutUp
) -> None:
    pieces = cut_up(factory.with_noise(film, tmp_path / "hole.mkv", range(10, 30)), chunk_s=0.4, **LOSSLESS)
    assert 0 in {chunk.result.frames for chunk in pieces.chunks}
    with pytest.raises(OutputInvalidError, match="is empty"):
        pieces.join()
    _, serial = pieces.serial()
    assert serial.video_frames == 20


def test_the_damage_of_chunks_is_told_with_its_time(film: Path, tmp_path: Path, cut_up: CutUp) -> None:
    _, result = cut_up(factory.with_noise(film, tmp_path / "hole.mkv", [14]), chunk_s=0.4, **LOSSLESS).join()
    assert result.damaged_at_s[0] == pytest.approx(14 / 25, abs=0.16)  # packet 14 may be shown four frames later
    assert f"at {result.damaged_at_s[0]:.1f} s" in result.warnings[-1]


def test_damage_that_two_chunks_decode_counts_once(tmp_path: Path, cut_up: CutUp) -> None:
    options = {"preset": "ultrafast", "crf": "20"}  # frames are decoded in the order they are shown
    one_gop = factory.film(tmp_path / "one.mkv", options=options, gop=100)
    pieces = cut_up(
        factory.with_noise(one_gop, tmp_path / "hole.mkv", [5], factory.few_bytes_changed), chunk_s=0.4, **LOSSLESS
    )
    assert [chunk.result.decode_errors > 0 for chunk in pieces.chunks] == [True, False, False, False]
    assert pieces.join()[1].decode_errors == pieces.serial()[1].decode_errors


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_whole_film_of_open_gops_passes_where_damage_ends_the_work(codec: str, tmp_path: Path, cut_up: CutUp) -> None:
    gops = "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"
    params = {"libx264": {"x264-params": gops}, "libx265": {"x265-params": f"log-level=error:{gops}"}}[codec]
    open_film = factory.film(tmp_path / "open.mkv", codec=codec, options={"preset": "ultrafast"} | params)
    _, result = cut_up(open_film, damage="fail", **LOSSLESS).join()
    assert (result.video_frames, result.decode_errors) == (40, 0)


def test_a_few_changed_bytes_of_hevc_are_damage(tmp_path: Path, cut_up: CutUp) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=error"}
    whole = factory.film(tmp_path / "whole.mkv", codec="libx265", options=options)
    damaged = factory.with_noise(whole, tmp_path / "damaged.mkv", range(12, 30), factory.few_bytes_changed)
    with pytest.raises(SourceUnreadableError, match="set damage to conceal"):
        cut_up(damaged, damage="fail", **LOSSLESS)


def test_a_chunk_fails_on_damage_if_it_is_to(film: Path, tmp_path: Path, cut_up: CutUp) -> None:
    hole = factory.with_noise(film, tmp_path / "hole.mkv", [14])
    with pytest.raises(SourceUnreadableError, match=r"picture is damaged at 0\.\d s; repair it") as caught:
        cut_up(hole, damage="fail", **LOSSLESS)
    assert caught.value.fields["time_s"] == pytest.approx(14 / 25, abs=0.16)


def test_a_source_that_is_gone_is_told(film: Path, looked_at: Look, tmp_path: Path) -> None:
    plan = looked_at(film, **LOSSLESS)
    with pytest.raises(SourceError):
        encode_chunk(tmp_path / "gone.mkv", tmp_path / "a.nut", plan, plan.chunks[0], lambda _: None)


def test_a_damaged_frame_is_told_and_does_not_hinder_joining(film: Path, tmp_path: Path, cut_up: CutUp) -> None:
    damaged = factory.with_noise(film, tmp_path / "damaged.mkv", range(10, 30), factory.few_bytes_changed)
    pieces = cut_up(damaged, **LOSSLESS)
    _, result = pieces.join()
    _, serial = pieces.serial()
    assert result.video_frames == serial.video_frames
    assert any("concealed" in warning for warning in result.warnings)


def test_the_last_chunk_ends_where_a_stream_turned_up_late(tmp_path: Path, looked_at: Look) -> None:
    film = factory.with_unlisted_sound(tmp_path / "film.flv", frames=2600)
    plan = looked_at(film, chunk_s=52, codec="h264", crf=40, preset="ultrafast")
    last = plan.chunks[-1]
    result = encode_chunk(film, tmp_path / "last.nut", plan, last, lambda _: None)
    assert last.number
    assert result.frames == last.frames
