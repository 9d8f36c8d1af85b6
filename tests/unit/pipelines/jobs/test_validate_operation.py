"""The validate operation with the real child: planned, done and joined."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import media_factory as factory
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from unit.pipelines.jobs.operating import bench, done, planned

from cluster import identity
from cluster.cache import Cache
from cluster.child import MediaChild
from cluster.errors import ChildCrashedError, ChildFailedError, StorageError
from pipelines.jobs.cached_results import CachedResults
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.models import Plan
from pipelines.jobs.operations.validate import OPERATION, Result, plan_of
from pipelines.media.validation.full import plan_validation

_GROUPS = {"preset": "ultrafast", "x264-params": "open-gop=1:bframes=2:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}


@dataclass(frozen=True)
class Jobs:
    """Does jobs in a folder of their own."""

    folder: Path
    child: Any

    def plan(self, source: Path, **params: Any) -> Plan:
        return planned(OPERATION, source, self.child, **params)

    def outcome(self, source: Path, plan: Plan | None = None, **params: Any) -> Outcome:
        return done(OPERATION, source, self.child, plan, **params)

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


@pytest.mark.parametrize("level", ["quick", "full"])
def test_nothing_is_told_from_the_cache_since_rot_leaves_no_note(
    film: Path, child: MediaChild, redis_url: str, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Of a file that was written long ago."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    assert CachedResults(Cache(redis_url)).look(OPERATION, bench(OPERATION, film, child, level=level)) is None


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
    whole, cut = jobs.outcome(film, hashes=True), jobs.outcome(film, in_parts(film), hashes=True)
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


@dataclass
class Crashing:
    """The real child, which ``crashes`` at some calls: by a signal, as often as ``times`` says."""

    child: MediaChild
    crashes: Callable[[str, Mapping[str, Any]], bool]
    signal_number: int = signal.SIGSEGV
    times: int = 1000

    def call(self, function: str, arguments: Mapping[str, Any], result: Any, **more: Any) -> Any:
        if self.times and self.crashes(function, arguments):
            self.times -= 1
            raise ChildCrashedError("the media process died", self.signal_number)
        return self.child.call(function, arguments, result, **more)


def at_part(begin_s: float) -> Callable[[str, Mapping[str, Any]], bool]:
    return lambda _, arguments: "part" in arguments and arguments["part"].begin_s == begin_s


def test_a_part_that_crashes_its_decoder_is_found_and_the_others_are_told(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", options=_GROUPS)
    plan = in_parts(film)
    result = replace(jobs, child=Crashing(jobs.child, at_part(0.8))).outcome(film, plan, hashes=True).result
    assert isinstance(result, Result)
    assert (result.verdict, result.frames) == ("broken", 30)
    (finding,) = result.findings
    assert (finding.code, finding.stream, finding.time_s, finding.last_s) == ("decoder_crashed", 0, 0.8, 1.2)


def test_a_crash_that_doesnt_come_again_is_none(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", options=_GROUPS)
    crashing = Crashing(jobs.child, at_part(0.8), times=1)
    result = replace(jobs, child=crashing).outcome(film, in_parts(film)).result
    assert isinstance(result, Result)
    assert (result.verdict, result.frames) == ("ok", 40)


def test_a_process_that_was_killed_says_nothing_of_the_film(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", options=_GROUPS)
    crashing = Crashing(jobs.child, at_part(0.8), signal.SIGKILL)
    with pytest.raises(ChildCrashedError):
        replace(jobs, child=crashing).outcome(film, in_parts(film))


def test_of_streams_that_are_checked_together_only_the_one_that_crashes_is_lost(jobs: Jobs, film: Path) -> None:
    crashing = Crashing(jobs.child, lambda _, arguments: "part" in arguments and 1 in arguments["part"].streams)
    outcome = replace(jobs, child=crashing).outcome(film, hashes=True)
    assert isinstance(outcome.result, Result)
    assert [(finding.code, finding.stream) for finding in outcome.result.findings] == [("decoder_crashed", 1)]
    assert (outcome.result.frames, outcome.result.samples) == (100, 4 * 48_000)
    assert pq.read_table(outcome.made[0].path).column("stream").unique().to_pylist() == [0, 2]


def test_the_first_part_is_told_to_begin_with_the_film(jobs: Jobs) -> None:
    film = factory.film(jobs.folder / "film.mkv", options=_GROUPS)
    result = replace(jobs, child=Crashing(jobs.child, at_part(0.0))).outcome(film, in_parts(film)).result
    assert isinstance(result, Result)
    assert (result.findings[0].time_s, result.findings[0].last_s) == (0.0, 0.4)


def test_where_nothing_has_a_hash_that_is_told(jobs: Jobs) -> None:
    text = jobs.folder / "text.mp4"
    text.write_text("hello " * 1000)
    outcome = jobs.outcome(text, hashes=True)
    assert not outcome.made
    assert "hash" in outcome.warnings[-1]


def test_a_film_whose_parts_crash_when_they_are_tried_is_checked_whole(jobs: Jobs, film: Path) -> None:
    crashing = Crashing(jobs.child, lambda function, _: function.endswith("plan_validation"), times=1)
    result = replace(jobs, child=crashing).result(film)
    assert (result.verdict, result.frames) == ("ok", 100)


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_film_that_crashes_whatever_looks_at_it_is_broken_and_no_failure(jobs: Jobs, film: Path, level: str) -> None:
    result = replace(jobs, child=Crashing(jobs.child, lambda *_: True)).result(film, level=level)
    assert (result.verdict, result.packets_read, result.decoded) == ("broken", "none", "none")
    assert [finding.code for finding in result.findings] == ["decoder_crashed"]


def test_what_is_no_media_is_broken_and_no_failure(jobs: Jobs) -> None:
    text = jobs.folder / "text.mp4"
    text.write_text("hello " * 1000)
    result = jobs.result(text)
    assert (result.verdict, [finding.code for finding in result.findings]) == ("broken", ["unreadable"])
    assert (result.packets_read, result.decoded) == ("none", "none")


@pytest.mark.parametrize("level", ["quick", "full"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jpg", "a picture (JPEG)"), ("a.png", "a picture (PNG)"), ("a.webp", "a picture (WebP)"), ("a.txt", "text")],
)
def test_what_was_never_to_be_a_film_is_not_called_broken(jobs: Jobs, name: str, kind: str, level: str) -> None:
    file = jobs.folder / name
    if kind == "text":
        file.write_text("Heute war es schön, die Grüße kamen an.\n" * 50)
    else:
        Image.new("RGB", (64, 48), "red").save(file)
    outcome = jobs.outcome(file, level=level)
    assert isinstance(outcome.result, Result)
    (finding,) = outcome.result.findings
    assert (outcome.result.verdict, finding.code, finding.evidence) == ("not_media", "not_media", kind)
    assert tuple(outcome.warnings) == (f"{name} is {kind}, neither a film nor sound: there is nothing to validate.",)


def test_a_film_whose_beginning_was_lost_is_broken_whatever_its_name(jobs: Jobs, film: Path) -> None:
    rest = jobs.folder / "recovered"
    rest.write_bytes(bytes(4096) + film.read_bytes()[4096:])
    assert jobs.result(rest).verdict == "broken"


@pytest.mark.parametrize("level", ["quick", "full"])
def test_that_a_film_is_broken_is_told_where_a_job_that_succeeded_is_shown(jobs: Jobs, film: Path, level: str) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    outcome = jobs.outcome(film, level=level)
    assert isinstance(outcome.result, Result)
    assert outcome.warnings[0].startswith(f"film.mkv is broken: {outcome.result.findings[0].message}")


def test_of_a_whole_film_there_is_nothing_to_warn_of(jobs: Jobs, film: Path) -> None:
    assert not jobs.outcome(film).warnings


def test_what_isnt_there_fails(jobs: Jobs) -> None:
    with pytest.raises(StorageError):
        jobs.result(jobs.folder / "none.mkv")


def test_hashes_are_kept_under_the_films_name(jobs: Jobs, film: Path) -> None:
    (made,) = jobs.outcome(film, hashes=True).made
    assert made.name == "film.hashes.parquet"
    assert made.path.stat().st_size > 500


def test_a_join_claims_memory_for_hashes(jobs: Jobs, film: Path) -> None:
    assert jobs.plan(film).join.memory_bytes == 0
    assert jobs.plan(film, hashes=True).join.memory_bytes > 192 << 20


def test_hashes_are_joined_in_the_media_process(jobs: Jobs, film: Path) -> None:
    crashing = Crashing(jobs.child, lambda function, _: function.endswith("join_files"))
    with pytest.raises(ChildCrashedError):
        replace(jobs, child=crashing).outcome(film, hashes=True)


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
