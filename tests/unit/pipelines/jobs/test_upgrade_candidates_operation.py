"""Upgrade candidates of a library, against the real child and real files."""

import json
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from unit.pipelines.jobs.operating import bench, done, planned
from unit.pipelines.media.upgrades.films import textured_film

from cluster import identity
from cluster.child import MediaChild
from cluster.errors import ChildFailedError, StorageError
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.operations import transcode
from pipelines.jobs.operations.upgrade_candidates import OPERATION, Candidates, PlannedJob


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A film that is worth encoding again, one at a fair rate, one that is broken, and an empty file."""
    folder = tmp_path / "films"
    (folder / "2019").mkdir(parents=True)
    textured_film(folder / "2019" / "large.mkv", qp="10")
    textured_film(folder / "fair.mkv", qp="24", frames=10)
    (folder / "broken.mp4").write_bytes(b"no film" * 100)
    (folder / "empty.mkv").touch()
    (folder / "notes.txt").write_text("no film")
    return folder


def result_of(outcome: Outcome) -> Candidates:
    assert isinstance(outcome.result, Candidates)
    return outcome.result


def jobs_of(outcome: Outcome) -> list[dict[str, Any]]:
    (plan,) = [made for made in outcome.made if made.name.endswith(".plan.json")]
    jobs: list[dict[str, Any]] = json.loads(plan.path.read_text())["jobs"]
    return jobs


def test_a_library_is_ranked_and_one_bad_file_holds_up_no_other(library: Path, child: MediaChild) -> None:
    outcome = done(OPERATION, library, child)
    result = result_of(outcome)
    assert (result.count, result.failed, result.jobs) == (4, 1, 1)
    assert [(each.name, each.advice.action if each.advice else None) for each in result.candidates] == [
        *(("empty", None), ("broken", "replace"), ("2019/large", "re-encode"), ("fair", "keep"))
    ]
    assert result.candidates[0].error is not None
    assert result.candidates[0].error.code == "source_empty"
    assert result.totals.broken == 1
    assert result.totals.bytes_saved > 0
    assert "1 of 4 films can't be judged" in outcome.warnings[0]


def test_the_report_has_a_line_for_each_film(library: Path, child: MediaChild) -> None:
    (report,) = [made for made in done(OPERATION, library, child).made if made.own]
    lines = [json.loads(line) for line in report.path.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["empty", "broken", "2019/large", "fair"]


def test_the_plan_is_a_transcode_beside_its_source(library: Path, child: MediaChild) -> None:
    (job,) = jobs_of(done(OPERATION, library, child))
    assert (job["operation"], job["sources"]) == ("transcode", [f"{library}/2019/large.mkv"])
    assert job["params"]["output"] == f"{library}/2019/large.upgraded.mkv"
    assert "re-encode" in PlannedJob.model_validate(job).note


def test_a_plan_fills_another_folder_with_the_same_tree(library: Path, tmp_path: Path, child: MediaChild) -> None:
    (job,) = jobs_of(done(OPERATION, library, child, into=f"{tmp_path}/new"))
    assert job["params"]["output"] == f"{tmp_path}/new/2019/large.mkv"


def test_transcode_does_what_the_plan_says_and_the_film_gets_smaller(library: Path, child: MediaChild) -> None:
    (job,) = jobs_of(done(OPERATION, library, child))
    source = Path(job["sources"][0])
    (made,) = done(transcode.OPERATION, source, child, **job["params"]).made
    assert made.path.stat().st_size < 0.6 * source.stat().st_size


def test_names_that_differ_by_their_extension_only_get_outputs_of_their_own(tmp_path: Path, child: MediaChild) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a.mkv", "a.avi"):
        textured_film(folder / name, frames=10, qp="10")
    outputs = {job["params"]["output"] for job in jobs_of(done(OPERATION, folder, child))}
    assert outputs == {f"{folder}/a-mkv.upgraded.mkv", f"{folder}/a-avi.upgraded.mkv"}


def test_what_a_person_is_told_is_a_line_for_each_candidate(library: Path, child: MediaChild) -> None:
    assert OPERATION.told is not None
    told = OPERATION.told(result_of(done(OPERATION, library, child)).model_dump(mode="json"))
    assert list(told["candidates"]) == [f"1 {library}/broken.mp4", f"2 {library}/2019/large.mkv"]
    assert "mediaray jobs submit" in told["plan"]


def test_a_large_library_is_cut_into_batches_that_are_found_again(tmp_path: Path, child: MediaChild) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    film = textured_film(folder / "film-00.mkv", frames=5, qp="20").read_bytes()
    for number in range(1, 40):
        (folder / f"film-{number:02}.mkv").write_bytes(film)
    units = planned(OPERATION, folder, child).units
    assert [len(unit.payload["films"]) for unit in units] == [16, 16, 8]


def test_a_job_fails_where_none_of_its_films_can_be_judged(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "empty.mkv").touch()
    with pytest.raises(ChildFailedError) as failed:
        done(OPERATION, tmp_path / "empty.mkv", child)
    assert failed.value.code == "source_empty"


def test_a_batch_of_which_a_film_is_gone_isn_t_kept(tmp_path: Path, child: MediaChild) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a.mkv", "b.mkv"):
        textured_film(folder / name, frames=5, qp="20")
    _, unit = planned(OPERATION, folder, child).units
    (folder / "b.mkv").rename(tmp_path / "away.mkv")
    manifest = OPERATION.run(bench(OPERATION, folder, child), unit).model_dump()
    assert [error and error["code"] for error in manifest["errors"]] == ["source_not_found"]
    assert manifest["lasting"] is False


def test_a_folder_without_films_is_refused(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "films").mkdir()
    with pytest.raises(StorageError, match="no films"):
        planned(OPERATION, tmp_path / "films", child)


def test_a_batch_has_an_address_only_where_its_files_are_there_and_rest(
    tmp_path: Path, child: MediaChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.clicks(1, (0.5,)))])
    at = bench(OPERATION, sound, child)
    assert at.content_key([str(sound)], "a") is None  # just written
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    keys = [at.content_key([str(sound)], part) for part in "aab"]
    assert None not in keys
    assert keys[0] == keys[1] != keys[2]
    assert at.content_key([str(sound), f"{tmp_path}/absent.mkv"], "a") is None
