"""Which files go where in an export."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from unit.pipelines.bulk.shelves import row, shelf

from cluster.errors import StorageError
from pipelines.bulk.exporting.export_catalogue import CATALOGUE, named_rows, write_catalogue
from pipelines.bulk.exporting.export_plan import Export, planned, size_of
from pipelines.jobs.errors import InvalidError


def export(tmp_path: Path, **changes) -> Export:
    root = str(tmp_path / "photos")
    rows = [
        row("2019/a.jpg", root=root, uri=f"{root}/2019/a.jpg"),
        row("2020/A.jpg", root=root, uri=f"{root}/2020/A.jpg"),
        row("gone.jpg", root=root, uri=f"{root}/gone.jpg", state="missing"),
    ]
    facts = {
        **{"collection": shelf(tmp_path, rows), "where": None, "template": "{root}/{path}", "link": False},
        **{"output": tmp_path / "out", "overwrite": True},
    }
    return Export(**{**facts, **changes})


def exported(folder: Path, names: Mapping[str, str]) -> None:
    """Files of an earlier export: what each is called, by its URI."""
    for name in names.values():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    rows = pa.record_batch({"uri": list(names)}, schema=pa.schema({"uri": pa.string()}))
    write_catalogue(named_rows(iter([rows.slice(0, 0), rows]), names, "shelf"), folder / CATALOGUE, folder)


def targets(wanted: Export) -> list[str]:
    return planned(wanted)["target"].to_pylist()


def test_files_that_are_there_go_where_the_template_says(tmp_path):
    assert targets(export(tmp_path)) == ["photos/2019/a.jpg", "photos/2020/A.jpg"]
    assert size_of(planned(export(tmp_path))) == 20_000


def test_names_that_differ_in_case_only_are_told_apart(tmp_path):
    names = targets(export(tmp_path, template="{name}"))
    assert len({name.casefold() for name in names}) == 2


def test_a_name_doesn_t_depend_on_which_files_are_chosen(tmp_path):
    every = targets(export(tmp_path, template="{name}"))
    assert targets(export(tmp_path, template="{name}", where="path LIKE '2019/%'")) == every[:1]


def test_what_an_earlier_export_called_a_file_it_is_called_still(tmp_path):
    exported(tmp_path / "out", {f"{tmp_path}/photos/2020/A.jpg": "A.jpg"})
    first, second = targets(export(tmp_path, template="{name}"))
    assert (first == "a.jpg", second) == (False, "A.jpg")


def test_a_name_that_another_file_has_there_is_left_to_it(tmp_path):
    exported(tmp_path / "out", {"/elsewhere/x.jpg": "photos/2019/a.jpg"})
    first, second = targets(export(tmp_path))
    assert (first == "photos/2019/a.jpg", second) == (False, "photos/2020/A.jpg")


def test_a_name_of_another_template_isn_t_kept(tmp_path):
    exported(tmp_path / "out", {f"{tmp_path}/photos/2019/a.jpg": "old/a.jpg"})
    assert targets(export(tmp_path)) == ["photos/2019/a.jpg", "photos/2020/A.jpg"]


def test_a_name_of_a_file_that_is_gone_is_free(tmp_path):
    exported(tmp_path / "out", {"/elsewhere/x.jpg": "photos/2019/a.jpg"})
    (tmp_path / "out" / "photos" / "2019" / "a.jpg").unlink()
    assert targets(export(tmp_path)) == ["photos/2019/a.jpg", "photos/2020/A.jpg"]


@pytest.mark.parametrize(("path", "output"), [("set.tar", "set.tar"), ("set.zip!a.jpg", "set.zip")])
def test_no_archive_replaces_a_source(tmp_path, path, output):
    collection = shelf(tmp_path, [row(path, root=str(tmp_path))], name="archives")
    with pytest.raises(StorageError) as refused:
        planned(export(tmp_path, collection=collection, output=tmp_path / output))
    assert refused.value.code == "output_is_source"


def test_a_condition_that_is_more_than_one_is_refused(tmp_path):
    with pytest.raises(InvalidError):
        planned(export(tmp_path, where="true) OR (true"))


def test_a_condition_chooses(tmp_path):
    assert targets(export(tmp_path, where="path LIKE '2019/%'")) == ["photos/2019/a.jpg"]
    assert targets(export(tmp_path, where="false OR false")) == []


@pytest.mark.parametrize(("output", "template"), [("photos", "{path}"), ("", "{root}/{path}"), ("link", "{path}")])
def test_no_copy_gets_the_name_of_a_source(tmp_path, output, template):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(StorageError) as refused:
        planned(export(tmp_path, output=tmp_path / output, template=template))
    assert refused.value.code == "output_is_source"
