"""A collection's rows as files that others read."""

import csv
import json
from io import BytesIO, StringIO

import pyarrow.parquet as pq
import pytest
from unit.pipelines.bulk.shelves import shelf

from pipelines.bulk.row_formats import write_rows
from pipelines.bulk.view import CollectionView, Query
from pipelines.jobs.errors import InvalidError

_ALL = Query()


@pytest.fixture
def written(tmp_path):
    def written(format_, query=_ALL, collection=None):
        file = BytesIO()
        with CollectionView(collection or shelf(tmp_path), query.text) as view:
            count = write_rows(format_, view.batches(query), file)
        file.seek(0)
        return count, file

    return written


def test_parquet_has_all_columns_and_types(written):
    count, file = written("parquet")
    table = pq.read_table(file)
    assert (count, len(table)) == (5, 5)
    assert table.schema.field("width").type == "int64"
    assert table["probe_artifacts"].to_pylist()[0] == []


def test_csv_is_read_back_by_its_heading(written):
    count, file = written("csv", Query(columns="path, modified_at, width, probe_artifacts, probe_message"))
    rows = list(csv.DictReader(StringIO(file.read().decode())))
    assert (count, len(rows)) == (5, 5)
    assert rows[0] == {
        **{"path": "a.mkv", "modified_at": "2026-01-01T12:00:00Z", "width": "1920", "probe_artifacts": "[]"},
        "probe_message": "",
    }


def test_json_lines_are_an_object_each(written):
    count, file = written("jsonl", Query("kind = 'video'", "path, modified_at, duration_s"))
    rows = [json.loads(line) for line in file.read().decode().splitlines()]
    assert count == 2
    assert rows[0] == {"path": "a.mkv", "modified_at": "2026-01-01T12:00:00Z", "duration_s": 60.0}
    assert rows[1]["duration_s"] is None


@pytest.mark.parametrize(("format_", "lines"), [("csv", 1), ("jsonl", 0)])
def test_no_rows_are_a_heading_at_most(written, format_, lines):
    count, file = written(format_, Query("kind = 'other'", "path"))
    assert (count, len(file.read().splitlines())) == (0, lines)


def test_no_rows_are_a_parquet_file_with_columns(written):
    _, file = written("parquet", Query("kind = 'other'", "path, width"))
    assert pq.read_table(file).schema.names == ["path", "width"]


KINDS_OF_VALUES = {
    "modified_at::DATE": "2026-01-01",
    "modified_at::TIMESTAMP::TIME": "12:00:00",
    "INTERVAL 14 MONTH": "P14M0DT0S",
    "INTERVAL (-3) DAY": "P0M-3DT0S",
    "INTERVAL 90 MINUTE": "P0M0DT5400S",
    "sum(size_bytes)": 26_000,
    "size_bytes / 0": None,
    "[modified_at::DATE]": ["2026-01-01"],
    "NULL": None,
}


@pytest.mark.parametrize(("column", "value"), KINDS_OF_VALUES.items())
def test_values_of_every_kind_are_told(written, column, value):
    query = Query("path = 'a.mkv'" if "sum" not in column else None, f"{column} AS value")
    count, file = written("jsonl", query)
    assert (count, json.loads(file.read())) == (1, {"value": value})
    _, file = written("csv", query)
    (row,) = csv.DictReader(StringIO(file.read().decode()))
    assert row["value"] == ("" if value is None else json.dumps(value) if isinstance(value, list) else str(value))
    _, file = written("parquet", query)
    assert len(pq.read_table(file)) == 1


def test_intervals_are_text_in_parquet(written):
    _, file = written("parquet", Query("path < 'c'", "CASE path WHEN 'a.mkv' THEN INTERVAL 2 DAY END AS value"))
    assert pq.read_table(file)["value"].to_pylist() == ["P0M2DT0S", None]


def test_lists_of_intervals_are_refused_by_parquet_only(written):
    query = Query("path = 'a.mkv'", "[INTERVAL 2 DAY] AS value")
    _, file = written("jsonl", query)
    assert json.loads(file.read()) == {"value": ["P0M2DT0S"]}
    with pytest.raises(InvalidError, match="VARCHAR"):
        written("parquet", query)


@pytest.mark.parametrize("value", ["make_date(20000, 1, 1)", "'infinity'::TIMESTAMP"])
@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_times_that_no_text_tells_are_refused(written, format_, value):
    with pytest.raises(InvalidError, match="VARCHAR"):
        written(format_, Query("path = 'a.mkv'", f"{value} AS value"))
    assert written(format_, Query("path = 'a.mkv'", f"({value})::VARCHAR AS value"))[0] == 1
