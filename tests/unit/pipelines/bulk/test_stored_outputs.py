"""Collections that are exported to object storage, processed to it, and imported from it: each kind of store."""

import io
import os
import zipfile
from typing import Any

import pyarrow.parquet as pq
import pytest
from object_server import ObjectServer
from PIL import Image
from unit.pipelines.bulk.desk import Desk, HereAndNow, report

from cluster import objects
from cluster.object_paths import object_path
from cluster.objects import STAGING
from cluster.roots import ObjectAccess
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_export import OPERATION as EXPORT
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.bulk.operations.collection_process import OPERATION as PROCESS
from pipelines.jobs.errors import InvalidError, UnitDroppedError
from pipelines.jobs.models import Unit

THUMBNAILS = {"task": "image-thumbnails", "task_params": {"sizes": ["16"]}}
A_DAY_IN_2026_S = 1_775_000_000


def picture(level: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 30), (level, 255 - level, 90)).save(made, "PNG")
    return made.getvalue()


def shoot(desk: Desk, *paths: str) -> None:
    for number, path in enumerate(paths):
        file = desk.library / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture(number))
        os.utime(file, (A_DAY_IN_2026_S, A_DAY_IN_2026_S))


@pytest.fixture
def stored(desk: Desk, server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """A store that may be read and written, none of whose objects counts as just written."""
    monkeypatch.setattr(objects, "SETTLED_S", -60.0)
    root = (object_path(server.uri()),)
    desk.objects = ObjectAccess(root, root, server.addresses, desk.home / "fetched", 1 << 30)
    return server


@pytest.fixture
def photos(desk: Desk, imported: Any) -> None:
    shoot(desk, "2019/beach.png", "2020/beach.png", "2020/hill.png")
    imported()


def exported(desk: Desk, output: str, **params: Any) -> dict[str, Any]:
    return desk.do(EXPORT, "collection:all", output=output, **params).result.model_dump()


def kept(stored: ObjectServer, prefix: str) -> dict[str, bytes]:
    """What is below a prefix, by name; but what Arrow leaves of staging."""
    names = [key for key in stored.keys(f"{prefix}/") if STAGING not in key]
    return {name.removeprefix(f"{prefix}/"): stored.get(name).content for name in names}


def catalogue(stored: ObjectServer, prefix: str) -> dict[str, str]:
    """The path of each file by what it is called there."""
    rows = pq.read_table(io.BytesIO(stored.get(f"{prefix}/catalogue.parquet").content)).to_pylist()
    return {row["exported"]: row["path"] for row in rows}


def test_files_and_their_catalogue_become_objects(desk, stored, photos):
    result = exported(desk, stored.uri("out"))
    assert (result["files"], result["copied"], result["failed"]) == (3, 3, 0)
    assert result["catalogue"] == stored.uri("out/catalogue.parquet")
    there = kept(stored, "out")
    assert {f"library/{path}": name for name, path in catalogue(stored, "out").items()} == {
        name: name for name in there if name != "catalogue.parquet"
    }
    assert there["library/2020/hill.png"] == (desk.library / "2020/hill.png").read_bytes()
    assert stored.get("out/library/2020/hill.png").headers["content-type"] == "image/png"


def test_what_was_exported_isn_t_again(desk, stored, photos, imported):
    exported(desk, stored.uri("out"), template="{name}")
    first = catalogue(stored, "out")
    shoot(desk, "2021/beach.png")
    imported()
    stored.requests.clear()
    result = exported(desk, stored.uri("out"), template="{name}")
    assert (result["copied"], result["known"]) == (1, 3)
    assert first.items() < catalogue(stored, "out").items()
    assert not any("hill" in request for request in stored.requests if request.startswith("PUT"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_object_of_that_name_is_replaced_if_that_is_asked_for(desk, stored, photos, overwrite):
    stored.put("out/hill.png", b"theirs")
    outcome = desk.do(
        EXPORT,
        "collection:all",
        output=stored.uri("out"),
        template="{name}",
        where="path LIKE '%hill.png'",
        overwrite=overwrite,
    )
    ours = (desk.library / "2020/hill.png").read_bytes()
    assert stored.get("out/hill.png").content == (ours if overwrite else b"theirs")
    if not overwrite:
        assert [row["code"] for row in report(outcome, "failed.jsonl")] == ["output_exists"]


def test_a_later_driver_goes_on(desk, stored, photos, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.exporting.export_plan._MOST_ROWS", 1)
    bench = desk.begin(EXPORT, "collection:all", output=stored.uri("out"))
    with pytest.raises(UnitDroppedError):
        EXPORT.run(bench, Unit(name=RUN), HereAndNow(EXPORT, bench, most=1))
    rest = HereAndNow(EXPORT, bench)
    assert EXPORT.run(bench, Unit(name=RUN), rest).copied == 3
    assert rest.sizes == [1, 1]


def test_an_archive_becomes_an_object(desk, stored, photos):
    exported(desk, stored.uri("out/photos.zip"))
    with zipfile.ZipFile(io.BytesIO(stored.get("out/photos.zip").content)) as archive:
        assert archive.read("library/2020/hill.png") == (desk.library / "2020/hill.png").read_bytes()
        assert len(archive.namelist()) == 4
    assert kept(stored, "out").keys() == {"photos.zip"}


def test_names_are_those_that_keys_are_taken_with(desk, s3, imported):
    root = (object_path(s3.uri()),)
    desk.objects = ObjectAccess(root, root, s3.addresses, desk.home / "fetched", 1 << 30)
    shoot(desk, "50%20off.png", "50_20off.png")
    imported()
    exported(desk, s3.uri("out"), template="{name}")
    assert catalogue(s3, "out").keys() == kept(s3, "out").keys() - {"catalogue.parquet"}
    assert sorted(catalogue(s3, "out").values()) == ["50%20off.png", "50_20off.png"]
    made = desk.do(PROCESS, "collection:all", output=s3.uri("small"), **THUMBNAILS).result
    assert (made.done, made.failed, len(kept(s3, "small"))) == (2, 0, 2)


def test_links_are_for_disks(desk, stored, photos):
    with pytest.raises(InvalidError, match="on a disk"):
        exported(desk, stored.uri("out"), link=True)


def test_what_an_operation_makes_becomes_objects_once(desk, stored, photos):
    result = desk.do(PROCESS, "collection:all", output=stored.uri("small"), **THUMBNAILS).result
    assert (result.done, result.failed, result.made) == (3, 0, 3)
    there = kept(stored, "small")
    assert there.keys() == {"2019/beach-16w.jpg", "2020/beach-16w.jpg", "2020/hill-16w.jpg"}
    with Image.open(io.BytesIO(there["2020/hill-16w.jpg"])) as made:
        assert made.width == 16
    stored.requests.clear()
    again = desk.do(PROCESS, "collection:all", output=stored.uri("small"), **THUMBNAILS).result
    assert (again.done, again.known) == (0, 3)
    assert not any(request.startswith(("PUT", "POST")) for request in stored.requests)


def test_an_object_that_another_program_made_is_told_and_tried_anew_by_the_next_job(desk, stored, photos):
    stored.put("small/2020/hill-16w.jpg", b"theirs")
    result = desk.do(PROCESS, "collection:all", output=stored.uri("small"), **THUMBNAILS).result
    assert (result.done, result.failed, result.place_faults, result.codes) == (2, 1, 1, {"output_exists": 1})
    result = desk.do(PROCESS, "collection:all", output=stored.uri("small"), overwrite=True, **THUMBNAILS).result
    assert (result.done, result.failed) == (1, 0)


@pytest.mark.parametrize("to", ["disk", "store", "archive"])
def test_a_collection_of_objects_is_imported_worked_on_and_exported(desk, stored, to):
    for number, key in enumerate(["2019/a.png", "2019/b.png", "c.png"]):
        stored.put(f"photos/{key}", picture(number))
    result = desk.do(IMPORT, f"{stored.uri('photos')}/", into="all").result
    assert (result.files, result.new, result.unreadable) == (3, 3, 0)
    again = desk.do(IMPORT, f"{stored.uri('photos')}/", into="all").result
    assert (again.new, again.changed) == (0, 0)
    checked = desk.do(PROCESS, "collection:all", task="checksum").result
    assert (checked.done, checked.failed) == (3, 0)
    output = {"disk": str(desk.out), "store": stored.uri("out"), "archive": str(desk.out / "photos.zip")}[to]
    result = exported(desk, output, template="{path}")
    assert (result["copied"], result["failed"]) == (3, 0)
    if to == "disk":
        found = (desk.out / "2019" / "b.png").read_bytes()
        assert exported(desk, output, template="{path}")["known"] == 3
    elif to == "store":
        found = stored.get("out/2019/b.png").content
    else:
        with zipfile.ZipFile(desk.out / "photos.zip") as archive:
            found = archive.read("2019/b.png")
    assert found == picture(1)
