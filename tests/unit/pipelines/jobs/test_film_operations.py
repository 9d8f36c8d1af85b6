"""Operations of one unit on a film, with the real child: planned, done and joined."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import media_factory as factory
import pytest

from cluster.child import ChildSpec, MediaChild
from cluster.errors import ChildFailedError
from cluster.storage import Roots
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.operations import scenes, storyboard, waveform
from pipelines.jobs.workbench import Finished, Workbench

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


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30))
    yield child
    child.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.rich_film(tmp_path / "film.mkv", 2)


def bench(
    operation: Operation, source: Path, child: Any, name: str, shared: Mapping[str, Any] = MappingProxyType({})
) -> Workbench:
    return Workbench(
        params=operation.params(),
        sources=(str(source),),
        scratch=source.parent / "scratch" / name,
        roots=Roots((source.parent,), (source.parent,)),
        child=child,
        cpus=1,
        slots=2,
        shared=shared,
        estimate_s=1.0,
        profiles=dict,
    )


def done(operation: Operation, source: Path, child: Any) -> Outcome:
    plan = operation.plan(bench(operation, source, child, "plan"))
    (unit,) = plan.units
    at = bench(operation, source, child, unit.name, plan.shared)
    manifest = operation.run(at, unit).model_dump(mode="json")
    units = {unit.name: Finished(at.scratch, manifest, unit.payload)}
    outcome = operation.join(bench(operation, source, child, "join", plan.shared), units)
    assert isinstance(outcome, Outcome)
    return outcome


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
    plan = operation.plan(bench(operation, film, child, "plan"))
    assert plan.explain["estimated_seconds"] == plan.units[0].needs.seconds > 0


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_that_is_no_media_is_refused_when_it_is_planned(
    operation: Operation, tmp_path: Path, child: MediaChild
) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(ChildFailedError) as caught:
        operation.plan(bench(operation, tmp_path / "film.mkv", child, "plan"))
    assert caught.value.code == "not_media"
