"""The validate operation with the real child: planned, done and joined."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from pydantic import ValidationError

from cluster.child import ChildSpec, MediaChild
from cluster.errors import ChildFailedError, StorageError
from cluster.storage import Roots
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.models import Plan
from pipelines.jobs.operations.validate import OPERATION, Result, plan_of
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.validation.full import plan_validation

_GROUPS = {"preset": "ultrafast", "x264-params": "open-gop=1:bframes=2:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    child = MediaChild(ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30))
    yield child
    child.close()


@dataclass(frozen=True)
class Jobs:
    """Does jobs in a folder of their own."""

    folder: Path
    child: MediaChild

    def bench(self, source: Path, name: str, shared: Mapping[str, Any], params: Mapping[str, Any]) -> Workbench:
        return Workbench(
            params=OPERATION.params(**params),
            sources=(str(source),),
            scratch=self.folder / "scratch" / name,
            roots=Roots((self.folder,), (self.folder,)),
            child=self.child,
            cpus=1,
            slots=2,
            shared=shared,
            estimate_s=1.0,
            profiles=dict,
        )

    def plan(self, source: Path, **params: Any) -> Plan:
        return OPERATION.plan(self.bench(source, "plan", {}, params))

    def outcome(self, source: Path, **params: Any) -> Outcome:
        return self.outcome_of(source, self.plan(source, **params), **params)

    def outcome_of(self, source: Path, plan: Plan, **params: Any) -> Outcome:
        units = {}
        for unit in plan.units:
            bench = self.bench(source, f"{len(plan.units)}-{unit.name}", dict(plan.shared), params)
            manifest = OPERATION.run(bench, unit)
            units[unit.name] = Finished(bench.scratch, manifest.model_dump(mode="json"), unit.payload)
        outcome = OPERATION.join(self.bench(source, f"{len(plan.units)}-join", dict(plan.shared), params), units)
        assert isinstance(outcome, Outcome)
        return outcome

    def result(self, source: Path, **params: Any) -> Result:
        result = self.outcome(source, **params).result
        assert isinstance(result, Result)
        return result


@pytest.fixture
def jobs(tmp_path: Path, child: MediaChild) -> Jobs:
    return Jobs(tmp_path, child)


@pytest.fixture
def film(jobs: Jobs) -> Path:
    """Four seconds with two sound tracks, subtitles and chapters."""
    return factory.rich_film(jobs.folder / "film.mkv")


def test_a_whole_film_is_ok_and_all_of_it_is_decoded(jobs: Jobs, film: Path) -> None:
    result = jobs.result(film)
    assert (result.verdict, result.findings) == ("ok", ())
    assert (result.frames, result.decoded, result.packets_read) == (100, "all", "all")
    assert [stream.samples for stream in result.streams if stream.kind == "audio"] == [4 * 48_000] * 2


def test_a_short_film_is_one_short_unit(jobs: Jobs, film: Path) -> None:
    (unit,) = jobs.plan(film).units
    assert unit.needs.interactive


def test_parts_come_to_what_the_whole_comes_to(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", options=_GROUPS)
    whole, cut = jobs.outcome(film, hashes=True), jobs.outcome_of(film, in_parts(film), hashes=True)
    assert isinstance(cut.result, Result)
    assert (cut.result.verdict, cut.result.frames) == ("ok", 40)
    assert cut.made[0].path.read_bytes() == whole.made[0].path.read_bytes()


def in_parts(film: Path) -> Plan:
    """The plan of a film that is long enough to be cut."""
    planned = plan_validation(film, 4, lambda _: None, whole_s=0.0)
    assert len(planned.parts) == 4
    return plan_of(planned, {})


def test_a_quick_look_decodes_only_edges(jobs: Jobs, film: Path) -> None:
    result = jobs.result(film, level="quick")
    assert (result.verdict, result.decoded) == ("ok", "edges")


def test_damage_is_found_and_its_time_told(jobs: Jobs, film: Path) -> None:
    plain = factory.film(jobs.folder / "plain.mkv")
    result = jobs.result(factory.with_noise(plain, jobs.folder / "spoilt.mkv", [20]))
    assert result.verdict == "broken"
    assert result.findings[0].time_s == pytest.approx(0.8, abs=0.1)


def test_what_is_no_media_is_broken_and_no_failure(jobs: Jobs) -> None:
    text = jobs.folder / "text.mp4"
    text.write_text("hello " * 1000)
    result = jobs.result(text)
    assert (result.verdict, [finding.code for finding in result.findings]) == ("broken", ["unreadable"])
    assert (result.packets_read, result.decoded) == ("none", "none")


def test_what_isnt_there_fails(jobs: Jobs) -> None:
    with pytest.raises(StorageError):
        jobs.result(jobs.folder / "none.mkv")


def test_hashes_are_kept_under_the_films_name(jobs: Jobs, film: Path) -> None:
    (made,) = jobs.outcome(film, hashes=True).made
    assert made.name == "film.hashes.parquet"
    assert made.path.stat().st_size > 500


def test_the_same_film_has_the_same_hashes(jobs: Jobs, film: Path) -> None:
    compared = jobs.result(film, against=str(kept(jobs, film))).compared
    assert compared is not None
    assert (compared.changed, compared.missing, compared.added) == (0, 0, 0)
    assert compared.compared > 100


def test_a_bit_that_rotted_is_found_for_certain(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", codec="mpeg4", options={"b": "2000000"})
    before = kept(jobs, film)
    content = bytearray(film.read_bytes())
    content[len(content) // 2] ^= 4
    film.write_bytes(content)
    result = jobs.result(film, against=str(before))
    assert result.compared is not None
    assert result.compared.changed > 0
    assert result.verdict == "broken"
    assert 0 < result.compared.runs[0].begin_s < 1.6


def kept(jobs: Jobs, film: Path) -> Path:
    (made,) = jobs.outcome(film, hashes=True).made
    return made.path.rename(jobs.folder / "before.hashes.parquet")


def test_what_isnt_a_file_of_hashes_is_told(jobs: Jobs, film: Path) -> None:
    with pytest.raises(ChildFailedError) as caught:
        jobs.result(film, against=str(film))
    assert caught.value.code == "source_unsupported"


@pytest.mark.parametrize(
    "params",
    [
        {"level": "quick", "hashes": True},
        {"level": "quick", "against": "/a"},
        {"output": "/a"},
        {"level": "some"},
    ],
)
def test_parameters_that_contradict_each_other_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OPERATION.params(**params)
