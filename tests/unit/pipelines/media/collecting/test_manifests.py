"""Manifests: the files they name, in each form, and what is told of wrong ones."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.media.collecting.manifests import listed
from pipelines.media.errors import LimitError, SourceUnsupportedError

NAMES = ("a.jpg", "sub/b.jpg", "/abs/c.jpg")


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_csv_names_files(tmp_path):
    path = written(tmp_path, "list.csv", "title,Path\nA,a.jpg\nB, sub/b.jpg\nnothing\nempty,\nC,/abs/c.jpg\n")
    assert listed(path).names == NAMES


def test_json_lines_name_files(tmp_path):
    lines = '{"path": "x", "uri": "a.jpg"}\n\n{"uri": "sub/b.jpg"}\n{"uri": null}\n{"uri": "/abs/c.jpg"}\n'
    assert listed(written(tmp_path, "list.jsonl", lines)).names == NAMES


def test_parquet_names_files(tmp_path):
    pq.write_table(pa.table({"path": [*NAMES, None]}), tmp_path / "list.parquet")
    assert listed(tmp_path / "list.parquet").names == NAMES


def test_wrong_columns_are_told_with_those_that_were_found(tmp_path):
    pq.write_table(pa.table({"file": ["a"], "size": [1]}), tmp_path / "list.parquet")
    written(tmp_path, "list.csv", "file,size\na,1\n")
    written(tmp_path, "list.jsonl", '{"file": "a", "size": 1}\n')
    for name in ("list.csv", "list.jsonl", "list.parquet"):
        with pytest.raises(SourceUnsupportedError, match="no column uri or path; its columns are: file, size"):
            listed(tmp_path / name)


def test_a_column_of_numbers_is_told(tmp_path):
    pq.write_table(pa.table({"path": [1, 2]}), tmp_path / "list.parquet")
    with pytest.raises(SourceUnsupportedError, match="holds no text"):
        listed(tmp_path / "list.parquet")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.csv", b"path\ncaf\xe9\n"),
        ("list.csv", b"path\n" + b"x" * 200_000),
        ("list.jsonl", b"{"),
        ("list.jsonl", b"[1]"),
        ("list.parquet", b"PAR1 no parquet PAR1"),
    ],
)
def test_what_isn_t_what_its_name_says_is_told(tmp_path, name, data):
    with pytest.raises(SourceUnsupportedError):
        listed(written(tmp_path, name, data))


def test_too_many_are_refused(tmp_path):
    with pytest.raises(LimitError, match="200000 files"):
        listed(written(tmp_path, "list.csv", "path\n" + "a\n" * 200_001))
