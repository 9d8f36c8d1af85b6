"""The trash: what goes comes back byte for byte, whatever is killed on the way, and nothing else is touched."""

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import StorageError
from cluster.identity import listed_stamp_of
from pipelines.bulk import moving
from pipelines.bulk.collection import Collection
from pipelines.bulk.trash import ENTRIES, OF_FILES, Trash
from pipelines.bulk.upkeep import remove


def silent(_: float) -> None: ...


def entry_of(path: Path, **more: Any) -> dict[str, Any]:
    facts = path.lstat()
    told = {"path": str(path), "what": "broken", "why": "It is.", "size_bytes": facts.st_size}
    return {**told, "modified_ns": facts.st_mtime_ns, "table": OF_FILES, "key": str(path), **more}


def threw(trash: Trash, run: str, *entries: dict[str, Any]) -> Any:
    trash.begin(run, pa.Table.from_pylist(list(entries), ENTRIES))
    return trash.finish(run, silent)


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and times of all files below."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(collection: Collection) -> dict[str, str]:
    return {row["uri"]: row["state"] for row in collection.files.read(("uri", "state")).to_pylist()}


@pytest.fixture
def files(desk) -> list[Path]:
    paths = [desk.library / f"{number % 2}" / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(100 + number))
        os.utime(path, ns=(10**18, 10**18 + number))
    return paths


@pytest.fixture
def trash(desk, files, imported) -> Trash:
    collection = imported()
    return Trash(collection, desk.home, (desk.library, collection.folder))


def test_what_goes_is_gone_from_the_folder_and_the_catalogue_and_comes_back_as_it_was(desk, files, trash):
    before, rows = state_of(desk.library), rows_of(desk.collection())
    moved = threw(trash, "run", *map(entry_of, files[:4]))
    assert (len(moved.moved), moved.left) == (4, [])
    assert sorted(state_of(desk.library)) == ["0/4.jpg", "1/5.jpg"]
    assert sorted(rows_of(desk.collection())) == sorted(map(str, files[4:]))
    restored = trash.restore("run", silent)
    assert (len(restored.moved), restored.left) == (4, [])
    assert state_of(desk.library) == before
    assert rows_of(desk.collection()) == rows
    assert trash.runs() == []
    assert not list((desk.home / "trash").rglob("*.parquet"))


def test_a_row_that_came_back_isn_t_taken_for_unchanged_by_its_stamp(desk, files, trash):
    threw(trash, "run", entry_of(files[0]))
    trash.restore("run", silent)
    (row,) = [row for row in desk.collection().files.read().to_pylist() if row["uri"] == str(files[0])]
    assert row["stamp"] is None


