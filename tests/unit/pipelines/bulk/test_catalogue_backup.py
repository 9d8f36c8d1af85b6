import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster import backup_file
from cluster.backup_file import BackupReader, new_backup, opened_backup
from cluster.errors import StorageError
from pipelines.bulk import catalogue_backup
from pipelines.bulk.catalogue_backup import (
    add_catalogues,
    check_catalogues,
    holds_catalogues,
    link_catalogues,
    restore_catalogues,
)
from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.tables import Table
from pipelines.bulk.tasks import task_of
from pipelines.bulk.trash import ENTRIES, Trash
from pipelines.bulk.watch_notes import begin_watch, imported, note_imported, watch_summary

ROWS = pa.schema({"key": pa.string(), "at": pa.timestamp("us", tz="UTC")})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "collections").mkdir(parents=True)
    return folder


def rows(*keys: str) -> pa.Table:
    return pa.Table.from_pylist([{"key": key, "at": datetime.now(UTC)} for key in keys], ROWS)


def backed_up(home: Path, target: Path) -> Path:
    linked = target.with_suffix(".linked")
    with new_backup(target, "test", check_catalogues, overwrite=False) as writer:
        link_catalogues(home, linked)
        add_catalogues(linked, writer, lambda _: None)
    return target


def restored(backup: Path, home: Path) -> Path:
    with opened_backup(backup) as reader:
        check_catalogues(reader)
        restore_catalogues(home, reader, lambda _: None)
    return home


@pytest.fixture
def kept(home: Path, tmp_path: Path) -> Collection:
    """A collection with files, results, artifacts, unpacked files, notes and a trash."""
    collection = Collection.named(home, "films")
    library = tmp_path / "library"
    library.mkdir()
    (library / "a.mkv").write_bytes(b"a film of the user")
    at = datetime.now(UTC)
    collection.files.append(
        "import", pa.Table.from_pylist([{"uri": "/films/a.mkv", "state": "present", "at": at}], collection.files.schema)
    )
    result = [{"identity": "1" * 64, "state": "done", "attempts": 1, "result": '{"a": 1}', "at": at}]
    collection.results(task_of("probe", {})).append("batch", pa.Table.from_pylist(result, RESULTS))
    for name in ("artifacts/probe-1/ab/still.png", "unpacked/0123/4567/00001.mkv"):
        (collection.folder / name).parent.mkdir(parents=True)
        (collection.folder / name).write_bytes(b"media of the user")
    note_imported(collection, [str(library)], ["video"])
    begin_watch(collection, "local")
    entry = {
        "path": str(library / "a.mkv"),
        "what": "broken",
        "why": "It is broken.",
        "modified_ns": 1,
        "size_bytes": 1,
    }
    trash = Trash(collection, home, (library,))
    trash.begin("run-1", pa.Table.from_pylist([entry], ENTRIES))
    trash.finish("run-1", lambda _: None)
    return collection


def test_a_collection_comes_back_with_all_that_is_known_of_it(kept, home, tmp_path):
    backup = backed_up(home, tmp_path / "backup.zip")
    there = Collection.named(restored(backup, tmp_path / "there"), "films")
    assert there.files.read() == kept.files.read()
    assert there.tasks() == kept.tasks()
    assert there.results(task_of("probe", {})).read() == kept.results(task_of("probe", {})).read()
    assert imported(there) == imported(kept)
    assert watch_summary(there) == watch_summary(kept)
    runs = Trash(there, tmp_path / "there", ()).runs()
    assert runs == ["run-1"]
    assert Trash(there, tmp_path / "there", ()).unfinished() == Trash(kept, home, ()).unfinished()


def test_no_media_is_in_it(kept, home, tmp_path):
    with opened_backup(backed_up(home, tmp_path / "backup.zip")) as reader:
        names = list(reader.manifest.members)
        assert reader.manifest.counts["collections"] == 1
    assert names
    assert {Path(name).suffix or Path(name).name for name in names} == {".parquet", ".json", "done"}
    assert not [name for name in names if "artifacts" in name or "unpacked" in name or "moved" in name]


