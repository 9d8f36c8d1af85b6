"""Cleaning up: what is listed is exactly what goes, nothing that is of use goes, and all of it comes back."""

import json
import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import media_factory as factory
import pyarrow as pa
import pytest
from pydantic import ValidationError
from unit.pipelines.bulk.desk import HereAndNow, report, settle
from unit.pipelines.bulk.mixed import THUMBNAILS, listed, mixed_library, names
from unit.pipelines.bulk.test_duplicates import scene
from unit.pipelines.bulk.test_trash import rows_of, state_of

from cluster import identity
from cluster.errors import StorageError
from pipelines.bulk import digests
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations import collection_cleanup
from pipelines.bulk.operations.collection_cleanup import OPERATION, Params
from pipelines.bulk.operations.collection_import import OPERATION as IMPORT
from pipelines.bulk.operations.collection_process import OPERATION as PROCESS
from pipelines.bulk.tasks import task_of
from pipelines.bulk.trash import Trash
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Unit

EVERYTHING = ("missing", "orphaned", "temporary", "broken", "duplicates", "similar")


@pytest.fixture
def library(desk, imported) -> Path:
    return mixed_library(desk, imported)


def artifacts_of(desk, name: str) -> list[Path]:
    (row,) = [row for row in desk.collection().files.read().to_pylist() if Path(row["uri"]).name == name]
    return sorted((desk.collection().folder / "artifacts").rglob(f"{row['identity']}*"))


def test_each_kind_is_told_by_itself(desk, library):
    assert names(listed(desk, "missing")) == {"gone.png": "missing"}
    assert list(listed(desk, "broken")) == [str(library / "broken.png")]
    assert list(listed(desk, "duplicates")) == [str(library / "1x.png")]
    assert list(listed(desk, "similar", distance=8)) == [str(library / "0-small.jpg"), str(library / "1x.png")]
    assert [Path(path).name[-14:] for path in listed(desk, "temporary")] == [".mediaray-part"]
    assert listed(desk, "orphaned") == {}


def test_artifacts_are_orphans_once_no_row_is_left_of_their_file(desk, library):
    (thumbnail,) = artifacts_of(desk, "gone.png")
    assert listed(desk, "missing", "orphaned") == {str(library / "gone.png"): "missing", str(thumbnail): "orphaned"}


def test_by_default_nothing_is_touched(desk, library):
    assert Params().dry_run
    before, rows = state_of(desk.library), rows_of(desk.collection())
    listed(desk, *EVERYTHING)
    assert (state_of(desk.library), rows_of(desk.collection())) == (before, rows)
    assert not (desk.home / "trash").exists()


def test_a_dry_run_lists_exactly_what_a_real_run_does_and_all_of_it_comes_back(desk, library):
    collection = desk.collection()
    before, rows = state_of(desk.library), rows_of(collection)
    thumbnails = state_of(collection.folder / "artifacts")
    results = collection.results(task_of(*THUMBNAILS.values())).read(("identity", "state")).sort_by("identity")

    dry = report(desk.do(OPERATION, "collection:all", what=EVERYTHING), "cleanup.jsonl")
    real = desk.do(OPERATION, "collection:all", what=EVERYTHING, dry_run=False)
    assert report(real, "cleanup.jsonl") == dry
    assert {row["what"] for row in dry} == set(EVERYTHING)
    gone = {row["path"] for row in dry}
    assert {str(library / name) for name in set(before) - set(state_of(desk.library))} == {
        path for path in gone if path.startswith(str(library)) and "gone" not in path
    }
    assert set(rows) - set(rows_of(collection)) == {path for path in gone if path in rows}
    assert report(desk.do(OPERATION, "collection:all", what=EVERYTHING), "cleanup.jsonl") == []

    restored = desk.do(OPERATION, "collection:all", restore=True, dry_run=False)
    assert sorted(row["path"] for row in report(restored, "cleanup.jsonl")) == sorted(gone)
    assert (state_of(desk.library), rows_of(collection)) == (before, rows)
    assert state_of(collection.folder / "artifacts") == thumbnails
    assert collection.results(task_of(*THUMBNAILS.values())).read(("identity", "state")).sort_by("identity") == results


