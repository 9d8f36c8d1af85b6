"""Operations done here and now with each of some sources: as jobs of them would come out."""

from dataclasses import replace
from pathlib import Path

import media_factory as factory
import pytest
from PIL import Image
from pydantic import BaseModel
from unit.pipelines.jobs.operating import bench, planned

from cluster.errors import ChildFailedError
from pipelines.jobs.catalogue import Each, Operation
from pipelines.jobs.inline import each_of, parts_of, seconds_of
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.operations import image_thumbnails, probe, scenes, storyboard, thumbnails
from pipelines.jobs.workbench import Workbench


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    for number in range(3):
        Image.new("RGB", (90, 60), (number, 50, 50)).save(tmp_path / f"{number}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return [str(tmp_path / name) for name in ("0.jpg", "broken.jpg", "1.jpg", "none.jpg", "2.jpg")]


@pytest.fixture
def film(tmp_path: Path) -> str:
    return str(factory.film(tmp_path / "film.mp4", frames=50))


def done(operation: Operation, child, sources: list[str], **params) -> list[Each]:
    at = bench(operation, Path(sources[0]), child, **params)
    return list(each_of(operation, at, operation.params(**params), sources))


def test_of_many_sources_each_has_its_result_or_its_error(child, photos):
    made = {each.source: each for each in done(image_thumbnails.OPERATION, child, photos, sizes=["30"])}
    assert list(made) == photos
    assert [Path(source).name for source, each in made.items() if each.error] == ["broken.jpg", "none.jpg"]
    first = made[photos[0]]
    assert [file.name for file in first.made] == ["-30w.jpg"]
    assert Image.open(first.made[0].path).size == (30, 20)
    assert first.result is not None
    assert first.result["files"][0]["width"] == 30


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    """So many that they are two units."""
    for number in range(16):
        Image.new("RGB", (90, 60), (number, 50, 50)).save(tmp_path / f"many-{number:02d}.jpg")
    return sorted(map(str, tmp_path.glob("many-*.jpg")))


def test_what_a_unit_made_is_told_before_the_next_one_begins(child, many):
    begun: list[str] = []
    operation = watched(begun)
    parts = parts_of(operation, bench(operation, Path(many[0]), child), operation.params(sizes=["30"]), many)
    first = next(parts)
    assert begun == ["pictures-0000"]
    assert [each.source for part in (first, *parts) for each in part] == many
    assert begun == ["pictures-0000", "pictures-0001"]


def test_of_many_whose_second_unit_fails_only_its_own_are_done_one_by_one(child, many):
    begun: list[str] = []
    operation = watched(begun, fails="pictures-0001")
    made = list(each_of(operation, bench(operation, Path(many[0]), child), operation.params(sizes=["30"]), many))
    assert [each.source for each in made] == many
    assert not any(each.error for each in made)
    assert begun == ["pictures-0000", "pictures-0001", *["pictures-0000"] * 8]


def watched(begun: list[str], fails: str = "") -> Operation:
    """``image-thumbnails``, whose units are noted as they begin."""
    real = image_thumbnails.OPERATION

    def run(at: Workbench, unit: Unit) -> BaseModel:
        begun.append(unit.name)
        if unit.name == fails:
            raise ChildFailedError("encode_failed", "No.", {})
        return real.run(at, unit)

    return replace(real, run=run)


def test_one_that_takes_long_is_but_planned(child, film):
    at = bench(probe.OPERATION, Path(film), child)
    ((each,),) = parts_of(probe.OPERATION, at, probe.OPERATION.params(), [film], most_s=0.0)
    assert each.plan is not None
    assert [unit.name for unit in each.plan.units] == [
        unit.name for unit in planned(probe.OPERATION, Path(film), child).units
    ]
    assert (each.result, each.error) == (None, None)


def test_a_source_alone_is_done_as_one_of_many(child, photos):
    (each,) = done(image_thumbnails.OPERATION, child, photos[:1], sizes=["30"])
    assert [file.name for file in each.made] == ["-30w.jpg"]
    (each,) = done(image_thumbnails.OPERATION, child, photos[1:2], sizes=["30"])
    assert each.error is not None
    assert each.error.code == "source_unreadable"


def test_stills_of_films_go_into_a_folder_of_each(child, film):
    (each,) = done(thumbnails.OPERATION, child, [film], count=2)
    assert all(file.name.startswith("/") and file.path.is_file() for file in each.made)
    assert len(each.made) == 2


def test_an_operation_on_one_source_is_done_with_each_in_turn(child, film, photos):
    good, broken = done(probe.OPERATION, child, [film, photos[1]])
    assert good.result is not None
    assert good.result["streams"]
    assert broken.error is not None


def test_what_is_made_is_named_by_what_follows_the_source_s_name(child, film):
    (each,) = done(storyboard.OPERATION, child, [film])
    assert each.made
    assert all(file.name.startswith(("/", ".", "-")) for file in each.made)


def test_a_full_disk_is_no_source_s_fault(child, photos, monkeypatch):
    def full(*_: object) -> None:
        raise ChildFailedError("disk_full", "No space left.", {})

    operation = image_thumbnails.OPERATION
    monkeypatch.setattr("pipelines.jobs.inline._unit", full)
    with pytest.raises(ChildFailedError, match="No space left"):
        done(operation, child, photos[:1])


def test_a_plan_takes_as_long_as_its_units_and_a_join_that_takes_its_time():
    units = (Unit(name="a", needs=Needs(seconds=0.25)), Unit(name="b", needs=Needs(seconds=2)))
    assert seconds_of(Plan(units=units)) == 2.25
    assert seconds_of(Plan(units=units, join=Needs(seconds=3))) == 5.25


def test_what_a_join_finds_wrong_with_a_source_is_told_of_it(child, film, tmp_path):
    content = Path(film).read_bytes()
    begin = content.index(b"mdat") + 4
    size = int.from_bytes(content[begin - 8 : begin - 4]) - 8
    blank = tmp_path / "blank.mp4"
    blank.write_bytes(content[:begin] + bytes(size) + content[begin + size :])
    first, second = done(scenes.OPERATION, child, [str(blank), film])
    assert first.error is not None
    assert first.error.code == "source_unreadable"
    assert second.error is None
