"""What one pass tells is what the five operations tell, each by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import media_factory as factory
import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel
from unit.pipelines.media.quality.pictures import textured, with_chroma

from pipelines.media.inspection.inspect_spec import Inspection, InspectionPlan, InspectSpec, conclude
from pipelines.media.inspection.inspection import inspect_part, make_storyboard, plan_inspection
from pipelines.media.probing.packets import find_in_packets
from pipelines.media.probing.probe import probe
from pipelines.media.probing.sound import listen
from pipelines.media.quality.quality import measure_part, plan_quality, quality_of
from pipelines.media.quality.quality_result import conclude as conclude_quality
from pipelines.media.quality.quality_spec import QualitySpec
from pipelines.media.storyboard.storyboard import storyboard
from pipelines.media.storyboard.storyboard_spec import StoryboardSpec
from pipelines.media.validation.decoding import check_part
from pipelines.media.validation.full import plan_validation
from pipelines.media.validation.report import conclude as conclude_validation
from pipelines.media.validation.report import merge

FULL = QualitySpec(full=True)
NO_SCENE_CUTS = {"qp": "20", "x264-params": "scenecut=0"}


def unwatched(_: object) -> None:
    """Progress that nobody watches."""


def in_groups(folder: Path) -> Path:
    """6 s with a keyframe every half second, whose pictures differ."""
    return factory.grey_ramp(folder / "groups.mp4", frames=150, gop=12, options=NO_SCENE_CUTS)


def in_one_group(folder: Path) -> Path:
    return factory.grey_ramp(folder / "group.mkv", frames=100, gop=100, options=NO_SCENE_CUTS)


def with_sound(folder: Path) -> Path:
    return factory.rich_film(folder / "rich.mkv", 3)


def transport_stream(folder: Path) -> Path:
    return factory.grey_ramp(folder / "groups.ts", frames=100, gop=20, options=NO_SCENE_CUTS)


def avi(folder: Path) -> Path:
    return factory.grey_ramp(folder / "groups.avi", frames=60, gop=20, options={"qp": "20", "bf": "0"})


def cut_off(folder: Path) -> Path:
    film = factory.grey_ramp(folder / "whole.mkv", frames=150, gop=10, options=NO_SCENE_CUTS)
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    return film


def spoiled(folder: Path) -> Path:
    film = factory.grey_ramp(folder / "clean.mkv", frames=100, gop=10, options=NO_SCENE_CUTS)
    return factory.with_noise(film, folder / "spoiled.mkv", (30, 31, 32))


def sound_only(folder: Path) -> Path:
    return factory.write_sound(folder / "sound.flac", [(0, factory.clicks(4, (0.5,)))], codec="flac")


def one_picture(folder: Path) -> Path:
    return factory.grey_ramp(folder / "one.mkv", frames=1)


FILMS = [
    in_groups, in_one_group, with_sound, transport_stream, avi, cut_off, spoiled, sound_only, one_picture
]  # fmt: skip
Make = Callable[[Path], Path]


def inspected(film: Path, folder: Path, slots: int, whole_s: float = 0) -> tuple[InspectionPlan, Inspection]:
    plan = plan_inspection(film, InspectSpec(), slots, unwatched, whole_s)
    tiles = [folder / f"{number}.npz" for number in range(len(plan.parts))]
    seen = tuple(
        inspect_part(film, plan, part, 1, path, unwatched) for part, path in zip(plan.parts, tiles, strict=True)
    )
    board = None
    if plan.tiles is not None:
        board = make_storyboard(film, plan, tuple(path for path in tiles if path.exists()), folder, unwatched)
    return plan, conclude(plan, seen, None, None, board)


def untimed(result: BaseModel) -> dict[str, Any]:
    return result.model_dump(exclude={"elapsed_s", "worked_s"})


@pytest.fixture(params=FILMS, ids=lambda make: make.__name__)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make: Make = request.param
    return make(tmp_path)


@pytest.mark.parametrize("slots", [1, 3])
def test_it_tells_what_each_operation_does(film: Path, tmp_path: Path, slots: int) -> None:
    (tmp_path / "own").mkdir()
    plan, found = inspected(film, tmp_path, slots)
    info = probe(film)
    assert found.probe is not None
    assert found.probe.packets is not None
    assert untimed(found.probe.packets) == untimed(find_in_packets(film, info, unwatched))
    if info.audio:
        assert found.probe.sound is not None
        assert untimed(found.probe.sound) == untimed(listen(film, info, unwatched))
    checks = plan_validation(film, slots, unwatched, whole_s=0)
    assert plan.parts == checks.parts
    checked = merge([checks.looked, *(check_part(film, part, 1, unwatched) for part in checks.parts)])
    validated = conclude_validation(checked, level="full", packets_read="all", decoded="all")
    assert untimed(found.validation) == untimed(validated)
    measured = plan_quality(film, FULL, slots, unwatched).model_copy(update={"every_s": plan.every_s})
    pieces = [measure_part(film, measured, part, 1, unwatched) for part in checks.parts]
    assert found.quality is not None
    assert untimed(found.quality) == untimed(conclude_quality(measured, pieces, FULL))
    if info.video is not None:
        assert found.storyboard == storyboard(film, tmp_path / "own", StoryboardSpec(), unwatched)
        for name in ("storyboard.json", "storyboard.vtt", *(sheet.name for sheet in found.storyboard.sheets)):
            assert (tmp_path / name).read_bytes() == (tmp_path / "own" / name).read_bytes()


def test_quality_is_about_what_all_of_its_points_come_to(tmp_path: Path) -> None:
    """Flaws are the same: every frame is looked at for them."""
    lumas = [*map(textured, range(60)), *[np.full((256, 384), 16, np.uint8)] * 60, *map(textured, range(60))]
    film = factory.write_video(
        tmp_path / "film.mkv", [*map(with_chroma, lumas)], codec="libx264", options={"qp": "30", "preset": "ultrafast"}
    )
    _, found = inspected(film, tmp_path, 1)
    full = quality_of(film, FULL, 1, unwatched)
    assert found.quality is not None
    assert len(found.quality.points) < len(full.points)
    assert found.quality.score == pytest.approx(full.score, abs=2)
    assert (found.quality.flaws, found.quality.pictures) == (full.flaws, full.pictures)


def test_a_film_is_cut_into_parts(tmp_path: Path) -> None:
    plan, _ = inspected(in_groups(tmp_path), tmp_path, 3)
    assert len(plan.parts) == 3


def test_tiles_come_from_the_pass(tmp_path: Path) -> None:
    """Those of a film that is gone when they are put on sheets."""
    film = in_groups(tmp_path)
    plan = plan_inspection(film, InspectSpec(), 1, unwatched)
    assert plan.tiles is not None
    assert None not in plan.tiles.frames
    seen = inspect_part(film, plan, plan.parts[0], 1, tmp_path / "tiles.npz", unwatched)
    film.unlink()
    assert seen.tiles == "tiles.npz"
    board = make_storyboard(film, plan, (tmp_path / seen.tiles,), tmp_path, unwatched)
    with Image.open(tmp_path / board.sheets[0].name) as sheet:
        tiles = np.asarray(sheet.convert("L"))
    middles = [board.tile_width // 2 + board.tile_width * number for number in range(3)]
    assert [int(tiles[10, middle]) for middle in middles] == pytest.approx(
        [(factory.ramp_level(at) - 16) * 255 / 219 for at in (12, 36, 60)], abs=6
    )


def test_what_is_not_wanted_is_not_made(tmp_path: Path) -> None:
    plan = plan_inspection(in_groups(tmp_path), InspectSpec(storyboard=False), 1, unwatched)
    assert plan.tiles is None


def test_a_file_that_cannot_be_opened_is_broken(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    film.write_bytes(b"no media" * 100)
    _, found = inspected(film, tmp_path, 1)
    assert found.validation.verdict == "broken"
    assert (found.probe, found.quality, found.storyboard) == (None, None, None)


def test_a_film_that_does_not_tell_how_long_it_is_gets_tiles_all_over(tmp_path: Path) -> None:
    film = factory.live_film(factory.film(tmp_path / "film.mp4", frames=100), tmp_path / "live.mkv")
    plan = plan_inspection(film, InspectSpec(), 1, unwatched)
    assert plan.info is not None
    assert plan.tiles is not None
    assert plan.info.duration_s == pytest.approx(4, abs=0.05)
    assert len(plan.tiles.board.slots) == 4
