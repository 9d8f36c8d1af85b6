"""A collection's rows as files that others read."""

import csv
import json
from io import BytesIO, StringIO

import pyarrow.parquet as pq
import pytest
from unit.pipelines.bulk.shelves import shelf

from pipelines.bulk.exporting import write_rows
from pipelines.bulk.view import CollectionView, Query

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