def test_the_copy_is_of_when_it_was_made(home, tmp_path):
    table = Table(home / "collections" / "films" / "files", ROWS, "key")
    for number in range(5):
        table.append(f"part-{number}", rows(f"{number}"))
    link_catalogues(home, tmp_path / "linked")
    table.append("later", rows("later"))
    table.compact()
    linked = Table(tmp_path / "linked" / "collections" / "films" / "files", ROWS, "key")
    assert sorted(linked.read()["key"].to_pylist()) == ["0", "1", "2", "3", "4"]


def test_no_row_is_missing_while_parts_come_and_are_put_together(home, tmp_path):
    table = Table(home / "collections" / "films" / "files", ROWS, "key")
    table.append("first", rows("first"))
    stop, written = threading.Event(), 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            table.append(f"part-{written}", rows(f"{written}"))
            written += 1
            if written % 4 == 0:
                table.compact()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(40):
            before = written
            link_catalogues(home, tmp_path / f"{number}")
            linked = Table(tmp_path / f"{number}" / "collections" / "films" / "files", ROWS, "key")
            assert {"first", *map(str, range(before))} <= {*linked.read()["key"].to_pylist()}
    finally:
        stop.set()
        writing.join()


def test_a_part_that_is_listed_by_neither_name_isn_t_lost(home, tmp_path, monkeypatch):
    """A listing that misses the packed part, since it came behind, and those that went into it, since they are gone."""
    folder = home / "collections" / "films" / "files"
    table = Table(folder, ROWS, "key")
    table.append("a", rows("a"))
    table.append("b", rows("b"))
    honest, looks = catalogue_backup._found, []

    def torn(of: Path) -> dict[str, int]:
        if of == folder and not looks:
            looks.append(of)
            table.compact()
            return {}
        return honest(of)

    monkeypatch.setattr(catalogue_backup, "_found", torn)
    link_catalogues(home, tmp_path / "linked")
    linked = Table(tmp_path / "linked" / "collections" / "films" / "files", ROWS, "key")
    assert sorted(linked.read()["key"].to_pylist()) == ["a", "b"]


def test_a_table_that_never_stays_the_same_is_told(kept, home, tmp_path, monkeypatch):
    numbers = iter(range(10**6))
    monkeypatch.setattr(catalogue_backup, "_found", lambda _: {f"{next(numbers)}.parquet": 1})
    with pytest.raises(StorageError) as told:
        link_catalogues(home, tmp_path / "linked")
    assert told.value.code == "collection_busy"


def test_a_collection_that_is_removed_meanwhile_is_left_out(kept, home, tmp_path, monkeypatch):
    gone = kept.folder / "files"
    honest = catalogue_backup._found

    def found(folder: Path) -> dict[str, int]:
        names = honest(folder)
        if folder == gone and gone.exists():
            kept.folder.rename(tmp_path / "removed")
        return names

    monkeypatch.setattr(catalogue_backup, "_found", found)
    backup = backed_up(home, tmp_path / "backup.zip")
    there = restored(backup, tmp_path / "there")
    assert not (there / "collections" / "films" / "files").exists()


def test_without_links_parts_are_copied(kept, home, tmp_path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(backup_file.os, "link", refuse)
    linked = tmp_path / "linked"
    link_catalogues(home, linked)
    monkeypatch.undo()
    assert Collection(linked / "collections" / "films").files.read() == kept.files.read()


def test_a_link_in_a_collection_is_not_followed(kept, home, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("geheim")
    (kept.folder / "note.json").symlink_to(secret)
    backup = backed_up(home, tmp_path / "backup.zip")
    assert b"geheim" not in backup.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "collections/films/artifacts/a.parquet",
        "collections/films/unpacked/a.parquet",
        "collections/films/files/a.py",
        "collections/films/.hidden/a.parquet",
        "collections/Films/files/a.parquet",
        "collections/a.parquet",
        "trash/films/run/moved/a.parquet",
        "trash/films/done",
        "collections/films/done",
    ],
)
def test_a_name_that_no_catalogue_has_is_refused(tmp_path, name):
    (tmp_path / "a").write_bytes(b"x")

    def write(check: Callable[[BackupReader], None]) -> None:
        with new_backup(tmp_path / "backup.zip", "test", check, overwrite=False) as writer:
            writer.file(name, tmp_path / "a")

    with pytest.raises(StorageError) as told:
        write(check_catalogues)
    assert told.value.code == "backup_refused"


def test_an_empty_home_holds_no_catalogues(home, kept):
    assert holds_catalogues(home)
    assert not holds_catalogues(home.parent / "another")
