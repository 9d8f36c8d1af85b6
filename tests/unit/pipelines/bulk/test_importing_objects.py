"""Collections of objects in a store: what is below a prefix, in archives and manifests there, and work on it."""

import io
import zipfile
from pathlib import Path

import pytest
from object_server import BUCKET, ObjectServer
from PIL import Image
from unit.pipelines.bulk.desk import Desk, report

from cluster import objects
from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess
from pipelines.bulk.operations.collection_cleanup import OPERATION as CLEANUP
from pipelines.bulk.operations.collection_enrich import OPERATION as ENRICH
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.bulk.operations.collection_process import OPERATION as PROCESS
from pipelines.bulk.tasks import task_of

PHOTOS = f"s3://{BUCKET}/photos"


def picture(level: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 30), (level, 255 - level, 90)).save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def stored(desk: Desk, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A bucket with some pictures, none of which counts as just written."""
    monkeypatch.setattr(objects, "SETTLED_S", -60.0)
    desk.objects = ObjectAccess((object_path(PHOTOS),), (), s3.addresses, desk.home / "fetched", 1 << 30)
    for number, key in enumerate(["2019/a.png", "2019/b.png", "c.png"]):
        s3.put(f"photos/{key}", picture(number))
    for key in ("photos/notes.txt", "photos/.hidden/d.png", "photos2/e.png"):
        s3.put(key, picture(9))
    return desk


def imported(desk: Desk, *sources: str):
    return desk.do(IMPORT, *sources, into="all").result


def rows(desk: Desk) -> dict[str, dict]:
    return {row["path"]: row for row in desk.collection().files.read().to_pylist()}


def test_what_is_below_a_prefix_becomes_rows(stored):
    result = imported(stored, f"{PHOTOS}/")
    assert (result.files, result.new, result.unreadable, result.kinds) == (3, 3, 0, {"image": 3})
    assert list(rows(stored)) == ["2019/a.png", "2019/b.png", "c.png"]
    row = rows(stored)["2019/b.png"]
    assert (row["uri"], row["root"], row["state"]) == (f"{PHOTOS}/2019/b.png", PHOTOS, "present")
    assert row["size_bytes"] == len(picture(1))


def test_an_object_is_named_by_itself(stored):
    assert imported(stored, f"{PHOTOS}/c.png").files == 1
    assert rows(stored)["c.png"]["root"] == PHOTOS


def test_what_stayed_is_told_by_the_list_alone(stored, s3):
    imported(stored, f"{PHOTOS}/")
    s3.put("photos/c.png", picture(200))
    s3.put("photos/new.png", picture(201))
    s3.requests.clear()
    result = imported(stored, f"{PHOTOS}/")
    assert result.new == 1
    assert not [request for request in s3.requests if request.endswith(("a.png", "b.png"))]


def test_what_went_is_missing(stored, s3):
    imported(stored, f"{PHOTOS}/")
    s3.empty()
    s3.put("photos/c.png", picture(2))
    assert imported(stored, f"{PHOTOS}/").missing == 2
    assert {path: row["state"] for path, row in rows(stored).items()} == {
        "2019/a.png": "missing",
        "2019/b.png": "missing",
        "c.png": "present",
    }


def test_of_objects_a_cleanup_takes_rows_of_those_that_an_import_found_gone(stored, s3):
    imported(stored, f"{PHOTOS}/")
    stored.do(PROCESS, "collection:all", task="image-thumbnails", task_params={"sizes": ["20"]})
    s3.empty()
    for number, key in enumerate(["2019/a.png", "2019/b.png"]):
        s3.put(f"photos/{key}", picture(number))
    s3.put("photos/nothing.png", b"")
    imported(stored, f"{PHOTOS}/")
    before = sorted(rows(stored))
    listed = report(stored.do(CLEANUP, "collection:all"), "cleanup.jsonl")
    assert [each["path"] for each in listed if each["what"] == "missing"] == [f"{PHOTOS}/c.png"]
    stored.do(CLEANUP, "collection:all", dry_run=False)
    assert sorted(rows(stored)) == ["2019/a.png", "2019/b.png", "nothing.png"]
    stored.do(CLEANUP, "collection:all", restore=True, dry_run=False)
    assert sorted(rows(stored)) == before


def test_an_object_is_no_file_that_goes(stored, s3):
    s3.put("photos/nothing.png", b"")
    imported(stored, f"{PHOTOS}/")
    outcome = stored.do(CLEANUP, "collection:all", what=("broken", "duplicates", "temporary"), dry_run=False)
    assert report(outcome, "cleanup.jsonl") == []
    assert [each["path"] for each in report(outcome, "kept.jsonl")] == [f"{PHOTOS}/nothing.png"]
    assert "only rows go" in report(outcome, "kept.jsonl")[0]["why"]


def test_what_was_imported_is_worked_on(stored):
    imported(stored, f"{PHOTOS}/")
    outcome = stored.do(ENRICH, "collection:all", what=("metadata", "checksums", "sidecars"))
    assert outcome.result.failed == 0
    assert len(stored.collection().results(task_of("image-analyze", {})).read()) == 3
    made = stored.do(PROCESS, "collection:all", task="image-thumbnails", task_params={"sizes": ["20"]}).result
    assert (made.done, made.failed, made.made) == (3, 0, 3)


def test_what_changed_since_is_not_worked_on(stored, s3):
    imported(stored, f"{PHOTOS}/")
    s3.put("photos/c.png", picture(2) + b"more")
    result = stored.do(PROCESS, "collection:all", task="checksum").result
    assert (result.done, result.codes) == (2, {"source_outdated": 1})


def test_archives_and_manifests_in_a_store_are_looked_into(stored, s3, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "trip.zip", "w") as zipped:
        zipped.writestr("trip/1.png", picture(50))
    s3.put("photos/trip.zip", tmp_path / "trip.zip")
    s3.put("photos/list.csv", b"path\n2019/a.png\nnone.png\n")
    result = imported(stored, f"{PHOTOS}/trip.zip", f"{PHOTOS}/list.csv")
    assert (result.files, result.unreadable) == (2, 1)
    found = {row["uri"]: row["state"] for row in rows(stored).values()}
    assert found[f"{PHOTOS}/2019/a.png"] == "present"
    assert found[f"{PHOTOS}/none.png"] == "unreadable"
    assert rows(stored)["trip.zip!trip/1.png"]["root"] == f"{PHOTOS}/trip.zip"


def test_a_prefix_outside_the_roots_is_refused(stored, s3):
    s3.requests.clear()
    with pytest.raises(StorageError) as refused:
        imported(stored, f"s3://{BUCKET}/")
    assert refused.value.code == "source_outside_roots"
    assert s3.requests == []