class Killed(BaseException):
    """As SIGKILL does: nothing of what follows is done."""


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before or after the rename, link or removal with this number."""
    count = 0

    def counted(function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                raise Killed
            done = function(*given, **named)
            count += 1
            if count == step:
                raise Killed
            return done

        return call

    monkeypatch.setattr(os, "rename", counted(os.rename))
    monkeypatch.setattr(os, "link", counted(os.link))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("step", range(1, 29))
def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(desk, files, trash, monkeypatch, step):
    before = state_of(desk.library)
    trash.begin("run", pa.Table.from_pylist(list(map(entry_of, files[:4])), ENTRIES))
    with monkeypatch.context() as patched:
        killed_at(step, patched)
        try:
            trash.finish("run", silent)
        except Killed:
            assert trash.unfinished() == ["run"]
    if trash.unfinished():
        trash.finish("run", silent)
    assert sorted(state_of(desk.library)) == ["0/4.jpg", "1/5.jpg"]
    assert sorted(rows_of(desk.collection())) == sorted(map(str, files[4:]))
    trash.restore("run", silent)
    assert state_of(desk.library) == before


@pytest.mark.parametrize("step", range(1, 41))
def test_a_restore_that_was_killed_anywhere_is_finished_by_the_next(desk, files, trash, monkeypatch, step):
    before, rows = state_of(desk.library), rows_of(desk.collection())
    threw(trash, "run", *map(entry_of, files[:4]))
    with monkeypatch.context() as patched:
        killed_at(step, patched)
        try:
            trash.restore("run", silent)
        except Killed:
            assert trash.runs() == ["run"] or state_of(desk.library) == before
    for run in trash.runs():
        assert trash.restore(run, silent).left == []
    assert state_of(desk.library) == before
    assert rows_of(desk.collection()) == rows


def test_what_was_killed_half_way_can_be_restored_at_once_and_isn_t_finished_then(desk, files, trash, monkeypatch):
    before, rows = state_of(desk.library), rows_of(desk.collection())
    trash.begin("run", pa.Table.from_pylist(list(map(entry_of, files)), ENTRIES))
    with monkeypatch.context() as patched:
        killed_at(6, patched)
        with pytest.raises(Killed):
            trash.finish("run", silent)
    trash.restore("run", silent)
    assert (state_of(desk.library), rows_of(desk.collection())) == (before, rows)
    assert trash.unfinished() == []


def test_a_file_that_changed_meanwhile_stays(desk, files, trash):
    entry = entry_of(files[0])
    files[0].write_bytes(b"another")
    moved = threw(trash, "run", entry, entry_of(files[1]))
    assert [path for path, _ in moved.left] == [str(files[0])]
    assert files[0].read_bytes() == b"another"
    assert str(files[0]) in rows_of(desk.collection())


def test_what_is_there_again_isn_t_replaced(desk, files, trash):
    threw(trash, "run", entry_of(files[0]), entry_of(files[1]))
    files[0].write_bytes(b"new")
    restored = trash.restore("run", silent)
    assert [path for path, _ in restored.left] == [str(files[0])]
    assert files[0].read_bytes() == b"new"
    files[0].unlink()
    assert trash.restore("run", silent).left == []
    assert len(files[0].read_bytes()) == 100


@pytest.fixture
def copy(desk, files, trash) -> dict[str, Any]:
    """The entry of a file that goes since another one stays."""
    return entry_of(files[1], best=str(files[0]), best_stamp=listed_stamp_of(files[0].stat()).digest)


def test_a_copy_goes_while_its_best_is_there(files, trash, copy):
    assert threw(trash, "run", copy).moved == [str(files[1])]


@pytest.mark.parametrize("what", ["gone", "changed", "replaced"])
def test_a_copy_stays_if_its_best_is_not_there_any_more_as_it_was(files, trash, copy, what):
    if what == "changed":
        files[0].write_bytes(b"another")
    else:
        files[0].unlink()
    if what == "replaced":
        files[0].write_bytes(files[1].read_bytes())
        os.utime(files[0], ns=(10**18, 10**18))
    ((_, why),) = threw(trash, "run", copy).left
    assert "the best of these copies" in why
    assert files[1].exists()


def test_a_copy_that_became_its_best_itself_stays(files, trash, copy):
    files[0].unlink()
    files[0].hardlink_to(files[1])
    ((_, why),) = threw(trash, "run", copy).left
    assert "is the same file" in why
    assert files[1].exists()


def test_a_copy_whose_best_went_with_it_comes_back(files, trash, copy, monkeypatch):
    """As of one file under two names that nothing tells to be one; or if another cleanup moves the best meanwhile."""
    before, real = files[1].read_bytes(), os.rename

    def rename(*given: Any, **named: Any) -> None:
        real(*given, **named)
        files[0].unlink()

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        assert len(threw(trash, "run", copy).left) == 1
    assert files[1].read_bytes() == before


def test_nothing_is_moved_through_a_link(desk, files, trash, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jpg").write_bytes(b"x")
    (desk.library / "linked").symlink_to(elsewhere)
    (desk.library / "link.jpg").symlink_to(elsewhere / "x.jpg")
    entries = entry_of(desk.library / "linked" / "x.jpg"), entry_of(desk.library / "link.jpg")
    assert len(threw(trash, "run", *entries).left) == 2
    assert (elsewhere / "x.jpg").exists()
    assert (desk.library / "link.jpg").is_symlink()


def test_nothing_comes_back_through_a_folder_that_became_a_link(desk, files, trash, tmp_path):
    threw(trash, "run", *map(entry_of, files[0::2]))
    (desk.library / "0").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (desk.library / "0").symlink_to(tmp_path / "elsewhere")
    assert len(trash.restore("run", silent).left) == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_outside_the_roots_is_moved(desk, files, trash, tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"x")
    ((_, why),) = threw(trash, "run", entry_of(tmp_path / "outside.jpg")).left
    assert "outside the roots" in why
    assert (tmp_path / "outside.jpg").exists()


def test_a_folder_that_is_gone_is_made_again(desk, files, trash):
    threw(trash, "run", *map(entry_of, files[0::2]))
    (desk.library / "0").rmdir()
    assert trash.restore("run", silent).left == []
    assert files[0].exists()


def test_a_row_without_a_file_goes_and_comes_back(desk, files, imported):
    files[0].unlink()
    collection = imported()
    assert not files[0].exists()
    trash = Trash(collection, desk.home, (desk.library,))
    row = {
        "path": str(files[0]),
        "what": "missing",
        "why": "x",
        "size_bytes": 1,
        "table": OF_FILES,
        "key": str(files[0]),
    }
    threw(trash, "run", row)
    assert str(files[0]) not in rows_of(collection)
    trash.restore("run", silent)


def on_another_disk(home: Path, monkeypatch: pytest.MonkeyPatch, read_only: Path | None = None) -> None:
    """What lies in ``home`` is; and ``read_only``, but nothing below it, can't be written."""
    stat, access = Path.stat, os.access

    def told(path: Path, **named: Any) -> Any:
        facts = stat(path, **named)
        if path.is_relative_to(home):
            return os.stat_result([*facts[:2], facts.st_dev + 1, *facts[3:]])
        return facts

    monkeypatch.setattr(Path, "stat", told)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != read_only and access(path, mode))


