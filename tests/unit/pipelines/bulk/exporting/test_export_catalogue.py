"""The catalogue of a folder that several exports fill."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import StorageError
from pipelines.bulk.exporting.export_catalogue import (
    CATALOGUE,
    check_catalogue,
    exported_names,
    named_rows,
    write_catalogue,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


def export(folder: Path, **columns: list[object]) -> None:
    """Files that are called as the last part of their URI is, and a new catalogue."""
    folder.mkdir(exist_ok=True)
    batch = pa.RecordBatch.from_pydict(columns)
    names = {uri: Path(uri).name for uri in columns["uri"]}
    for name in names.values():
        (folder / name).touch()
    made = folder.parent / CATALOGUE
    write_catalogue(named_rows(iter([batch.slice(0, 0), batch]), names, "all"), made, folder)
    made.replace(folder / CATALOGUE)


def rows(folder: Path) -> list[dict[str, object]]:
    return sorted(pq.read_table(folder / CATALOGUE).to_pylist(), key=lambda row: row["exported"])


def test_a_later_export_leaves_the_rows_of_other_files(folder):
    export(folder, uri=["/in/a.jpg"], width=[1])
    export(folder, uri=["/in/b.jpg"], height=[2])
    assert rows(folder) == [
        {"uri": "/in/a.jpg", "exported": "a.jpg", "width": 1, "height": None},
        {"uri": "/in/b.jpg", "exported": "b.jpg", "width": None, "height": 2},
    ]
    assert exported_names(folder) == {"a.jpg": "/in/a.jpg", "b.jpg": "/in/b.jpg"}


def test_of_the_same_file_the_last_row_counts(folder):
    export(folder, uri=["/in/a.jpg", "/in/b.jpg"], width=[1, 1])
    export(folder, uri=["/in/a.jpg"], width=[3])
    assert [(row["exported"], row["width"]) for row in rows(folder)] == [("a.jpg", 3), ("b.jpg", 1)]


def test_files_that_are_gone_lose_their_rows(folder):
    export(folder, uri=["/in/a.jpg"])
    (folder / "a.jpg").unlink()
    export(folder, uri=["/in/b.jpg"])
    assert [row["exported"] for row in rows(folder)] == ["b.jpg"]


def test_a_catalogue_whose_columns_are_of_other_types_is_left_alone(folder):
    export(folder, uri=["/in/a.jpg"], width=[1])
    with pytest.raises(StorageError) as refused:
        export(folder, uri=["/in/b.jpg"], width=["wide"])
    assert refused.value.code == "output_exists"
    assert [row["exported"] for row in rows(folder)] == ["a.jpg"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_catalogue_of_another_program_is_replaced_only_if_that_is_asked_for(folder, overwrite):
    folder.mkdir()
    pq.write_table(pa.table({"uri": ["x"], "exported": ["y"]}), folder / CATALOGUE)
    if overwrite:
        check_catalogue(folder, overwrite=True)
        export(folder, uri=["/in/a.jpg"])
        assert [row["exported"] for row in rows(folder)] == ["a.jpg"]
    else:
        with pytest.raises(StorageError, match="exists already"):
            check_catalogue(folder, overwrite=False)


@pytest.mark.parametrize("data", [b"", b"no Parquet"])
def test_what_is_no_catalogue_names_nothing(folder, data):
    folder.mkdir()
    (folder / CATALOGUE).write_bytes(data)
    assert exported_names(folder) == {}
    assert exported_names(folder / "nowhere") == {}
