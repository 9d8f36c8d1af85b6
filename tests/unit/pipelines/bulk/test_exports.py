"""Which files go where in an export."""

from pathlib import Path

import pytest
from unit.pipelines.bulk.shelves import row, shelf

from cluster.errors import StorageError
from pipelines.bulk.exports import Export, planned, size_of


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


def targets(wanted: Export) -> list[str]:
    return planned(wanted)["target"].to_pylist()


def test_files_that_are_there_go_where_the_template_says(tmp_path):
    assert targets(export(tmp_path)) == ["photos/2019/a.jpg", "photos/2020/A.jpg"]
    assert size_of(planned(export(tmp_path))) == 20_000


def test_names_that_differ_in_case_only_are_told_apart(tmp_path):
    names = targets(export(tmp_path, template="{name}"))
    assert len({name.casefold() for name in names}) == 2


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
