"""What sources hold: archives are unpacked into the collection, manifests name files, and bad ones are told."""

import json
import os
import tarfile
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from unit.pipelines.bulk.desk import DAY_S, HereAndNow, settle

from cluster import identity
from cluster.errors import ChildFailedError
from cluster.files import OpenFile
from cluster.identity import Identity
from pipelines.bulk.collection import FILES
from pipelines.bulk.driving import RUN
from pipelines.bulk.importing import Looked, seen_in
from pipelines.bulk.operations.collection_enrich import OPERATION as ENRICH
from pipelines.bulk.operations.collection_import import OPERATION
from pipelines.bulk.scanning import Seen
from pipelines.bulk.tasks import task_of
from pipelines.jobs.models import Unit


def picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (level, 255 - level, 90)).save(path)
    return path


def imported(desk, *sources: Path, **params):
    return desk.do(OPERATION, *sources, into="all", **params).result


def rows(desk) -> dict[str, dict]:
    return {row["path"]: row for row in desk.collection().files.read().to_pylist()}


@pytest.fixture
def archive(desk, tmp_path) -> Path:
    path = desk.library / "photos.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(3):
            zipped.write(picture(tmp_path / f"{number}.png", number), f"trip/{number}.png")
        zipped.writestr("trip/notes.txt", "notes")
    settle(desk.library)
    return path


def test_files_of_an_archive_are_rows_by_their_names_in_it(desk, archive):
    result = imported(desk, archive)
    assert (result.files, result.new, result.unreadable) == (3, 3, 0)
    assert list(rows(desk)) == [f"photos.zip!trip/{number}.png" for number in range(3)]
    row = rows(desk)["photos.zip!trip/1.png"]
    assert (row["root"], row["kind"], row["state"]) == (str(archive), "image", "present")
    assert Path(row["uri"]).is_relative_to(desk.collection().folder)


def test_what_was_unpacked_is_processed_like_any_file(desk, archive):
    imported(desk, archive)
    outcome = desk.do(ENRICH, "collection:all", what=("metadata", "checksums", "sidecars"))
    assert outcome.result.failed == 0
    assert len(desk.collection().results(task_of("image-analyze", {})).read()) == 3


def test_an_archive_that_stays_is_unpacked_once_and_one_that_changed_anew(desk, archive, tmp_path):
    imported(desk, archive)
    before = {path: row["uri"] for path, row in rows(desk).items()}
    files = [Path(uri).stat().st_ino for uri in before.values()]
    again = imported(desk, archive)
    assert (again.new, again.missing) == (0, 0)
    assert [Path(row["uri"]).stat().st_ino for row in rows(desk).values()] == files
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.write(picture(tmp_path / "9.png", 9), "trip/9.png")
    changed = imported(desk, archive)
    assert changed.files == 4
    present = {path for path, row in rows(desk).items() if row["state"] == "present"}
    assert "photos.zip!trip/9.png" in present
    assert not any(Path(uri).exists() for uri in before.values())


def test_a_tar_that_leads_out_is_refused_and_leaves_nothing(desk):
    with tarfile.open(desk.library / "bad.tar", "w") as archive:
        archive.add(picture(desk.library / "ok.png", 1), "ok.png")
        archive.add(desk.library / "ok.png", "../../evil.png")
    with pytest.raises(ChildFailedError, match="leads out"):
        imported(desk, desk.library / "bad.tar")
    assert not desk.collection().files.read().num_rows
    assert not list(desk.folder.rglob("evil.png"))
    assert not [path for path in desk.collection().folder.rglob("*") if path.suffix == ".png"]


def test_a_file_that_still_cant_be_read_hasnt_changed(desk):
    for name in ("empty.png", "filled.png"):
        (desk.library / name).touch()
    first = imported(desk, desk.library)
    assert (first.new, first.changed, first.unreadable) == (2, 0, 2)
    picture(desk.library / "filled.png", 1)
    settle(desk.library)
    again = imported(desk, desk.library)
    assert (again.new, again.changed, again.unreadable) == (0, 1, 1)


def test_of_several_sources_a_bad_one_is_a_row_with_the_reason(desk, archive):
    (desk.library / "broken.tar.gz").write_bytes(b"no archive")
    result = imported(desk, archive, desk.library / "broken.tar.gz")
    assert (result.files, result.unreadable) == (3, 1)
    assert "can't be unpacked" in rows(desk)["broken.tar.gz"]["message"]


