"""Operations of one unit on a film, with the real child: planned, done and joined."""

from pathlib import Path

import media_factory as factory
import pytest
from unit.pipelines.jobs.operating import done, planned

from cluster.child import MediaChild
from cluster.errors import ChildFailedError
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.operations import preview, quality, scenes, storyboard, thumbnails, waveform

OPERATIONS = [storyboard.OPERATION, scenes.OPERATION, waveform.OPERATION]
FILES = {
    "waveform": {"waveform.json": "application/json", "waveform.png": "image/png"},
    "scenes": {"film.scenes.json": "application/json"},
    "storyboard": {
        "sheet-001.jpg": "image/jpeg",
        "storyboard.vtt": "text/vtt",
        "storyboard.json": "application/json",
    },
}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.rich_film(tmp_path / "film.mkv", 2)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_its_files_are_handed_over_with_their_types(operation: Operation, film: Path, child: MediaChild) -> None:
    outcome = done(operation, film, child)
    assert {made.name: made.media_type for made in outcome.made} == FILES[operation.name]
    assert all(made.path.stat().st_size for made in outcome.made)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_its_result_is_small_and_as_declared(operation: Operation, film: Path, child: MediaChild) -> None:
    outcome = done(operation, film, child)
    assert isinstance(outcome.result, operation.result)
    assert len(outcome.result.model_dump_json()) < 2000


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_its_plan_tells_what_it_takes(operation: Operation, film: Path, child: MediaChild) -> None:
    plan = planned(operation, film, child)
    assert plan.explain["estimated_seconds"] == plan.units[0].needs.seconds > 0
    assert plan.units[0].needs.memory_bytes > 100 << 20


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_that_is_no_media_is_refused_when_it_is_planned(
    operation: Operation, tmp_path: Path, child: MediaChild
) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(ChildFailedError) as caught:
        planned(operation, tmp_path / "film.mkv", child)
    assert caught.value.code == "not_media"


@pytest.mark.parametrize(
    "operation",
    [each.OPERATION for each in (preview, quality, scenes, storyboard, thumbnails)],
    ids=lambda operation: operation.name,
)
def test_pictures_without_a_size_are_told_to_be_unreadable(
    operation: Operation, tmp_path: Path, child: MediaChild
) -> None:
    film = factory.without_size(factory.grey_ramp(tmp_path / "ramp.ts"), tmp_path / "scrambled.ts")
    with pytest.raises(ChildFailedError, match="size of its pictures"):
        done(operation, film, child)


@pytest.mark.parametrize(
    ("operation", "name"),
    [(scenes.OPERATION, "cuts.json"), (preview.OPERATION, "short.webp")],
    ids=["scenes", "preview"],
)
def test_a_result_names_the_file_as_it_is_named(operation: Operation, name: str, film: Path, child: MediaChild) -> None:
    outcome = done(operation, film, child, output=str(film.parent / name))
    assert outcome.result.name == outcome.made[0].name == name


def test_a_preview_that_moves_claims_memory_for_all_its_frames(film: Path, child: MediaChild) -> None:
    as_film, as_picture = (
        planned(preview.OPERATION, film, child, format=format_).units[0].needs.memory_bytes
        for format_ in ("mp4", "webp")
    )
    assert as_picture > as_film > 100 << 20
