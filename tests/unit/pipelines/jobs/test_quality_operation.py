"""The quality operation with the real child: planned, done and joined."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import media_factory as factory
import pytest

from cluster.child import ChildSpec, MediaChild
from cluster.errors import ChildFailedError
from cluster.storage import Roots
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.operations.quality import OPERATION
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.quality.quality_spec import QualityResult


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30))
    yield child
    child.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.rich_film(tmp_path / "film.mkv", 2)


def bench(
    source: Path, child: Any, name: str, shared: Mapping[str, Any] = MappingProxyType({}), **params: Any
) -> Workbench:
    return Workbench(
        params=OPERATION.params(**params),
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


def done(source: Path, child: Any, **params: Any) -> Outcome:
    plan = OPERATION.plan(bench(source, child, "plan", **params))
    units = {}
    for unit in plan.units:
        at = bench(source, child, unit.name, plan.shared, **params)
        units[unit.name] = Finished(at.scratch, OPERATION.run(at, unit).model_dump(mode="json"), unit.payload)
    outcome = OPERATION.join(bench(source, child, "join", plan.shared, **params), units)
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize("full", [False, True])
def test_a_film_is_scored_and_its_curves_are_a_file(full: bool, film: Path, child: MediaChild) -> None:
    outcome = done(film, child, full=full)
    assert isinstance(outcome.result, QualityResult)
    assert outcome.result.score is not None
    assert outcome.result.sampled is not full
    (made,) = outcome.made
    assert (made.name, made.media_type) == ("film.quality.json", "application/json")
    assert QualityResult.model_validate_json(made.path.read_text()) == outcome.result


def test_silence_is_found_by_decoding_all(tmp_path: Path, child: MediaChild) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.clicks(4, (0.5,)))])
    assert "silence" in done(sound, child, full=True).result.flawed_s


def test_what_a_person_is_told_has_no_curve(film: Path, child: MediaChild) -> None:
    told = OPERATION.told(done(film, child).result.model_dump(mode="json"))
    assert told["score"] > 0
    assert "points" not in told
    assert "levels of quantiser step" in told["compression"]


def test_a_plan_tells_what_it_takes(film: Path, child: MediaChild) -> None:
    plan = OPERATION.plan(bench(film, child, "plan"))
    assert plan.explain["decodes"] == "windows"
    assert plan.explain["estimated_seconds"] == plan.units[0].needs.seconds > 0


def test_a_file_that_is_no_media_is_refused_when_it_is_planned(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(ChildFailedError) as caught:
        OPERATION.plan(bench(tmp_path / "film.mkv", child, "plan"))
    assert caught.value.code == "not_media"
