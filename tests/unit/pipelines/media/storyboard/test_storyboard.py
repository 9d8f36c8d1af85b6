"""Storyboards of films whose every frame can be told from its level."""

import json
import re
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from pipelines.media.errors import (
    LimitError,
    NoVideoStreamError,
    ParamsError,
    SourceTruncatedError,
    SourceUnreadableError,
)
from pipelines.media.probing.probe import probe
from pipelines.media.progress import Progress
from pipelines.media.storyboard.storyboard import storyboard
from pipelines.media.storyboard.storyboard_spec import Storyboard, StoryboardResult, StoryboardSpec, Tile, estimate_s

NO_SCENE_CUTS = {"qp": "0", "x264-params": "scenecut=0"}


def _make(source: Path, folder: Path, **spec: object) -> tuple[StoryboardResult, Storyboard]:
    made = storyboard(source, folder, StoryboardSpec.model_validate(spec), lambda _: None)
    return made, Storyboard.model_validate_json((folder / "storyboard.json").read_text())


def _level(folder: Path, board: Storyboard, tile: Tile) -> float:
    """The mean luma of a tile of a grey picture, in the limited range of the source."""
    box = (tile.x, tile.y, tile.x + board.tile_width, tile.y + board.tile_height)
    with Image.open(folder / tile.sheet) as sheet:
        return float(np.asarray(sheet.convert("L").crop(box)).mean()) * 219 / 255 + 16


def _shows_what_it_says(folder: Path, board: Storyboard, rate: int = 25) -> bool:
    """Whether each tile shows the frame of the time that is told of it."""
    told = [factory.ramp_level(round(tile.time_s * rate)) for tile in board.tiles]
    return [_level(folder, board, tile) for tile in board.tiles] == pytest.approx(told, abs=2.5)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s at 25 frames a second with a keyframe every 2 s, in MP4."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return factory.grey_ramp(path, frames=300, gop=50, options=NO_SCENE_CUTS)


@pytest.mark.parametrize("mode", ["exact", "keyframes", "auto"])
def test_tiles_show_the_frame_of_the_time_told(film: Path, tmp_path: Path, mode: str) -> None:
    _, board = _make(film, tmp_path, interval_s=1.2, mode=mode)
    assert _shows_what_it_says(tmp_path, board)


def test_exact_tiles_show_the_middle_of_their_time(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, interval_s=1.2, mode="exact")
    assert [tile.time_s for tile in board.tiles] == pytest.approx([0.6 + 1.2 * number for number in range(10)])
    assert (made.keyframe_tiles, made.count) == (0, 10)


def test_keyframe_tiles_show_the_nearest_keyframe(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, interval_s=1, mode="keyframes")
    assert [tile.time_s for tile in board.tiles] == pytest.approx([0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 10])
    assert (made.keyframe_tiles, made.farthest_s) == (12, pytest.approx(1.5))


def test_no_tile_is_farther_than_a_group_of_pictures_from_its_time(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, interval_s=0.3, mode="keyframes")
    away = [abs(tile.time_s - (tile.start_s + tile.end_s) / 2) for tile in board.tiles]
    assert made.farthest_s == pytest.approx(max(away))
    assert max(away) < 2


def test_auto_takes_the_very_frame_where_the_keyframe_is_more_than_an_interval_away(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, interval_s=0.6, mode="auto")
    away = [abs(tile.time_s - (tile.start_s + tile.end_s) / 2) for tile in board.tiles]
    assert max(away) <= 0.6
    assert 0 < made.keyframe_tiles < made.count
    assert _shows_what_it_says(tmp_path, board)


@pytest.mark.parametrize("mode", ["exact", "keyframes"])
@pytest.mark.parametrize("suffix", ["mkv", "avi", "ts", "flv", "mov"])
def test_every_container_gives_the_frames_told(tmp_path: Path, suffix: str, mode: str) -> None:
    options = {**NO_SCENE_CUTS, "bf": "0" if suffix == "avi" else "3"}
    clip = factory.grey_ramp(tmp_path / f"film.{suffix}", frames=120, gop=25, options=options)
    made, board = _make(clip, tmp_path, interval_s=0.6, mode=mode)
    assert _shows_what_it_says(tmp_path, board)
    assert (made.keyframe_tiles == 0) == (mode == "exact")
    assert made.farthest_s <= (0.04 if mode == "exact" else 0.5)


