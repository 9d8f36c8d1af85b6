"""The quality operation with the real child: planned, done and joined."""

import re
from pathlib import Path

import media_factory as factory
import pytest
from shots import shot
from unit.pipelines.jobs.operating import done, planned

from cluster.child import MediaChild
from cluster.errors import ChildFailedError
from pipelines.jobs.operations.quality import OPERATION
from pipelines.media.quality.quality_spec import QualityResult


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.write_video(tmp_path / "film.mkv", shot(1, 50))


@pytest.mark.parametrize("full", [False, True])
def test_a_film_is_scored_and_its_curves_are_a_file(full: bool, film: Path, child: MediaChild) -> None:
    outcome = done(OPERATION, film, child, full=full)
    assert isinstance(outcome.result, QualityResult)
    assert outcome.result.score is not None
    assert outcome.result.sampled is not full
    (made,) = outcome.made
    assert (made.name, made.media_type) == ("film.quality.json", "application/json")
    assert QualityResult.model_validate_json(made.path.read_text()) == outcome.result


def test_silence_is_found_by_decoding_all(tmp_path: Path, child: MediaChild) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.clicks(4, (0.5,)))])
    assert "silence" in done(OPERATION, sound, child, full=True).result.flawed_s


def test_what_a_person_is_told_has_no_curve(film: Path, child: MediaChild) -> None:
    told = OPERATION.told(done(OPERATION, film, child).result.model_dump(mode="json"))
    assert told["score"] > 0
    assert "points" not in told
    assert re.match(r"takes \d+ points: [\d.]+ levels of quantiser step", told["compression"])


def test_a_plan_tells_what_it_takes(film: Path, child: MediaChild) -> None:
    plan = planned(OPERATION, film, child)
    assert plan.explain["decodes"] == "windows"
    assert plan.explain["estimated_seconds"] == plan.units[0].needs.seconds > 0


def test_a_file_that_is_no_media_is_refused_when_it_is_planned(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    with pytest.raises(ChildFailedError) as caught:
        planned(OPERATION, tmp_path / "film.mkv", child)
    assert caught.value.code == "not_media"