def test_a_manifest_names_files_each_once(desk):
    for number in range(3):
        picture(desk.library / "sub" / f"{number}.png", number)
    absolute = desk.library / "sub" / "2.png"
    names = ["sub/0.png", "./sub/0.png", "sub/1.png", str(absolute), absolute.as_uri(), "sub/notes.txt"]
    (desk.library / "list.csv").write_text("\n".join(["path", *names]))
    result = imported(desk, desk.library / "list.csv")
    assert (result.files, result.unreadable) == (3, 0)
    assert {row["uri"] for row in rows(desk).values()} == {
        str(desk.library / "sub" / f"{number}.png") for number in range(3)
    }


def test_names_that_lead_nowhere_or_out_are_rows_with_the_reason(desk, tmp_path):
    picture(tmp_path / "outside.png", 1)
    names = ["none.png", "../outside.png", "s3://bucket/a.png", "\0.png"]
    (desk.library / "list.jsonl").write_text("\n".join(json.dumps({"uri": name}) for name in names))
    result = imported(desk, desk.library / "list.jsonl")
    assert (result.files, result.unreadable) == (0, 4)
    assert all(row["state"] == "unreadable" and row["message"] for row in rows(desk).values())


def test_a_manifest_with_wrong_columns_is_refused_with_those_that_it_has(desk):
    (desk.library / "list.csv").write_text("file,title\na,b\n")
    with pytest.raises(ChildFailedError, match="its columns are: file, title"):
        imported(desk, desk.library / "list.csv")


def test_what_a_manifest_names_no_more_is_missing(desk):
    for number in range(2):
        picture(desk.library / f"{number}.png", number)
    (desk.library / "list.csv").write_text("path\n0.png\n1.png\n")
    imported(desk, desk.library / "list.csv")
    (desk.library / "list.csv").write_text("path\n0.png\n")
    assert imported(desk, desk.library / "list.csv").missing == 1


def test_a_folder_with_the_name_of_an_archive_is_a_folder(desk):
    picture(desk.library / "photos.zip" / "a.png", 1)
    bench = desk.begin(OPERATION, desk.library / "photos.zip", into="all")
    assert [each.path for each in seen_in(bench, desk.collection(), frozenset({"image"}))] == ["a.png"]


def test_files_of_an_archive_keep_their_times(desk, archive):
    os.utime(archive)
    imported(desk, archive)
    (first, *_) = rows(desk).values()
    with zipfile.ZipFile(archive) as zipped:
        told = zipped.infolist()[0].date_time
    assert (first["modified_at"].year, first["modified_at"].minute) == (told[0], told[4])


def states(desk) -> dict[str, str]:
    return {path: row["state"] for path, row in rows(desk).items()}


def test_a_file_that_is_imported_alone_leaves_those_beside_it_where_they_are(desk):
    for name in ("a.png", "sub/b.png"):
        picture(desk.library / name, 1)
    imported(desk, desk.library)
    assert imported(desk, desk.library / "a.png").missing == 0
    assert states(desk) == {"a.png": "present", "sub/b.png": "present"}


def test_only_kinds_that_are_looked_for_can_be_missing(desk):
    picture(desk.library / "a.png", 1)
    (desk.library / "b.mkv").write_bytes(b"a film")
    imported(desk, desk.library)
    (desk.library / "a.png").unlink()
    assert imported(desk, desk.library, kinds=("video",)).missing == 0
    assert imported(desk, desk.library, kinds=("image",)).missing == 1
    assert states(desk) == {"a.png": "missing", "b.mkv": "present"}


def test_what_is_gone_from_a_folder_is_missing_however_it_was_imported_before(desk):
    picture(desk.library / "sub" / "a.png", 1)
    picture(desk.library / "sub" / "b.png", 2)
    imported(desk, desk.library)
    (desk.library / "sub" / "a.png").unlink()
    assert imported(desk, desk.library / "sub").missing == 1


def test_a_narrower_import_leaves_files_at_home_in_the_wider_folder(desk):
    path = picture(desk.library / "sub" / "a.png", 1)
    imported(desk, desk.library)
    picture(path, 9)
    assert imported(desk, desk.library / "sub").changed == 1
    assert imported(desk, path).files == 1
    assert {path: row["root"] for path, row in rows(desk).items()} == {"sub/a.png": str(desk.library)}