def test_a_best_copy_that_goes_itself_keeps_the_others(desk, imported):
    """Two forms of a film of which the better one is found broken: the other must not go for its sake."""
    scene(1).save(desk.library / "good.png")
    scene(1, 240, 160).save(desk.library / "large.png")
    settle(desk.library)
    collection = imported()
    desk.do(PROCESS, "collection:all", task="image-analyze")
    (large,) = [row for row in collection.files.read().to_pylist() if "large" in row["uri"]]
    table = collection.results(task_of("probe", {}))
    failed = {"identity": large["identity"], "state": "failed", "code": "source_unreadable", "at": large["at"]}
    table.append("told", pa.Table.from_pylist([failed | {"message": "Damaged."}], table.schema))
    outcome = desk.do(OPERATION, "collection:all", what=("broken", "similar"), distance=16)
    assert [Path(row["path"]).name for row in report(outcome, "cleanup.jsonl")] == ["large.png"]
    assert "goes itself" in report(outcome, "kept.jsonl")[0]["why"]


def test_a_copy_that_changed_since_its_import_stays(desk, library):
    scene(9).save(library / "1x.png")
    scene(8).save(library / "broken.png")
    outcome = desk.do(OPERATION, "collection:all", what=("broken", "duplicates"), dry_run=False)
    assert report(outcome, "cleanup.jsonl") == []
    assert {Path(row["path"]).name for row in report(outcome, "kept.jsonl")} >= {"broken.png"}
    assert (library / "broken.png").exists()
    assert "kept.jsonl" in outcome.warnings[0]


def test_a_folder_that_is_imported_under_two_names_loses_nothing(desk, imported):
    """A link to a folder, as the second name that a file has: the same is told of a disk that is mounted twice."""
    real, named = desk.library / "real", desk.library / "named"
    real.mkdir()
    scene(1).save(real / "only.png")
    settle(desk.library)
    named.symlink_to(real)
    imported(real, named)
    assert listed(desk, *EVERYTHING, dry_run=False) == {}
    assert (real / "only.png").exists()


def test_what_is_the_servers_own_is_nothing_that_a_file_goes_for(desk, imported):
    """A larger form of a picture, unpacked from an archive: it goes with the collection."""
    scene(1).save(desk.library / "small.png")
    own = desk.collection().folder / "unpacked" / "large.png"
    own.parent.mkdir(parents=True)
    scene(1, 240, 160).save(own)
    imported(desk.library, own.parent)
    outcome = desk.do(OPERATION, "collection:all", what=("duplicates", "similar"), distance=16)
    assert report(outcome, "cleanup.jsonl") == []
    assert "this server alone" in report(outcome, "kept.jsonl")[0]["why"]


