"""Stills of one film and of many, against the real child and real files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import media_factory as factory
import pytest
from unit.pipelines.jobs.operating import place

from cluster import identity
from cluster.errors import ChildFailedError, StorageError
from cluster.roots import Roots
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.operations import thumbnails
from pipelines.jobs.operations.thumbnails import OPERATION, Film, Params
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.stills_spec import Still, StillsResult


@dataclass
class Desk:
    """Plans, does and joins a job without a queue."""

    folder: Path
    child: Any

    def bench(self, sources: tuple[Path, ...], name: str, **params: Any) -> Workbench:
        return place(
            self.folder,
            Roots((self.folder,), (self.folder,)),
            params=Params(count=2, **params),
            sources=tuple(map(str, sources)),
            scratch=self.folder / "scratch" / name,
            child=self.child,
            slots=2,
        )

    def do(self, *sources: Path, **params: Any) -> Outcome:
        units = {}
        for unit in OPERATION.plan(self.bench(sources, "plan", **params)).units:
            bench = self.bench(sources, unit.name, **params)
            units[unit.name] = Finished(bench.scratch, OPERATION.run(bench, unit).model_dump(mode="json"), unit.payload)
        outcome = OPERATION.join(self.bench(sources, "join", **params), units)
        assert isinstance(outcome, Outcome)
        return outcome


@pytest.fixture
def desk(tmp_path, child):
    return Desk(tmp_path, child)


def film(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return factory.grey_ramp(path, frames=10)


def names(outcome: Outcome) -> list[str]:
    return [made.name for made in outcome.made]


def test_the_stills_of_one_film_lie_in_the_output_itself(desk):
    outcome = desk.do(film(desk.folder / "a.mkv"))
    assert names(outcome) == ["still-0001.jpg", "still-0002.jpg"]
    assert (outcome.result.count, outcome.result.files) == (1, 2)
    assert [still.pts for still in outcome.result.films[0].result.items] == [80, 280]


def test_those_of_several_lie_in_a_folder_each_whatever_their_names(desk):
    outcome = desk.do(*(film(desk.folder / name) for name in ("x/a.mkv", "y/a.mkv", "a.mp4")))
    assert names(outcome) == [
        "report.jsonl",
        *(f"{folder}/still-000{number}.jpg" for folder in ("a-mkv", "a-mkv-2", "a-mp4") for number in (1, 2)),
    ]
    assert all(made.path.is_file() for made in outcome.made)


def test_a_folder_is_its_films_and_their_tree_is_kept(desk):
    for name in ("films/2019/b.mkv", "films/a.mp4"):
        film(desk.folder / name)
    (desk.folder / "films" / "notes.txt").write_text("no film")
    outcome = desk.do(desk.folder / "films")
    assert {name.rpartition("/")[0] for name in names(outcome)} == {"", "a", "2019/b"}


def test_the_only_film_of_a_folder_has_a_folder_of_its_own(desk):
    film(desk.folder / "films" / "a.mkv")
    assert names(desk.do(desk.folder / "films")) == ["a/still-0001.jpg", "a/still-0002.jpg"]


def test_a_broken_film_and_one_without_pictures_hold_up_no_other(desk):
    broken = desk.folder / "broken.mkv"
    broken.write_bytes(b"no film" * 100)
    sound = factory.write_sound(desk.folder / "sound.wav", [(0, factory.clicks(1, (0.5,)))])
    outcome = desk.do(broken, film(desk.folder / "a.mkv"), sound, desk.folder / "absent.mkv")
    result = outcome.result
    assert (result.count, result.failed, result.files) == (4, 3, 2)
    assert [each.error.code if each.error else None for each in result.films] == [
        *("not_media", "no_video_stream", "source_not_found", None)
    ]
    assert "3 of 4 films could not be done" in outcome.warnings[0]
    report = [json.loads(line) for line in outcome.made[0].path.read_text().splitlines()]
    assert [line["name"] for line in report] == ["broken", "a", "sound", "absent"]


def test_films_with_fewer_frames_than_stills_are_told(desk: Desk) -> None:
    short = [factory.grey_ramp(desk.folder / f"{name}.mkv", frames=1) for name in "ab"]
    assert desk.do(short[0]).warnings == ("a.mkv: only 1 of 2 stills; there are no more frames in it that differ.",)
    (told,) = desk.do(film(desk.folder / "c.mkv"), *short).warnings
    assert told.startswith("a.mkv: only 1 of 2 stills; ")
    assert told.endswith(" So it is with 1 more (report.jsonl).")


def test_a_job_fails_where_none_of_its_films_could_be_done(desk):
    broken = [desk.folder / name for name in ("a.mkv", "b.mkv")]
    for path in broken:
        path.write_bytes(b"no film" * 100)
    with pytest.raises(ChildFailedError, match="None of 2 films") as failed:
        desk.do(*broken)
    assert failed.value.code == "not_media"


def test_one_film_that_is_none_fails_with_its_own_error(desk):
    sound = factory.write_sound(desk.folder / "sound.wav", [(0, factory.clicks(1, (0.5,)))])
    with pytest.raises(ChildFailedError) as failed:
        desk.do(sound)
    assert failed.value.code == "no_video_stream"


def test_a_folder_without_films_is_refused(desk):
    (desk.folder / "empty").mkdir()
    with pytest.raises(StorageError, match="no films"):
        desk.do(desk.folder / "empty")


def test_a_record_tells_only_so_many_stills(monkeypatch):
    monkeypatch.setattr(thumbnails, "_TOLD", 3)
    still = Still(name="a", format="png", time_s=0, width=1, height=1, size_bytes=1, pts=0, keyframe=True)
    films = [Film(source=name, name=name, result=StillsResult(items=(still, still))) for name in "abc"]
    assert [each.name for each in thumbnails._first(films)] == ["a"]


def test_stills_of_one_of_many_are_found_again_by_film_and_parameters(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    sources = film(desk.folder / "a.mkv"), film(desk.folder / "b.mkv")

    def keys(**params: Any) -> list[str | None]:
        return [unit.key for unit in OPERATION.plan(desk.bench(sources, "plan", **params)).units]

    first, second = keys()
    assert None is not first != second is not None
    assert keys() == [first, second]
    assert not {first, second} & set(keys(sizes=["16"]))

    class Longer(thumbnails._Manifest):
        kind: str

    monkeypatch.setattr(thumbnails, "_Manifest", Longer)  # what was told in another shape can't be joined
    assert not {first, second} & set(keys())


def test_a_film_by_itself_claims_the_memory_of_its_pictures(desk: Desk) -> None:
    (unit,) = OPERATION.plan(desk.bench((film(desk.folder / "a.mkv"),), "plan")).units
    assert unit.needs.memory_bytes > 100 << 20
    assert unit.key is None
