"""The operation ``inspect`` with the real child: planned, done and joined."""

import json
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from unit.pipelines.jobs.operating import done, planned

from cluster.child import MediaChild
from cluster.errors import ChildCrashedError
from pipelines.jobs.operations.inspect import OPERATION
from pipelines.jobs.operations.probe import OPERATION as PROBE
from pipelines.jobs.operations.thumbnails import OPERATION as THUMBNAILS


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.rich_film(tmp_path / "film.mkv", 2)


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: untimed(each) for name, each in value.items() if name not in {"elapsed_s", "worked_s"}}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def test_it_tells_what_a_deep_probe_does(film: Path, child: MediaChild) -> None:
    own = done(PROBE, film, child, deep=True).result
    assert untimed(done(OPERATION, film, child).result.probe.model_dump(mode="json")) == untimed(
        own.model_dump(mode="json")
    )


def test_its_stills_are_those_of_thumbnails(film: Path, child: MediaChild) -> None:
    outcome, own = done(OPERATION, film, child, stills=3), done(THUMBNAILS, film, child, count=3, telling=True)
    assert outcome.result.stills == own.result.films[0].result
    files = {made.name: made.path.read_bytes() for made in outcome.made}
    assert all(files[made.name] == made.path.read_bytes() for made in own.made)


def test_its_files_are_handed_over_with_their_types(film: Path, child: MediaChild) -> None:
    outcome = done(OPERATION, film, child, stills=1)
    assert {made.name: made.media_type for made in outcome.made} == {
        "inspection.json": "application/json",
        "still-0001.jpg": "image/jpeg",
        "sheet-001.jpg": "image/jpeg",
        "storyboard.vtt": "text/vtt",
        "storyboard.json": "application/json",
    }
    assert json.loads(outcome.made[0].path.read_text()) == outcome.result.model_dump(mode="json")


def test_pictures_that_are_not_wanted_are_not_made(film: Path, child: MediaChild) -> None:
    outcome = done(OPERATION, film, child, stills=0, storyboard=False)
    assert [made.name for made in outcome.made] == ["inspection.json"]
    assert (outcome.result.stills, outcome.result.storyboard) == (None, None)


def test_a_person_is_told_the_gist(film: Path, child: MediaChild) -> None:
    told = OPERATION.told(done(OPERATION, film, child).result.model_dump(mode="json"))
    assert told["verdict"] == "ok"
    assert told["storyboard"] == {"tiles": 2, "interval_s": 1}
    assert told["video 0"] == "h264 96x64"


def test_a_file_that_is_no_media_is_broken(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no media" * 100)
    result = done(OPERATION, tmp_path / "film.mkv", child).result
    assert (result.validation.verdict, result.probe, result.quality, result.stills) == ("broken", None, None, None)


def test_a_text_is_no_media(tmp_path: Path, child: MediaChild) -> None:
    (tmp_path / "notes.txt").write_text("not a film " * 100)
    outcome = done(OPERATION, tmp_path / "notes.txt", child)
    assert outcome.result.validation.verdict == "not_media"
    assert outcome.warnings[0].startswith("notes.txt is text, neither a film nor sound")


def test_a_sound_has_no_pictures(tmp_path: Path, child: MediaChild) -> None:
    sound = factory.write_sound(tmp_path / "sound.flac", [(0, factory.tone(1, -20))], codec="flac")
    result = done(OPERATION, sound, child).result
    assert result.validation.verdict == "ok"
    assert result.probe.sound.tracks[0].integrated_lufs == pytest.approx(-20, abs=0.5)
    assert (result.stills, result.storyboard, result.quality.score) == (None, None, None)


def test_what_is_broken_is_told_beside_what_is_there(film: Path, child: MediaChild) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    outcome = done(OPERATION, film, child)
    assert outcome.result.validation.verdict == "broken"
    assert outcome.result.probe.duration_s
    assert outcome.result.storyboard.count
    assert outcome.warnings[0].startswith("film.mkv is broken: ")


class Crashing:
    """A child that crashes at each pass over a picture, stream 0."""

    def __init__(self, child: MediaChild) -> None:
        self._child = child

    def call(self, function: str, arguments: dict[str, Any], *rest: Any, **more: Any) -> Any:
        if function.endswith(":inspect_part") and 0 in arguments["part"].streams:
            raise ChildCrashedError("It crashed.", 11)
        return self._child.call(function, arguments, *rest, **more)

    def call_each(self, *rest: Any, **more: Any) -> Any:
        return self._child.call_each(*rest, **more)


def test_what_crashes_a_decoder_is_a_finding_and_the_rest_is_told(film: Path, child: MediaChild) -> None:
    result = done(OPERATION, film, Crashing(child)).result
    assert [each.code for each in result.validation.findings] == ["decoder_crashed"]
    assert result.probe.sound.tracks
    assert result.storyboard.count == 2


def test_a_plan_tells_what_it_takes(film: Path, child: MediaChild) -> None:
    plan = planned(OPERATION, film, child)
    assert {unit.name for unit in plan.units} == {"part-0000", "picture", "stills"}
    assert plan.explain["parts"] == 1
