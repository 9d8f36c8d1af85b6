"""Files that are missing are told from a disk that is: by its folder, by its number, and by how many are."""

import shutil
from pathlib import Path

import pytest
from unit.pipelines.bulk.shelves import row

from cluster.identity import listed_stamp_of
from pipelines.bulk import absence
from pipelines.bulk.absence import Absence
from pipelines.bulk.facts import facts_of


@pytest.fixture
def rows(tmp_path: Path) -> list[dict]:
    """Of a folder with two subfolders of twenty files each."""
    root = tmp_path / "library"
    rows = []
    for number in range(40):
        path = root / f"{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        rows.append(row(path.name, uri=str(path), root=str(root), stamp=listed_stamp_of(path.stat()).digest))
    return rows


def gone(rows: list[dict], *numbers: int) -> Absence:
    for number in numbers:
        Path(rows[number]["uri"]).unlink(missing_ok=True)
        rows[number]["state"] = "missing"
    return Absence(rows)


def elsewhere(stamp: str) -> str:
    """The same file, as noted on another disk."""
    device, rest = stamp.split(":", 1)
    return f"{int(device) + 1}:{rest}"


def test_files_that_were_removed_are_gone(rows):
    assert gone(rows, 0, 1, 2).doubt(rows[0]) is None


def test_a_folder_that_was_removed_is_gone_with_its_files(rows):
    told = gone(rows, *range(0, 40, 2))
    shutil.rmtree(Path(rows[0]["uri"]).parent)
    assert told.doubt(rows[0]) is None


@pytest.mark.parametrize("empty", [True, False])
def test_a_root_that_is_empty_or_not_there_may_be_a_disk_that_isn_t_mounted(rows, empty):
    told, root = gone(rows, *range(40)), Path(rows[0]["root"])
    shutil.rmtree(root)
    if empty:
        root.mkdir()
    assert "isn't mounted" in told.doubt(rows[0])


def test_a_disk_below_the_root_that_isn_t_mounted_is_told_by_its_number(rows):
    for each in rows[0::2]:
        each["stamp"] = elsewhere(each["stamp"])
    assert "another disk" in gone(rows, *range(0, 40, 2)).doubt(rows[0])


def test_a_disk_whose_number_changed_is_told_by_the_files_that_are_there(rows):
    for each in rows:
        each["stamp"] = elsewhere(each["stamp"])
    assert gone(rows, 0, 1).doubt(rows[0]) is None


def test_no_file_is_looked_at_but_the_first_that_tells_a_device(rows, monkeypatch):
    looked: list[str] = []
    monkeypatch.setattr(absence, "facts_of", lambda path: looked.append(path) or facts_of(path))
    assert gone(rows, 0).doubt(rows[0]) is None
    assert looked == [str(Path(rows[0]["uri"]).parent)]
    for each in rows:
        each["stamp"] = elsewhere(each["stamp"])
    found = gone(rows, 0, 1)
    looked.clear()
    assert (found.doubt(rows[0]), found.doubt(rows[1])) == (None, None)
    assert [path for path in looked if path.endswith(".jpg")] == [rows[2]["uri"]]


def test_where_most_files_of_a_root_are_missing_it_may_be_another_disk(rows):
    assert "21 of 40" in gone(rows, *range(21)).doubt(rows[0])


def test_a_few_files_may_all_be_gone(rows):
    few = rows[:10]
    told = gone(few, *range(10))
    assert told.doubt(few[0]) is None
