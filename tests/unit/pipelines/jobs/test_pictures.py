"""Jobs on pictures, against the real child and real files."""

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from unit.pipelines.jobs.operating import place

from cluster import identity
from cluster.child import MediaChild
from cluster.errors import ChildCrashedError, ChildFailedError, StorageError
from cluster.roots import Roots
from pipelines.jobs import pictures
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.operations import image_convert
from pipelines.jobs.operations.image_thumbnails import OPERATION, Params
from pipelines.jobs.workbench import Finished, Workbench

SLEEP = time.sleep


@dataclass
class Desk:
    """Plans, does and joins a job without a queue."""

    folder: Path
    child: Any
    params: dict[str, Any] = field(default_factory=lambda: {"sizes": ["32"], "format": "png"})
    slots: int = 2

    def bench(self, sources: tuple[Path, ...], name: str = "unit") -> Workbench:
        return place(
            self.folder,
            Roots((self.folder,), (self.folder,)),
            params=Params(**self.params),
            sources=tuple(map(str, sources)),
            scratch=self.folder / "scratch" / name,
            child=self.child,
            cpus=2,
            slots=self.slots,
        )

    def plan(self, *sources: Path) -> Plan:
        return OPERATION.plan(self.bench(sources, "plan"))

    def run(self, unit: Unit) -> Finished:
        bench = self.bench((), unit.name)
        manifest = OPERATION.run(bench, unit).model_dump(mode="json")
        return Finished(bench.scratch, manifest, unit.payload)

    def do(self, *sources: Path) -> Outcome:
        units = {unit.name: self.run(unit) for unit in self.plan(*sources).units}
        outcome = OPERATION.join(self.bench(sources, "join"), units)
        assert isinstance(outcome, Outcome)
        return outcome


@pytest.fixture
def desk(tmp_path, child):
    return Desk(tmp_path, child)


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def names(outcome: Outcome) -> list[str]:
    return [made.name for made in outcome.made if not made.own]


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    (report,) = [made.path for made in outcome.made if made.own]
    return [json.loads(line) for line in report.read_text().splitlines()]


def test_a_folder_is_mirrored_without_what_is_no_picture_or_hidden(desk, tmp_path):
    photos = tmp_path / "photos"
    for name in ("b.jpg", "a.png", "2019/c.PNG", ".hidden/d.png", ".e.png"):
        picture(photos / name)
    (photos / "notes.txt").write_text("no picture")
    assert names(desk.do(photos)) == ["a-32w.png", "b-32w.png", "2019/c-32w.png"]


def test_results_made_in_the_folder_are_none_of_its_pictures(desk, tmp_path):
    picture(tmp_path / "photos" / "a.png")
    picture(tmp_path / "photos" / "small" / "a-32w.png")
    desk.params |= {"output": str(tmp_path / "photos" / "small"), "overwrite": True}
    assert names(desk.do(tmp_path / "photos")) == ["a-32w.png"]


def test_pictures_of_one_name_get_names_of_their_own(desk, tmp_path):
    sources = [picture(tmp_path / name) for name in ("beach.jpg", "beach.png", "x/sea.png", "y/sea.png")]
    assert names(desk.do(*sources)) == [
        *("beach-jpg-32w.png", "beach-png-32w.png"),
        *("sea-png-32w.png", "sea-png-2-32w.png"),
    ]


def test_each_file_shows_its_own_picture(desk, tmp_path):
    colours = ["red", "lime", "blue", "white", "black", "yellow", "cyan", "magenta", "gray", "orange"]
    desk.slots = 1
    sources = [picture(tmp_path / f"{colour}.png", colour) for colour in colours]
    outcome = desk.do(*sources)
    report, *pictures = outcome.made
    assert report.own
    assert [made.name for made in pictures] == [f"{colour}-32w.png" for colour in colours]
    for made, colour in zip(pictures, colours, strict=True):
        assert Image.open(made.path).convert("RGB").getpixel((5, 5)) == Image.new("RGB", (1, 1), colour).getpixel(
            (0, 0)
        )