def test_on_another_file_system_the_trash_is_beside_the_library(desk, files, trash, monkeypatch):
    with monkeypatch.context() as patched:
        on_another_disk(desk.home, patched)
        trash.begin("run", pa.Table.from_pylist([entry_of(files[0])], ENTRIES))
    trash.finish("run", silent)
    (moved,) = (desk.library / ".mediaray-trash" / "all-run").iterdir()
    assert moved.stat().st_size == 100
    trash.restore("run", silent)
    assert not (desk.library / ".mediaray-trash").exists()


@pytest.fixture
def away(desk, files, trash, monkeypatch) -> Path:
    """The trash of a disk that isn't mounted any more, with two files in it."""
    with monkeypatch.context() as patched:
        on_another_disk(desk.home, patched)
        trash.begin("run", pa.Table.from_pylist(list(map(entry_of, files[:2])), ENTRIES))
    trash.finish("run", silent)
    desk.library.rename(desk.library.with_name("away"))
    desk.library.mkdir()
    return desk.library.with_name("away")


def test_what_is_in_the_trash_of_a_disk_that_is_away_isn_t_forgotten(desk, files, trash, away):
    assert trash.to_empty("run") == trash.empty("run")
    emptied = trash.empty("run")
    assert (emptied.moved, [path for path, _ in emptied.left]) == ([], [str(path) for path in files[:2]])
    assert "isn't mounted" in emptied.left[0][1]
    assert trash.to_restore("run").left == trash.restore("run", silent).left == emptied.left
    assert trash.files(outside=desk.home) == [str(path) for path in files[:2]]
    desk.library.rmdir()
    away.rename(desk.library)
    assert len(trash.restore("run", silent).moved) == 2
    assert files[0].stat().st_size == 100


def test_a_collection_with_files_in_the_trash_of_a_disk_that_is_away_isn_t_removed(desk, away):
    with pytest.raises(StorageError) as refused:
        remove(desk.collection(), desk.home)
    assert refused.value.code == "collection_in_trash"


def test_a_trash_that_is_gone_for_good_is_forgotten_once_its_folder_is_made_anew(desk, trash, away):
    (desk.library / ".mediaray-trash" / "all-run").mkdir(parents=True)
    assert trash.empty("run").left == []
    assert trash.runs() == []


def test_only_what_is_old_enough_is_emptied(desk, files, trash):
    threw(trash, "run", entry_of(files[0]))
    assert trash.older_than(1) == []
    assert trash.older_than(0) == ["run"]
    assert trash.empty("run").moved == [str(files[0])]
    assert trash.runs() == []
    assert [path for path in (desk.home / "trash").rglob("*") if path.is_file()] == []


def test_of_a_run_only_what_lay_in_a_folder_comes_back_or_is_removed_for_good(desk, files, trash):
    before, rows = state_of(desk.library), rows_of(desk.collection())
    threw(trash, "run", *map(entry_of, files))
    assert len(trash.restore("run", silent, desk.library / "0").moved) == 3
    assert sorted(state_of(desk.library)) == ["0/0.jpg", "0/2.jpg", "0/4.jpg"]
    assert sorted(rows_of(desk.collection())) == [str(path) for path in files[0::2]]
    assert trash.empty("run", desk.library / "0").moved == []
    assert len(trash.restore("run", silent).moved) == 3
    assert (state_of(desk.library), rows_of(desk.collection())) == (before, rows)
    assert trash.runs() == []


def test_what_comes_back_of_one_folder_leaves_a_run_that_was_broken_off_to_be_finished(desk, files, trash, monkeypatch):
    trash.begin("run", pa.Table.from_pylist(list(map(entry_of, files)), ENTRIES))
    with monkeypatch.context() as patched:
        killed_at(3, patched)
        with pytest.raises(Killed):
            trash.finish("run", silent)
    trash.restore("run", silent, desk.library / "0")
    assert trash.unfinished() == ["run"]
    trash.finish("run", silent)
    assert sorted(state_of(desk.library)) == ["0/0.jpg", "0/2.jpg", "0/4.jpg"]
    assert trash.unfinished() == []


