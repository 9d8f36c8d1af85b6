"""Tables of parts: the newest row of a key counts, whatever was compacted, killed or written twice."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import StorageError
from pipelines.bulk import tables
from pipelines.bulk.tables import AT, Table

SCHEMA = pa.schema({"key": pa.string(), "value": pa.int64(), AT: pa.timestamp("us", tz="UTC")})
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rows(*pairs: tuple[str, int], at_s: float = 0.0) -> pa.Table:
    at = NOON + timedelta(seconds=at_s)
    return pa.Table.from_pylist([{"key": key, "value": value, AT: at} for key, value in pairs], SCHEMA)


def held(table: Table) -> dict[str, int]:
    return {row["key"]: row["value"] for row in table.read(("key", "value")).to_pylist()}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "table", SCHEMA, "key")


def test_a_table_without_parts_is_empty(table):
    assert table.read().schema == SCHEMA
    assert held(table) == {}
    table.compact()


def test_the_newest_row_of_a_key_counts_whatever_its_part_is_called(table):
    table.append("z", rows(("a", 1), ("b", 1)))
    table.append("a", rows(("b", 2), ("c", 2), at_s=5))
    table.append("m", rows(("c", 0), at_s=-5))
    assert held(table) == {"a": 1, "b": 2, "c": 2}


def test_of_rows_of_one_part_the_newest_counts_too(table):
    table.append("one", pa.concat_tables([rows(("a", 2), at_s=1), rows(("a", 1), ("b", 1))]))
    assert held(table) == {"a": 2, "b": 1}
    table.compact()
    assert held(table) == {"a": 2, "b": 1}


def test_a_part_made_twice_is_there_once(table):
    table.append("batch-1", rows(("a", 1)))
    table.append("batch-1", rows(("a", 1)))
    assert len(table.read()) == 1
    assert table.part("batch-1", ("value",)).to_pylist() == [{"value": 1}]


def test_compacting_changes_nothing_but_the_number_of_parts(table, tmp_path):
    for number in range(5):
        table.append(f"part-{number}", rows(("a", number), (f"b{number}", number), at_s=number))
    before = held(table)
    table.compact()
    assert held(table) == before
    assert len(list((tmp_path / "table").glob("*.parquet"))) == 1


def test_packing_changes_nothing_and_leaves_alone_what_is_packed(table, tmp_path):
    for number in range(3):
        table.append(f"part-{number}", rows((f"{number}", number)))
    table.pack()
    (pack,) = (tmp_path / "table").iterdir()
    table.append("one", rows(("0", 10), at_s=1))
    table.append("two", rows(("0", 11), ("9", 9), at_s=2))
    table.pack()
    assert pack in (tmp_path / "table").iterdir()
    assert held(table) == {"0": 11, "1": 1, "2": 2, "9": 9}
    table.compact()
    assert held(table) == {"0": 11, "1": 1, "2": 2, "9": 9}


def test_a_compaction_that_was_killed_leaves_rows_twice_which_changes_nothing(table, monkeypatch):
    table.append("one", rows(("a", 1), ("b", 1)))
    table.append("two", rows(("a", 2), at_s=1))
    before = held(table)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            table.compact()
    assert held(table) == before
    table.compact()
    assert held(table) == before


def _killed(path: Path, missing_ok: bool = False) -> None:
    if path.suffix == ".parquet":
        raise KeyboardInterrupt


def test_what_a_killed_compaction_half_made_the_next_one_removes(table, tmp_path, monkeypatch):
    for number in range(3):
        table.append(f"part-{number}", rows(("a", number), at_s=number))

    def killed(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            table.compact()
    assert [path for path in (tmp_path / "table").iterdir() if path.name.startswith(".")]
    table.compact()
    assert len([*(tmp_path / "table").iterdir()]) == 1
    assert held(table) == {"a": 2}


def test_what_a_worker_half_made_goes_once_it_can_t_be_at_it_any_more(table, tmp_path):
    table.append("one", rows(("a", 1)))
    under_way, left, others = (tmp_path / "table" / name for name in (f".two.{'a' * 32}", f".{'b' * 32}", ".notes"))
    for path in (under_way, left, others):
        path.write_bytes(b"half")
    for path in (left, others):
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    table.compact()
    assert (under_way.exists(), left.exists(), others.exists()) == (True, False, True)


def test_rows_that_are_dropped_are_gone_but_not_those_written_since(table):
    table.append("one", rows(("a", 1), ("b", 1), ("c", 1)))
    table.append("two", rows(("b", 2), at_s=10))
    table.drop(pa.array(["a", "b"]), before=NOON + timedelta(seconds=5))
    assert held(table) == {"b": 2, "c": 1}
    table.drop(pa.array(["b", "c"]), before=NOON + timedelta(seconds=50))
    assert held(table) == {}


def test_of_some_keys_the_newest_rows_are_told(table, monkeypatch):
    monkeypatch.setattr(tables, "_GROUP_BYTES", 64)
    table.append("one", rows(*((f"{number:03d}", number) for number in range(50))))
    table.append("two", rows(("007", 70), at_s=1))
    table.compact()
    table.append("three", rows(("009", 90), at_s=2))
    some = table.read(keys=pa.array(["007", "008", "009", "gone"]))
    assert {row["key"]: row["value"] for row in some.to_pylist()} == {"007": 70, "008": 8, "009": 90}
    assert table.read(("value",), pa.array([], pa.string())).to_pylist() == []


def test_what_is_half_made_isn_t_read(table, tmp_path):
    table.append("one", rows(("a", 1)))
    (tmp_path / "table" / ".half").write_bytes(b"PAR1")
    assert held(table) == {"a": 1}


def test_a_part_that_isn_t_there_is_an_error(table):
    with pytest.raises(FileNotFoundError):
        table.part("none", ("value",))


def test_a_full_disk_is_told_and_leaves_nothing(table, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError) as refused:
            table.append("one", rows(("a", 1)))
    assert refused.value.code == "disk_full"
    assert not list((tmp_path / "table").iterdir())


def test_a_table_larger_than_memory_is_compacted_some_rows_at_a_time(table, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_GROUP_BYTES", 2048)
    for number in range(5):
        table.append(
            f"part-{number}",
            rows(*((f"{key}", number) for key in range(100 * number, 100 * number + 200)), at_s=number),
        )
    before = held(table)
    table.compact()
    (part,) = (tmp_path / "table").iterdir()
    assert pq.ParquetFile(part).num_row_groups > 1
    assert len(table.read()) == 600
    assert held(table) == before