def test_what_lies_in_a_folder_that_can_t_be_read_any_more_isn_t_missing(desk, monkeypatch):
    picture(desk.library / "sub" / "a.png", 1)
    imported(desk, desk.library)
    real = os.scandir

    def denied(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        assert imported(desk, desk.library).missing == 0
    assert states(desk) == {"sub/a.png": "present", "sub": "unreadable"}
    imported(desk, desk.library)
    assert states(desk) == {"sub/a.png": "present", "sub": "missing"}


def test_an_archive_that_is_broken_now_tells_nothing_of_what_it_held(desk, archive):
    imported(desk, archive)
    picture(desk.library / "a.png", 1)
    archive.write_bytes(b"no archive")
    assert imported(desk, archive, desk.library).missing == 0
    assert [state for path, state in states(desk).items() if "!" in path] == ["present"] * 3


def test_what_is_closed_is_closed_with_all_that_is_below_and_nothing_beside():
    seen = [Seen("/a/b", "b", "/a", "other", problem="denied"), Seen("/a/x.jpg", "x.jpg", "/a", "image")]
    looked = replace(Looked.of([], seen, frozenset({"image"})), folders=("/a/",))
    assert looked.closed == {"/a/b"}
    found = {
        path: looked.would_find({"uri": path, "root": "/a", "kind": "image"})
        for path in ("/a/b/c/d.jpg", "/a/b/c.jpg", "/a/bc.jpg", "/a/c/b/d.jpg", "/b/c.jpg")
    }
    assert [*found.values()] == [False, False, True, True, False]


def test_a_disk_that_has_another_number_since_it_was_mounted_anew_isn_t_read_again(desk, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    for name in ("a.png", "b.png", "c.png"):
        (desk.library / name).write_bytes(name.encode())
    imported(desk, desk.library)
    files = desk.collection().files
    before = {row["path"]: row for row in files.read().to_pylist()}
    changed = {"a.png": f"9{before['a.png']['stamp']}", "b.png": f"{before['b.png']['stamp']}9"}
    rows = [{**before[path], "stamp": stamp, "at": datetime.now(UTC)} for path, stamp in changed.items()]
    files.append("remounted", pa.Table.from_pylist(rows, FILES))
    bench = desk.begin(OPERATION, desk.library, into="all")
    runner = HereAndNow(OPERATION, bench)
    result = OPERATION.run(bench, Unit(name=RUN), runner)
    assert (result.new, result.changed, runner.sizes) == (0, 1, [1])
    assert {row["path"]: row["stamp"] for row in files.read().to_pylist()} == {
        path: row["stamp"] for path, row in before.items()
    }


class Growing(HereAndNow):
    """A file grows after it was seen, and before it is read."""

    def __init__(self, bench, path: Path) -> None:
        super().__init__(OPERATION, bench)
        self._path = path

    def stream(self, listing, rows, batching, driver, slots):
        with self._path.open("ab") as file:
            file.write(b"more")
        long_ago_s = self._path.stat().st_mtime - DAY_S
        os.utime(self._path, (long_ago_s, long_ago_s))
        yield from super().stream(listing, rows, batching, driver, slots)


def test_size_and_time_are_of_the_bytes_that_were_read(desk):
    path = picture(desk.library / "a.png", 1)
    bench = desk.begin(OPERATION, desk.library, into="all")
    run: Any = OPERATION.run
    run(bench, Unit(name=RUN), Growing(bench, path))
    facts, row = path.stat(), rows(desk)["a.png"]
    assert row["size_bytes"] == facts.st_size
    assert row["modified_at"].timestamp() == pytest.approx(facts.st_mtime, abs=1e-3)


def test_a_file_that_changes_while_it_is_read_is_read_again_the_next_time(desk, monkeypatch):
    path = picture(desk.library / "a.png", 1)
    real = OpenFile.identity

    def changing(opened: OpenFile) -> Identity:
        told = real(opened)
        os.utime(path, (1e9, 1e9))
        return told

    with monkeypatch.context() as patch:
        patch.setattr(OpenFile, "identity", changing)
        patch.setattr("cluster.identity.SETTLED_S", -1.0)
        imported(desk, desk.library)
    assert rows(desk)["a.png"]["stamp"] is None
    assert imported(desk, desk.library).changed == 1


def test_a_file_that_several_sources_hold_is_one_row(desk):
    path = picture(desk.library / "sub" / "a.png", 1)
    result = imported(desk, desk.library, desk.library / "sub", path)
    assert (result.files, result.new, result.size_bytes) == (1, 1, path.stat().st_size)
    assert len(desk.collection().files.read()) == 1


def test_one_file_that_can_t_be_read_is_told_as_one(desk):
    (desk.library / "empty.png").touch()
    (told,) = desk.do(OPERATION, desk.library, into="all").warnings
    assert told.startswith("Files and folders that can't be read: 1.")