def test_it_is_told_how_many_an_earlier_job_had_done(desk, tmp_path):
    sources = [picture(tmp_path / f"{number}.png") for number in range(40)]
    units = {unit.name: desk.run(unit) for unit in desk.plan(*sources).units}
    first = units["pictures-0000"]
    units["pictures-0000"] = replace(first, reused=True)
    outcome = OPERATION.join(desk.bench(tuple(sources), "join"), units)
    assert 0 < outcome.result.reused == len(first.payload["pictures"]) < 40


def test_a_broken_picture_is_a_row_and_holds_up_no_other(desk, tmp_path):
    good = [picture(tmp_path / f"{number}.png") for number in range(3)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    missing = tmp_path / "missing.png"
    outcome = desk.do(good[0], broken, good[1], missing, good[2])
    assert [row["error"] and row["error"]["code"] for row in rows(outcome)] == [
        *(None, "source_unreadable", None, "source_not_found", None)
    ]
    assert (outcome.result.count, outcome.result.failed, len(names(outcome))) == (5, 2, 3)
    assert outcome.warnings[0].startswith("2 of 5 pictures could not be done")


def test_a_picture_that_is_gone_or_empty_is_a_row_and_holds_up_no_other(desk, tmp_path):
    (tmp_path / "empty.jpg").touch()
    outcome = desk.do(tmp_path / "empty.jpg", picture(tmp_path / "good.png"), tmp_path / "gone.jpg")
    assert names(outcome) == ["good-32w.png"]
    assert [row["error"] and row["error"]["code"] for row in rows(outcome)] == [
        "source_empty",
        None,
        "source_not_found",
    ]


def test_what_several_pictures_are_warned_of_names_the_first(desk, tmp_path):
    desk.params |= {"sizes": ["100", "200"]}
    sources = [picture(tmp_path / name, size=size) for name, size in (("a.png", (300, 300)), ("b.png", (64, 48)))]
    (warning,) = desk.do(*sources).warnings
    assert warning.startswith(f"1 of 2 pictures, the first {tmp_path}/b.png: The renditions 100w, 200w are alike")


def test_of_one_converted_picture_a_command_shows_what_was_chosen():
    own = {"files": [{}], "warnings": ["a"], "format": "webp", "quality": 80, "candidates": [{"note": ""}]}
    shown = image_convert.OPERATION.told({"count": 1, "pictures": [{"result": own}]})
    assert shown == {"format": "webp", "quality": 80}


def test_a_job_without_one_good_picture_fails(desk, tmp_path):
    broken = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in broken:
        path.write_bytes(b"no picture")
    with pytest.raises(ChildFailedError, match="None of 2 pictures") as failed:
        desk.do(*broken)
    assert failed.value.code == "not_media"


def test_one_picture_that_is_none_fails_at_planning(desk, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ChildFailedError) as failed:
        desk.plan(tmp_path / "a.png")
    assert failed.value.code == "not_media"


class Deadly:
    """The real child, which one picture ends."""

    def __init__(self, child: MediaChild, name: str) -> None:
        self._child, self._name, self.calls = child, name, 0

    def call(self, *given: Any, **more: Any) -> Any:
        return self._child.call(*given, **more)

    def call_each(self, function: str, arguments: Any, each: Any, result: Any, **more: Any) -> Any:
        self.calls += 1
        if function.endswith("thumbnails") and any(own["source"].name == self._name for own in each):
            # To kill it first and call then would race with its end: a child that is found dead is started anew.
            self._child.close()
            raise ChildCrashedError("killed by a picture")
        return self._child.call_each(function, arguments, each, result, **more)


def test_a_picture_that_ends_the_child_is_found_and_told(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", SLEEP)  # the library waits for the ended process
    sources = [picture(tmp_path / f"{number}.png") for number in range(8)]
    desk.child = Deadly(desk.child, "5.png")
    outcome = desk.do(*sources)
    assert [row["name"] for row in rows(outcome) if row["error"]] == ["5"]
    assert rows(outcome)[5]["error"]["code"] == "child_crashed"
    assert len(names(outcome)) == 7


def test_many_pictures_are_cut_into_batches_of_work(desk, tmp_path):
    for number in range(100):
        picture(tmp_path / "photos" / f"{number:03d}.png", size=(8, 8))
    plan = desk.plan(tmp_path / "photos")
    sizes = [len(unit.payload["pictures"]) for unit in plan.units]
    assert sum(sizes) == 100
    assert len(sizes) >= 4 * desk.slots
    assert plan.explain["pictures"] == 100


def test_a_batch_has_an_address_when_its_files_are_settled(desk, tmp_path, monkeypatch):
    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", "blue")]
    assert [unit.key for unit in desk.plan(*sources).units] == [None]
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    (first,) = desk.plan(*sources).units
    (again,) = desk.plan(*sources).units
    assert first.key == again.key is not None
    os.utime(sources[0], (1, 1))
    (touched,) = desk.plan(*sources).units
    assert touched.key != first.key
    desk.params["quality"] = 33
    (other,) = desk.plan(*sources).units
    assert other.key != touched.key


def test_a_batch_that_was_told_in_another_shape_is_another(desk, tmp_path, monkeypatch):
    class Longer(pictures.Manifest):
        kind: str

    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", "blue")]
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    (first,) = desk.plan(*sources).units
    monkeypatch.setattr(pictures, "Manifest", Longer)
    (other,) = desk.plan(*sources).units
    assert first.key != other.key is not None


def test_a_large_picture_among_many_is_claimed_for(desk, tmp_path):
    for number in range(60):
        picture(tmp_path / "photos" / f"{number:03d}.png", size=(8, 8))
    small = desk.plan(tmp_path / "photos").units[0].needs
    Image.new("L", (8000, 7000)).save(tmp_path / "photos" / "033.png", compress_level=0)
    large = desk.plan(tmp_path / "photos").units[0].needs
    assert (small.memory_bytes, small.cpus) == (0, 0)
    assert large.memory_bytes > 56_000_000 * 4


def test_frames_that_are_all_held_are_claimed_for(desk, tmp_path):
    frames = [Image.new("RGB", (1000, 1000), colour) for colour in ("red", "lime", "blue", "white") * 20]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True, method=0)
    sources = tmp_path / "moving.webp", picture(tmp_path / "a.png")
    still = desk.plan(*sources).units[0].needs.memory_bytes
    desk.params |= {"animated": True}
    assert desk.plan(*sources).units[0].needs.memory_bytes > max(still, 80 * 4_000_000)


def test_a_folder_without_pictures_is_refused(desk, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError) as refused:
        desk.plan(tmp_path / "empty")
    assert refused.value.code == "source_empty"


def test_no_source_is_replaced(desk, tmp_path):
    source = picture(tmp_path / "a-32w.png")
    named = picture(tmp_path / "a.png")
    desk.params |= {"output": str(tmp_path), "overwrite": True}
    with pytest.raises(StorageError) as refused:
        desk.do(source, named)
    assert refused.value.code == "output_is_source"


def test_the_result_of_many_tells_those_that_failed_first_and_the_report_tells_all(desk, tmp_path):
    sources = [picture(tmp_path / f"{number:03d}.png", size=(8, 8)) for number in range(60)]
    sources[57].write_bytes(b"no picture")
    outcome = desk.do(*sources)
    assert len(outcome.result.pictures) == 50
    assert outcome.result.pictures[0].name == "057"
    assert [row["name"] for row in rows(outcome)] == [f"{number:03d}" for number in range(60)]


def test_names_that_were_made_up_are_taken_once(desk, tmp_path):
    sources = [picture(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg", "z/a-jpg-2.png")]
    assert len(set(names(desk.do(*sources)))) == 3


class Ailing(Deadly):
    """The real child, which dies as often as is said before it does its work."""

    def __init__(self, child: MediaChild, times: int) -> None:
        super().__init__(child, "")
        self.times = times

    def call_each(self, function: str, arguments: Any, each: Any, result: Any, **more: Any) -> Any:
        if function.endswith("thumbnails") and self.times:
            self.times -= 1
            raise ChildCrashedError("killed from outside")
        return self._child.call_each(function, arguments, each, result, **more)


def test_a_picture_whose_child_was_killed_is_tried_again(desk, tmp_path):
    desk.child = Ailing(desk.child, times=1)
    assert names(desk.do(picture(tmp_path / "a.png"))) == ["a-32w.png"]


def test_a_batch_of_which_nothing_could_be_done_is_a_failed_unit(desk, tmp_path):
    desk.child = Ailing(desk.child, times=99)
    (unit,) = desk.plan(picture(tmp_path / "a.png"), picture(tmp_path / "b.png")).units
    with pytest.raises(ChildFailedError) as failed:
        desk.run(unit)
    assert failed.value.code == "child_crashed"


@pytest.mark.parametrize(("times", "lasting"), [(0, True), (3, False)])
def test_a_batch_with_a_failure_that_another_try_may_mend_isn_t_kept(desk, tmp_path, times, lasting):
    (unit,) = desk.plan(picture(tmp_path / "a.png"), picture(tmp_path / "b.png")).units
    desk.child = Ailing(desk.child, times)  # both, then the first alone, and once more
    assert desk.run(unit).manifest["lasting"] is lasting


def test_a_batch_of_which_a_picture_couldn_t_be_opened_isn_t_kept(desk, tmp_path):
    """What is wrong with a place may be mended, and the picture is the same."""
    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")]
    (unit,) = desk.plan(*sources).units
    sources[1].rename(tmp_path / "away.png")
    done = desk.run(unit)
    assert [error and error["code"] for error in done.manifest["errors"]] == [None, "source_not_found"]
    assert done.manifest["lasting"] is False


def test_a_batch_with_a_broken_picture_is_kept(desk, tmp_path):
    sources = [picture(tmp_path / "a.png"), tmp_path / "b.png"]
    sources[1].write_bytes(b"no picture")
    (unit,) = desk.plan(*sources).units
    assert desk.run(unit).manifest["lasting"] is True


def test_what_of_a_folder_has_no_name_in_text_is_left_out_with_a_warning(desk, tmp_path):
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    plan = desk.plan(tmp_path / "photos")
    assert plan.explain["pictures"] == 1
    assert "caf" in plan.warnings[0]
    plan.model_dump_json()


def test_names_that_are_too_long_or_hold_control_characters_become_writable(desk, tmp_path):
    long, line = tmp_path / "photos" / ("ü" * 124 + ".png"), tmp_path / "photos" / "new\nline.png"
    for path in (long, line):
        picture(path)
    made = names(desk.do(tmp_path / "photos"))
    assert made[0] == "new_line-32w.png"
    assert len(os.fsencode(made[1])) < 220


def test_pictures_of_formats_that_are_not_read_are_told(desk, tmp_path):
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.HEIC").write_bytes(b"x")
    assert "b.HEIC" in desk.plan(tmp_path / "photos").warnings[0]
    (tmp_path / "raws").mkdir()
    (tmp_path / "raws" / "c.nef").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"c\.nef"):
        desk.plan(tmp_path / "raws")


@pytest.mark.parametrize(("overwrite", "code"), [(False, "output_exists"), (True, "output_is_source")])
def test_outputs_that_are_there_are_found_before_the_work(desk, tmp_path, overwrite, code):
    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "a-32w.png")]
    desk.params |= {"output": str(tmp_path), "overwrite": overwrite}
    with pytest.raises(StorageError) as refused:
        desk.plan(*sources)
    assert refused.value.code == code


def test_progress_never_counts_twice_what_is_done_again(desk, tmp_path):
    told = []
    (unit,) = desk.plan(*[picture(tmp_path / f"{number}.png") for number in range(8)]).units
    bench = desk.bench((), unit.name)
    bench._on_progress = lambda progress: told.append(progress["fraction"])
    bench._child = Ailing(desk.child, times=1)
    OPERATION.run(bench, unit)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == 8