def test_a_film_gets_about_a_hundred_tiles_at_whole_seconds(tmp_path: Path) -> None:
    clip = factory.write_video(tmp_path / "slow.mp4", [factory.grey(80)] * 630, time_base=Fraction(1), rate=Fraction(1))
    made, _ = _make(clip, tmp_path, mode="keyframes")
    assert (made.interval_s, made.count) == (7, 90)


def test_a_short_clip_gets_a_tile_a_second(film: Path, tmp_path: Path) -> None:
    made, _ = _make(film, tmp_path)
    assert (made.interval_s, made.count) == (1, 12)


def test_a_rest_that_is_a_sliver_belongs_to_the_last_tile(film: Path, tmp_path: Path) -> None:
    _, board = _make(film, tmp_path, interval_s=3.95)
    assert [(tile.start_s, tile.end_s) for tile in board.tiles] == [(0, 3.95), (3.95, 7.9), (7.9, 12)]


def test_tiles_go_from_left_to_right_then_down_then_to_the_next_sheet(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, interval_s=1, columns=3, rows=2, tile="48")
    assert [(tile.sheet, tile.x, tile.y) for tile in board.tiles[:7]] == [
        *(("sheet-001.jpg", x, 0) for x in (0, 48, 96)),
        *(("sheet-001.jpg", x, 32) for x in (0, 48, 96)),
        ("sheet-002.jpg", 0, 0),
    ]
    assert [(sheet.name, sheet.width, sheet.height) for sheet in made.sheets] == [
        ("sheet-001.jpg", 144, 64),
        ("sheet-002.jpg", 144, 64),
    ]


def test_the_last_sheet_has_no_empty_rows(film: Path, tmp_path: Path) -> None:
    made, _ = _make(film, tmp_path, interval_s=1, columns=5, rows=2, tile="48")
    assert [(sheet.width, sheet.height) for sheet in made.sheets] == [(240, 64), (96, 32)]


def test_sheets_are_as_told(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path)
    (sheet,) = made.sheets
    with Image.open(tmp_path / sheet.name) as picture:
        assert (picture.size, picture.format) == ((sheet.width, sheet.height), "JPEG")
    assert (tmp_path / sheet.name).stat().st_size == sheet.size_bytes
    assert board.sheets == made.sheets


def test_webp_is_made_on_request(film: Path, tmp_path: Path) -> None:
    made, board = _make(film, tmp_path, format="webp")
    with Image.open(tmp_path / made.sheets[0].name) as picture:
        assert picture.format == "WEBP"
    assert board.tiles[0].sheet == "sheet-001.webp"


def test_cues_name_the_tile_of_their_time(film: Path, tmp_path: Path) -> None:
    _make(film, tmp_path, interval_s=4, columns=2)
    assert (tmp_path / "storyboard.vtt").read_text() == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:04.000\nsheet-001.jpg#xywh=0,0,96,64\n\n"
        "00:00:04.000 --> 00:00:08.000\nsheet-001.jpg#xywh=96,0,96,64\n\n"
        "00:00:08.000 --> 00:00:12.000\nsheet-001.jpg#xywh=0,64,96,64\n"
    )


def test_cues_of_a_long_film_have_hours(tmp_path: Path) -> None:
    base = Fraction(100)
    clip = factory.write_video(tmp_path / "day.mkv", [factory.grey(80)] * 40, time_base=base, rate=1 / base)
    _make(clip, tmp_path, interval_s=2000, mode="keyframes")
    cues = re.findall(r"(\S+) --> (\S+)", (tmp_path / "storyboard.vtt").read_text())
    assert cues == [("00:00:00.000", "00:33:20.000"), ("00:33:20.000", "01:06:40.000")]


def test_the_tile_of_a_time_is_found_by_dividing(film: Path, tmp_path: Path) -> None:
    _make(film, tmp_path, interval_s=0.7)
    board = json.loads((tmp_path / "storyboard.json").read_text())
    tile = board["tiles"][min(int(5.0 / board["interval_s"]), board["count"] - 1)]
    assert tile["start_s"] <= 5.0 < tile["end_s"]


@pytest.mark.parametrize(("tile", "size"), [("48", (48, 32)), ("500", (96, 64)), ("90x16", (24, 16))])
def test_tiles_have_the_shape_of_the_video_and_are_never_larger(
    film: Path, tmp_path: Path, tile: str, size: tuple[int, int]
) -> None:
    made, _ = _make(film, tmp_path, tile=tile)
    assert (made.tile_width, made.tile_height) == size


