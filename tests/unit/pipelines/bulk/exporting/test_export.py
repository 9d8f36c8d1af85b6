"""Exports from their plan to what is in the folder, or in the archive."""

import os
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from unit.pipelines.bulk.desk import HereAndNow, report

from cluster.errors import StorageError
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_export import OPERATION
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.jobs.errors import InvalidError, UnitDroppedError
from pipelines.jobs.models import Unit
from pipelines.media.collecting.archives import unpack

KINDS = ["zip", "tar"]
A_DAY_IN_2026_S = 1_775_000_000


def shoot(library: Path, *paths: str) -> None:
    """Make pictures, each of other bytes."""
    for path in paths:
        file = library / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(path.encode() * 1000)
        os.utime(file, (A_DAY_IN_2026_S, A_DAY_IN_2026_S))


@pytest.fixture
def photos(desk, imported):
    shoot(desk.library, "2019/beach.jpg", "2020/beach.jpg", "2020/hill.jpg")
    return imported()


def exported(desk, output: Path, **params: Any) -> dict[str, Any]:
    return desk.do(OPERATION, "collection:all", output=str(output), **params).result.model_dump()


def held(archive: Path) -> dict[str, bytes]:
    """What an archive holds, by name."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened_zip:
            return {name: opened_zip.read(name) for name in opened_zip.namelist()}
    with tarfile.open(archive) as opened_tar:
        return {info.name: opened_tar.extractfile(info).read() for info in opened_tar}


def pictures(library: Path) -> dict[str, bytes]:
    return {f"library/{path.relative_to(library)}": path.read_bytes() for path in library.rglob("*.jpg")}


def test_who_exports_into_what_is_imported_is_told(desk):
    shoot(desk.library, "2019/beach.jpg", "2020/hill.jpg")
    desk.do(IMPORT, desk.library / "2019", desk.library / "2020" / "hill.jpg", into="all")
    desk.out.mkdir()
    (desk.out / "link").symlink_to(desk.library / "2019")

    def warnings(output: Path) -> tuple[str, ...]:
        return OPERATION.plan(desk.begin(OPERATION, "collection:all", output=str(output))).warnings

    for inside in (desk.library / "2019" / "copies", desk.out / "link" / "copies"):
        assert "the next import takes it in" in warnings(inside)[0]
    for outside in (desk.out / "copies", desk.library / "2020" / "copies", desk.library / "2019" / "all.zip"):
        assert warnings(outside) == ()


@pytest.mark.parametrize("output", ["out", "out.zip"])
def test_what_was_unpacked_is_exported_like_any_file(desk, imported, output):
    shoot(desk.library, "2019/beach.jpg")
    with zipfile.ZipFile(desk.library / "photos.zip", "w") as packed:
        packed.write(desk.library / "2019" / "beach.jpg", "trip/hill.jpg")
    desk.do(IMPORT, desk.library / "photos.zip", into="all")
    told = exported(desk, desk.out / output)
    assert (told["copied"], told["failed"]) == (1, 0)


def test_what_is_imported_later_takes_no_name(desk, imported):
    shoot(desk.library, "2019/beach.jpg")
    imported()
    exported(desk, desk.out, template="{name}")
    shoot(desk.library, "2020/beach.jpg")
    imported()
    result = exported(desk, desk.out, template="{name}", where="path LIKE '2020/%'", overwrite=True)
    assert (result["copied"], result["failed"]) == (1, 0)
    assert (desk.out / "beach.jpg").read_bytes() == (desk.library / "2019/beach.jpg").read_bytes()
    rows = pq.read_table(desk.out / "catalogue.parquet").to_pylist()
    assert {row["path"]: (desk.out / row["exported"]).read_bytes() for row in rows} == {
        path: (desk.library / path).read_bytes() for path in ("2019/beach.jpg", "2020/beach.jpg")
    }
    assert exported(desk, desk.out, template="{name}")["known"] == 2


@pytest.mark.parametrize("link", [False, True])
def test_a_copy_of_a_file_that_was_edited_since_is_replaced(desk, photos, imported, link):
    exported(desk, desk.out, link=link)
    edited = desk.library / "2019/beach.jpg"
    edited.unlink()
    edited.write_bytes(b"edited" * 100)
    imported()
    result = exported(desk, desk.out, link=link)
    assert (result["copied"], result["known"], result["failed"]) == (1, 2, 0)
    assert (desk.out / "library/2019/beach.jpg").read_bytes() == b"edited" * 100


@pytest.mark.parametrize("change", [lambda copy: copy.write_bytes(b"mine"), os.utime], ids=["bytes", "time"])
def test_a_copy_that_somebody_changed_is_left_though_its_file_was_edited(desk, photos, imported, change):
    exported(desk, desk.out)
    copy = desk.out / "library/2019/beach.jpg"
    change(copy)
    theirs = copy.read_bytes()
    (desk.library / "2019/beach.jpg").write_bytes(b"edited" * 100)
    imported()
    result = exported(desk, desk.out)
    assert (result["copied"], result["known"], result["codes"]) == (0, 2, {"output_exists": 1})
    assert copy.read_bytes() == theirs


def test_a_later_driver_goes_on_with_the_same_files(desk, photos, imported, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.exporting.export_plan._MOST_ROWS", 1)
    bench = desk.begin(OPERATION, "collection:all", output=str(desk.out))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=1))
    shoot(desk.library, "2021/new.jpg")
    imported()
    later = bench.of(bench.params, bench.sources, bench.scratch.with_name("run.2"), {}, 1.0)
    rest = HereAndNow(OPERATION, later)
    result = OPERATION.run(later, Unit(name=RUN), rest)
    assert (result.files, result.copied, result.known) == (3, 3, 0)
    assert rest.sizes == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_holds_the_files_and_the_catalogue(desk, photos, kind):
    archive = desk.out / f"photos.{kind}"
    result = exported(desk, archive)
    inside = held(archive)
    rows = pq.read_table(BytesIO(inside.pop("catalogue.parquet"))).to_pylist()
    assert inside == pictures(desk.library)
    assert {row["exported"] for row in rows} == inside.keys()
    assert (result["files"], result["copied"], result["failed"]) == (3, 3, 0)
    assert result["catalogue"] == f"{archive}!catalogue.parquet"
    assert [path.name for path in desk.out.iterdir()] == [archive.name]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_can_be_imported(desk, photos, tmp_path, kind):
    exported(desk, desk.out / f"photos.{kind}", template="{name}", where="path LIKE '2020/%'")
    (tmp_path / "unpacked").mkdir()
    members = unpack(desk.out / f"photos.{kind}", tmp_path / "unpacked", (".jpg",)).members
    assert len(members) == 2
    assert {member.modified_s for member in members} == {A_DAY_IN_2026_S}


def test_an_archive_of_no_files_has_a_catalogue(desk, photos):
    exported(desk, desk.out / "none.zip", where="kind = 'audio'")
    assert held(desk.out / "none.zip").keys() == {"catalogue.parquet"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_into_an_archive_stays_when_its_driver_is_taken_away(desk, photos, kind, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.exporting.export_plan._MOST_ROWS", 1)
    archive = desk.out / f"photos.{kind}"
    bench = desk.begin(OPERATION, "collection:all", output=str(archive))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=2))
    assert not archive.exists()
    runner = HereAndNow(OPERATION, bench)
    result = OPERATION.run(bench, Unit(name=RUN), runner)
    assert (sum(runner.sizes), result.copied) == (1, 3)
    assert held(archive).items() >= pictures(desk.library).items()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"other")], ids=["gone", "changed"])
def test_an_archive_is_made_without_a_file_that_can_t_be_read(desk, photos, kind, change):
    change(desk.library / "2019/beach.jpg")
    outcome = desk.do(OPERATION, "collection:all", output=str(desk.out / f"photos.{kind}"))
    inside = held(desk.out / f"photos.{kind}")
    assert len(pq.read_table(BytesIO(inside.pop("catalogue.parquet")))) == 2
    assert inside.keys() == {"library/2020/beach.jpg", "library/2020/hill.jpg"}
    (failed,) = report(outcome, "failed.jsonl")
    assert (failed["target"], outcome.result.failed) == ("library/2019/beach.jpg", 1)
    assert [path.name for path in desk.out.iterdir()] == [f"photos.{kind}"]


def test_a_driver_that_is_taken_away_while_all_but_one_are_written_again_is_gone_on_from(desk, photos, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.exporting.export_plan._MOST_ROWS", 1)
    (desk.library / "2019/beach.jpg").unlink()
    bench = desk.begin(OPERATION, "collection:all", output=str(desk.out / "photos.zip"))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=4))
    assert len([*desk.out.iterdir()]) == 1
    runner = HereAndNow(OPERATION, bench)
    result = OPERATION.run(bench, Unit(name=RUN), runner)
    assert sum(runner.sizes) == 1
    assert (result.files, result.copied, result.failed) == (3, 2, 1)
    assert held(desk.out / "photos.zip").items() >= pictures(desk.library).items()
    assert [path.name for path in desk.out.iterdir()] == ["photos.zip"]


def test_an_archive_that_is_there_is_replaced_only_if_that_is_asked_for(desk, photos):
    desk.out.mkdir()
    archive = desk.out / "photos.zip"
    archive.write_bytes(b"mine")
    with pytest.raises(StorageError) as refused:
        exported(desk, archive)
    assert (refused.value.code, archive.read_bytes()) == ("output_exists", b"mine")
    exported(desk, archive, overwrite=True)
    assert len(held(archive)) == 4


def test_an_archive_that_got_its_name_before_its_driver_was_taken_away_is_done(desk, photos):
    bench = desk.begin(OPERATION, "collection:all", output=str(desk.out / "photos.zip"))
    first = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    made = (desk.out / "photos.zip").read_bytes()
    assert OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench)) == first
    assert (desk.out / "photos.zip").read_bytes() == made


def test_links_into_an_archive_are_refused(desk, photos):
    with pytest.raises(InvalidError, match="archive"):
        exported(desk, desk.out / "photos.zip", link=True)


def test_an_archive_outside_the_folders_that_may_be_written_is_refused(desk, photos):
    with pytest.raises(StorageError) as refused:
        exported(desk, desk.folder / "photos.zip")
    assert refused.value.code == "output_outside_roots"
    assert not (desk.folder / "photos.zip").exists()