@pytest.mark.parametrize("does", ["restore", "empty"])
def test_a_run_that_is_forgotten_is_never_taken_for_one_that_was_broken_off(files, trash, monkeypatch, does):
    """Else who is told of it has the files that came back go once more."""
    threw(trash, "run", entry_of(files[0]))
    removed = shutil.rmtree

    def killed_after_its_mark(folder: Path) -> None:
        if (folder / "done").exists():
            (folder / "done").unlink()
            raise Killed
        removed(folder)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed_after_its_mark)
        with pytest.raises(Killed):
            trash.restore("run", silent) if does == "restore" else trash.empty("run")
    assert trash.unfinished() == []
    assert trash.runs() == []


def test_what_a_run_would_do_is_told_without_doing_it(desk, files, trash):
    threw(trash, "run", *map(entry_of, files[:2]))
    files[1].write_bytes(b"new")
    before = state_of(desk.folder)
    restores = trash.to_restore("run")
    assert (restores.moved, [path for path, _ in restores.left]) == ([str(files[0])], [str(files[1])])
    assert trash.to_empty("run").moved == [str(files[0]), str(files[1])]
    assert state_of(desk.folder) == before
    assert trash.restore("run", silent) == restores


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_copy_is_not_removed_for_good_once_its_best_is_not_there_any_more(files, trash, copy, what):
    threw(trash, "run", copy)
    if what == "gone":
        files[0].unlink()
    else:
        files[0].write_bytes(b"another")
    ((_, why),) = trash.empty("run").left
    assert "isn't there any more" in why
    assert trash.restore("run", silent).moved == [str(files[1])]


def test_a_copy_is_removed_for_good_with_the_one_that_it_went_for_if_that_went_for_another(files, trash, copy):
    better = entry_of(files[0], best=str(files[2]), best_stamp=listed_stamp_of(files[2].stat()).digest)
    assert len(threw(trash, "run", copy, better).moved) == 2
    assert len(trash.empty("run").moved) == 2


def test_of_several_runs_as_much_is_removed_for_good_as_was_told_whichever_comes_first(files, trash, copy):
    threw(trash, "2", copy)
    threw(trash, "1", entry_of(files[0], best=str(files[2]), best_stamp=listed_stamp_of(files[2].stat()).digest))
    told = [trash.to_empty(run) for run in trash.runs()]
    assert [len(each.moved) for each in told] == [1, 1]
    assert [trash.empty(run) for run in trash.runs()] == told


def test_what_was_removed_for_good_doesn_t_come_back_as_a_row(desk, files, trash):
    threw(trash, "run", entry_of(files[0]), entry_of(files[1]))
    (trashed,) = [entry["trashed"] for entry in trash.entries("run") if entry["path"] == str(files[0])]
    Path(trashed).unlink()
    told = trash.to_restore("run")
    assert trash.restore("run", silent) == told
    assert [path for path, _ in told.left] == [str(files[0])]
    assert str(files[0]) not in rows_of(desk.collection())


def test_an_unfinished_run_is_not_emptied(files, trash):
    trash.begin("run", pa.Table.from_pylist([entry_of(files[0])], ENTRIES))
    assert trash.older_than(0) == []


def test_what_a_task_that_is_gone_made_comes_back_without_its_rows(desk, files, trash):
    entry = entry_of(files[0], table="probe-0123456789ab", key="x")
    assert threw(trash, "run", entry).left == []
    assert trash.restore("run", silent).moved == [str(files[0])]


def test_the_trash_is_in_the_topmost_folder_that_may_be_written(desk, files, trash, monkeypatch):
    on_another_disk(desk.home, monkeypatch, read_only=desk.library)
    assert trash.place("run", desk.library / "0") == desk.library / "0" / ".mediaray-trash" / "all-run"
    with pytest.raises(StorageError, match="may be written"):
        trash.place("run", desk.library)


def test_a_link_in_the_place_of_the_trash_isn_t_followed(desk, files, trash, monkeypatch):
    on_another_disk(desk.home, monkeypatch)
    (desk.library / ".mediaray-trash").symlink_to(desk.folder)
    assert trash.place("run", desk.library / "0").is_relative_to(desk.library / "0")


def test_moving_the_second_time_changes_nothing(desk, files, tmp_path):
    entry = entry_of(files[0], trashed=str(tmp_path / "aside"))
    moving.move(entry, (desk.library,))
    files[0].write_bytes(b"new")
    moving.move(entry, (desk.library,))
    assert files[0].read_bytes() == b"new"