def test_pixels_become_square(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "wide.mp4", frames=3, aspect=Fraction(4, 3))
    made, _ = _make(clip, tmp_path)
    assert (made.tile_width, made.tile_height) == (128, 64)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_tiles_are_turned_as_players_show_them(tmp_path: Path, degrees: int) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()], rotation=(degrees, False))
    made, _ = _make(clip, tmp_path, quality=95)
    with Image.open(tmp_path / made.sheets[0].name) as sheet:
        grey = np.asarray(sheet.convert("L")).astype(float) * 219 / 255 + 16
    height, width = grey.shape
    corners = [grey[round(y * height), round(x * width)] for y in (0.25, 0.75) for x in (0.25, 0.75)]
    assert corners == pytest.approx(np.rot90(np.array([[40, 90], [140, 190]]), degrees // 90).ravel().tolist(), abs=3)


def test_times_count_from_a_late_start(tmp_path: Path) -> None:
    pictures = [factory.grey(factory.ramp_level(i)) for i in range(50)]
    clip = factory.write_video(tmp_path / "late.mp4", pictures, pts=range(250, 300))
    _, board = _make(clip, tmp_path, interval_s=0.5)
    assert (board.tiles[0].start_s, board.duration_s) == (0, pytest.approx(2))
    assert _shows_what_it_says(tmp_path, board)


def test_before_a_late_picture_its_first_frame_is_shown(tmp_path: Path) -> None:
    clip = factory.rich_film(tmp_path / "late.mkv", video_start_s=1)
    _, board = _make(clip, tmp_path, interval_s=0.5, mode="exact")
    assert [tile.time_s for tile in board.tiles[:2]] == [1, 1]


def test_the_last_cue_lasts_as_long_as_the_sound(tmp_path: Path) -> None:
    picture = factory.grey_ramp(tmp_path / "picture.mkv", frames=50)
    sound = factory.write_sound(tmp_path / "sound.mka", [(0, factory.clicks(5, (1,)))])
    both = factory.with_sound(picture, sound, tmp_path / "both.mkv")
    _, board = _make(both, tmp_path, interval_s=1)
    assert (board.count, board.tiles[-1].end_s) == (2, pytest.approx(5, abs=0.1))


def test_one_frame_is_one_tile(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "one.mp4", frames=1)
    made, board = _make(clip, tmp_path)
    assert (made.count, board.tiles[0].time_s) == (1, 0)


def test_a_film_that_tells_no_frame_rate_is_made_into_tiles(tmp_path: Path) -> None:
    made, _ = _make(factory.grey_ramp(tmp_path / "one.ts", frames=1), tmp_path)
    assert probe(tmp_path / "one.ts").video.average_frame_rate is None
    assert made.count == 1


def test_a_film_of_no_frames_a_second_is_made_into_tiles(tmp_path: Path) -> None:
    film = factory.grey_ramp(tmp_path / "film.avi", frames=50, options={"qp": "0", "bf": "0"})
    made, _ = _make(factory.without_rate(film, tmp_path / "zero.avi"), tmp_path)
    assert made.count >= 1


def test_a_raw_stream_has_tiles_up_to_where_its_duration_is_guessed(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "raw.h264", frames=60, gop=20, options={**NO_SCENE_CUTS, "bf": "0"})
    _, board = _make(clip, tmp_path, interval_s=0.5)
    assert board.count == 5
    assert _shows_what_it_says(tmp_path, board)


def test_a_film_that_doesnt_tell_its_duration_is_read_for_it(shared_video: Path, tmp_path: Path) -> None:
    made, _ = _make(shared_video / "vp9_opus_no_duration.webm", tmp_path)
    assert (made.count, made.duration_s) == (5, pytest.approx(4.94, abs=0.01))


def test_times_that_jump_ahead_still_make_a_storyboard(tmp_path: Path) -> None:
    times = [*range(50), *range(25_000, 25_050)]
    pictures = [factory.grey(factory.ramp_level(i)) for i in range(100)]
    clip = factory.write_video(tmp_path / "jump.mkv", pictures, pts=times)
    made, board = _make(clip, tmp_path)
    assert (made.count, made.interval_s) == (91, 11)
    assert (_level(tmp_path, board, board.tiles[-1])) == pytest.approx(factory.ramp_level(50), abs=2.5)


def test_of_a_film_that_was_cut_off_the_tiles_end_with_the_pictures(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=300, gop=25)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    made, board = _make(cut, tmp_path, interval_s=1)
    assert made.count < 8
    assert board.tiles[-1].end_s == pytest.approx(made.duration_s)
    assert "cut.mkv was cut off: its pictures end after" in made.warnings[0]


def test_a_film_cut_off_before_its_index_is_refused(film: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(SourceTruncatedError):
        _make(cut, tmp_path)


def test_a_tile_whose_keyframe_is_damaged_shows_a_frame_near_it(tmp_path: Path) -> None:
    film = factory.grey_ramp(tmp_path / "film.mkv", frames=100, gop=25, options={**NO_SCENE_CUTS, "bf": "0"})
    noise = factory.with_noise(film, tmp_path / "noise.mkv", [50])
    made, _ = _make(noise, tmp_path, interval_s=1)
    assert made.count == 4


def test_a_film_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    film = factory.grey_ramp(tmp_path / "film.mkv", frames=20)
    noise = factory.with_noise(film, tmp_path / "noise.mkv", range(20))
    with pytest.raises(SourceUnreadableError):
        _make(noise, tmp_path)


def test_sound_alone_has_no_storyboard(tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))])
    with pytest.raises(NoVideoStreamError):
        _make(clip, tmp_path)