def test_a_copy_that_changed_since_it_was_compared_stays(desk, library, monkeypatch):
    """It changed, and was imported again, after the copies were found and before they are listed."""
    real = collection_cleanup.find_groups

    def find_groups(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        (library / "1x.png").write_bytes((library / "1.png").read_bytes()[:-1] + b"x")
        settle(library)
        desk.do(IMPORT, library, into="all")
        return found

    monkeypatch.setattr(collection_cleanup, "find_groups", find_groups)
    assert listed(desk, "duplicates", dry_run=False) == {}
    assert (library / "1x.png").exists()


def test_a_disk_that_fails_meanwhile_loses_no_good_copy(desk, imported, monkeypatch):
    """A byte flipped since the dry run read both; the file system notes nothing of it."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    for name in ("a.bin", "b.bin"):
        (desk.library / name).write_bytes(bytes(3 << 20))
    settle(desk.library)
    imported()
    assert names(listed(desk, "duplicates")) == {"b.bin": "duplicates"}
    real = digests.each_of

    def flipped(*given: Any) -> Any:
        for each in real(*given):
            flips = "a.bin" in each.source
            yield replace(each, result={**each.result, "blake3": "00"}) if flips else each

    monkeypatch.setattr(digests, "each_of", flipped)
    assert listed(desk, "duplicates", dry_run=False) == {}
    assert (desk.library / "b.bin").exists()


def test_files_that_can_t_be_looked_at_are_told(desk, imported, monkeypatch):
    """No copies are listed then, which is no sign that there are none."""

    def refused(*_: Any) -> Any:
        raise StorageError("source_unreadable", "Input/output error.")

    for name in ("a.bin", "b.bin"):
        (desk.library / name).write_bytes(b"the same")
    settle(desk.library)
    imported()
    monkeypatch.setattr(digests, "each_of", refused)
    outcome = desk.do(OPERATION, "collection:all", what=("duplicates",))
    assert report(outcome, "cleanup.jsonl") == []
    assert outcome.warnings[0].startswith("2 files can't be looked at")


def test_what_is_read_only_stays(desk, library, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    outcome = desk.do(OPERATION, "collection:all", what=("broken",))
    assert report(outcome, "cleanup.jsonl") == []
    assert "may not write" in report(outcome, "kept.jsonl")[0]["why"]


def test_only_what_lies_in_a_folder_goes(desk, library):
    (library / "sub").mkdir()
    shutil.move(library / "1x.png", library / "sub" / "1x.png")
    shutil.copy(library / "3.png", library / "3x.png")
    desk.do(IMPORT, library, into="all")
    assert names(listed(desk, "duplicates")) == {"1x.png": "duplicates", "3x.png": "duplicates"}
    assert names(listed(desk, "duplicates", "orphaned", folder=str(library / "sub"))) == {"1x.png": "duplicates"}


def test_only_files_that_may_be_the_same_as_one_in_the_folder_are_read(desk, imported, monkeypatch):
    read: list[str] = []
    real = digests.each_of

    def each_of(declared: Any, bench: Any, params: Any, sources: Any) -> Any:
        read.extend(Path(source).name for source in sources)
        return real(declared, bench, params, sources)

    monkeypatch.setattr(digests, "each_of", each_of)
    for folder, name, size in [("", "a", 10), ("sub", "b", 10), ("", "c", 20), ("other", "d", 20), ("sub", "e", 30)]:
        path = desk.library / folder / f"{name}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
    settle(desk.library)
    imported()
    found = listed(desk, "duplicates", folder=str(desk.library / "sub"), dry_run=False)
    assert names(found) == {"b.bin": "duplicates"}
    assert sorted(read) == ["a.bin", "b.bin"]


@pytest.mark.parametrize(("folder", "told"), [("sub", "absolute"), ("s3://films/a/", "a folder on disk")])
def test_a_folder_that_isn_t_one_on_disk_is_refused_with_the_parameters(folder, told):
    with pytest.raises(ValidationError, match=told):
        Params(folder=folder)


def test_a_cleanup_that_goes_on_after_a_kill_tells_all_that_stays(desk, library, monkeypatch):
    (library / "broken.png").touch()  # so it isn't what was imported
    what = ("missing", "broken", "duplicates")
    bench = desk.begin(OPERATION, "collection:all", what=what, dry_run=False)

    def killed(*_: Any, **__: Any) -> None:
        raise UnitDroppedError

    with monkeypatch.context() as patched:
        patched.setattr(collection_cleanup, "find_groups", lambda *_, **__: ([], 2))
        patched.setattr(Trash, "finish", killed)
        with pytest.raises(UnitDroppedError):
            OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    result = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.paths, result.kept, result.unknown) == (1, 1, 2)
    (kept,) = map(json.loads, (bench.scratch / "kept.jsonl").read_text().splitlines())
    assert Path(kept["path"]).name == "broken.png"


def test_staged_files_of_a_running_job_and_young_ones_stay(desk, library):
    job = str(uuid.uuid4())
    running = library / f".a.mkv.{job}-1.mediaray-part"
    running.write_bytes(b"staged")
    settle(library)
    (desk.home / "scratch" / job).mkdir()
    (library / f".b.mkv.{uuid.uuid4()}-1.mediaray-part").write_bytes(b"staged now")
    assert len(listed(desk, "temporary")) == 1


def test_names_that_aren_t_utf_8_are_left_alone(desk, library):
    odd = os.fsencode(library) + b"/.caf\xe9." + str(uuid.uuid4()).encode() + b"-1.mediaray-part"
    Path(os.fsdecode(odd)).write_bytes(b"staged")
    settle(library)
    assert len(listed(desk, "temporary")) == 1


def test_a_film_that_validate_found_broken_is_broken(desk, imported):
    film = factory.film(desk.library / "film.mp4")
    film.write_bytes(film.read_bytes()[:-2000])
    factory.film(desk.library / "whole.mp4")
    settle(desk.library)
    imported()
    desk.do(PROCESS, "collection:all", task="validate")
    assert names(listed(desk, "broken")) == {"film.mp4": "broken"}


def test_the_report_has_what_a_person_asks_for(desk, library):
    outcome = desk.do(OPERATION, "collection:all", what=("duplicates",))
    (row,) = report(outcome, "cleanup.jsonl")
    assert row.keys() == {"what", "path", "size_bytes", "why", "best"}
    assert row["best"] == str(library / "1.png")
    assert json.loads(outcome.result.model_dump_json())["size_bytes"] == (library / "1x.png").stat().st_size
