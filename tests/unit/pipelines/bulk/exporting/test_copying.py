"""Files copied to a folder: whole, once, and only what was imported."""

import os
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.jobs.operating import place

from cluster.errors import StorageError
from cluster.roots import Roots
from pipelines.bulk.exporting import copying
from pipelines.bulk.exporting.copying import OUTCOMES, copy_batch
from pipelines.bulk.operations.collection_export import OPERATION
from pipelines.bulk.tables import Table
from pipelines.jobs.driver import Driver
from pipelines.jobs.models import Unit

AN_HOUR_NS = 3600 * 10**9


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "in" / "film.mkv"
    path.parent.mkdir()
    path.write_bytes(b"a film" * 1000)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - AN_HOUR_NS))
    return path


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def copied(tmp_path: Path, source: Path, target: str, *, link: bool = False, overwrite: bool = False, **changes: Any):
    """What comes of one file."""
    facts = source.stat()
    bench = place(
        tmp_path,
        Roots((tmp_path / "in",), (tmp_path / "out",)),
        params=OPERATION.params(output=str(tmp_path / "out")),
        sources=("collection:films",),
        driver=Driver("job", "batch", 3),
    )
    row = {
        **{"uri": str(source), "size_bytes": facts.st_size, "modified_us": facts.st_mtime_ns // 1000, "target": target},
        **changes,
    }
    payload = {
        **{"rows": [row], "table": str(tmp_path / "table"), "output": str(tmp_path / "out")},
        **{"link": link, "overwrite": overwrite, "attempts": 1},
    }
    copy_batch(bench, Unit(name="batch", payload=payload))
    (outcome,) = Table(tmp_path / "table", OUTCOMES, "uri").read().to_pylist()
    return outcome


def test_a_copy_has_the_content_and_the_time_of_its_source(tmp_path, source, out):
    assert copied(tmp_path, source, "a/b/film.mkv")["state"] == "copied"
    copy = out / "a" / "b" / "film.mkv"
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert copy.stat().st_ino != source.stat().st_ino


def test_what_was_copied_isn_t_copied_again(tmp_path, source, out):
    copied(tmp_path, source, "film.mkv")
    before = (out / "film.mkv").stat().st_ino
    assert copied(tmp_path, source, "film.mkv")["state"] == "known"
    assert (out / "film.mkv").stat().st_ino == before


def test_a_file_of_another_is_left_alone(tmp_path, source, out):
    out.mkdir()
    (out / "film.mkv").write_bytes(b"mine")
    outcome = copied(tmp_path, source, "film.mkv")
    assert (outcome["state"], outcome["code"]) == ("failed", "output_exists")
    assert (out / "film.mkv").read_bytes() == b"mine"


def test_what_somebody_writes_there_during_the_copy_is_left(tmp_path, source, out, monkeypatch):
    """Though what was there before it, of an earlier export, would have been replaced."""
    out.mkdir()
    target = out / "film.mkv"
    target.write_bytes(b"of an earlier export")
    facts, real_fill = target.stat(), copying._fill

    def fill(*given: Any, **named: Any) -> None:
        real_fill(*given, **named)
        target.write_bytes(b"mine")

    monkeypatch.setattr(copying, "_fill", fill)
    earlier = {"earlier_bytes": facts.st_size, "earlier_us": facts.st_mtime_ns // 1000}
    outcome = copied(tmp_path, source, "film.mkv", **earlier)
    assert (outcome["state"], outcome["code"]) == ("failed", "output_exists")
    assert target.read_bytes() == b"mine"
    assert list(out.iterdir()) == [target]


def test_overwrite_replaces_it(tmp_path, source, out):
    out.mkdir()
    (out / "film.mkv").write_bytes(b"mine")
    assert copied(tmp_path, source, "film.mkv", overwrite=True)["state"] == "copied"
    assert (out / "film.mkv").read_bytes() == source.read_bytes()


def test_a_link_is_the_same_file(tmp_path, source, out):
    assert copied(tmp_path, source, "film.mkv", link=True)["state"] == "copied"
    assert (out / "film.mkv").samefile(source)
    assert copied(tmp_path, source, "film.mkv", link=True)["state"] == "known"


@pytest.mark.parametrize("changes", [{"size_bytes": 5}, {"modified_us": 5}])
def test_a_file_that_isn_t_what_was_imported_isn_t_copied(tmp_path, source, out, changes):
    assert copied(tmp_path, source, "film.mkv", **changes)["code"] == "source_outdated"
    assert not out.exists()


def test_a_file_that_is_gone_is_told(tmp_path, source):
    outcome = copied(tmp_path, source, "film.mkv", uri=str(source.with_name("gone.mkv")))
    assert (outcome["state"], outcome["code"]) == ("failed", "source_not_found")


def test_a_link_in_the_folder_leads_nowhere_else(tmp_path, source, out):
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "a").symlink_to(tmp_path / "elsewhere")
    assert copied(tmp_path, source, "a/film.mkv")["code"] == "output_outside_roots"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_is_left_beside_what_was_copied(tmp_path, source, out):
    copied(tmp_path, source, "film.mkv")
    assert [path.name for path in out.iterdir()] == ["film.mkv"]


def test_a_folder_that_can_t_be_made_is_told(tmp_path, source, out):
    out.mkdir()
    (out / "a").write_bytes(b"a file")
    assert copied(tmp_path, source, "a/film.mkv")["code"] == "output_not_writable"


def test_a_full_disk_ends_the_job(tmp_path, source, out, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.bulk.exporting.copying.shutil.copyfile", full)
    with pytest.raises(StorageError) as told:
        copied(tmp_path, source, "film.mkv")
    assert told.value.code == "disk_full"
    assert list(out.iterdir()) == []
