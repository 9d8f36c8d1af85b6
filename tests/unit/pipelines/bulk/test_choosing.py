"""What a job chose stays chosen, whatever happens to its driver."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.bulk.choosing import Began, noted_once, once


def noted(note: Path, at: datetime) -> Any:
    return noted_once(note, Began, lambda: Began(at=at))


def kept(note: Path, at: datetime) -> Any:
    return once(note, lambda: pa.table({"at": [at]})).to_pylist()


@pytest.mark.parametrize("tell", [noted, kept])
def test_it_is_told_as_it_was_the_first_time(tmp_path, tell):
    first = tell(tmp_path / "note", datetime(2020, 1, 1, tzinfo=UTC))
    assert tell(tmp_path / "note", datetime(2021, 1, 1, tzinfo=UTC)) == first
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


@pytest.mark.parametrize("tell", [noted, kept])
def test_a_note_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, tell):
    flushed, fsync = [], os.fsync

    def told(descriptor: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink(), (tmp_path / "note").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    tell(tmp_path / "note", datetime(2020, 1, 1, tzinfo=UTC))
    (file, named), last = flushed
    assert (file.parent, named) == (tmp_path, False)
    assert last == (tmp_path, True)