def test_a_cover_is_no_video(shared_video: Path, tmp_path: Path) -> None:
    with pytest.raises(NoVideoStreamError, match="no moving pictures"):
        _make(shared_video.parent / "audio" / "flac_with_cover.flac", tmp_path)


def test_more_tiles_than_a_player_can_use_are_refused(tmp_path: Path) -> None:
    base = Fraction(100)
    clip = factory.write_video(tmp_path / "day.mkv", [factory.grey(80)] * 40, time_base=base, rate=1 / base)
    with pytest.raises(LimitError, match="longer interval"):
        _make(clip, tmp_path, interval_s=0.1)


def test_sheets_beyond_what_formats_can_hold_are_refused(tmp_path: Path) -> None:
    tall = factory.write_video(tmp_path / "tall.mp4", [factory.grey(80, 16, 512)] * 100)
    with pytest.raises(ParamsError, match="fewer columns or rows"):
        _make(tall, tmp_path, interval_s=0.04, columns=1, rows=100)


@pytest.mark.parametrize(
    "spec", [{"interval_s": 0}, {"tile": "big"}, {"columns": 0}, {"rows": 101}, {"quality": 0}, {"mode": "quick"}]
)
def test_nonsense_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StoryboardSpec.model_validate(spec)


def test_progress_rises_to_one(film: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    storyboard(film, tmp_path, StoryboardSpec(), seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert (len(fractions), fractions[-1], seen[-1].frames) == (12, 1, 12)


def test_a_long_film_is_told_to_take_longer_exactly_than_by_keyframes(film: Path) -> None:
    info = probe(film).model_copy(update={"duration_s": 7200.0})
    by_mode = {mode: estimate_s(info, StoryboardSpec(mode=mode)) for mode in ("keyframes", "auto", "exact")}
    assert by_mode["keyframes"] < by_mode["auto"] <= by_mode["exact"]


def test_hdr_becomes_sdr_of_the_same_look(shared_video: Path, tmp_path: Path) -> None:
    made, _ = _make(shared_video / "av1_10bit_hdr10_1080p60.mp4", tmp_path)
    with Image.open(tmp_path / made.sheets[0].name) as sheet:
        grey = np.asarray(sheet.convert("L")).astype(float)
    assert grey.mean() > 15
    assert np.percentile(grey, 99) > 60


def test_a_transport_stream_that_seeks_late_shows_the_frames_told(shared_video: Path, tmp_path: Path) -> None:
    clip = shared_video / "mpeg2_mp2_1080p.ts"
    _, board = _make(clip, tmp_path, interval_s=0.5)
    times = [float(time) for time in factory.frame_times(clip)]
    assert all(any(abs(tile.time_s - time) < 1e-6 for time in times) for tile in board.tiles)
    with av.open(str(clip)) as container:
        assert {tile.time_s for tile in board.tiles if tile.keyframe}
        assert container.streams.video[0].frames == 0
