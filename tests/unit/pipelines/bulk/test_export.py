"""Exports from their plan to what is in the folder."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from unit.pipelines.bulk.desk import HereAndNow

from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_export import OPERATION
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Unit

A_DAY_IN_2026_S = 1_775_000_000


def shoot(library: Path, *paths: str) -> None:
    """Make pictures, each of other bytes."""
    for path in paths:
        file = library / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(path.encode() * 1000)
        os.utime(file, (A_DAY_IN_2026_S, A_DAY_IN_2026_S))


@pytest.fixture
def photos(desk, imported):
    shoot(desk.library, "2019/beach.jpg", "2020/beach.jpg", "2020/hill.jpg")
    return imported()


def exported(desk, output: Path, **params: Any) -> dict[str, Any]:
    return desk.do(OPERATION, "collection:all", output=str(output), **params).result.model_dump()


def test_what_is_imported_later_takes_no_name(desk, imported):
    shoot(desk.library, "2019/beach.jpg")
    imported()
    exported(desk, desk.out, template="{name}")
    shoot(desk.library, "2020/beach.jpg")
    imported()
    result = exported(desk, desk.out, template="{name}", where="path LIKE '2020/%'", overwrite=True)
    assert (result["copied"], result["failed"]) == (1, 0)
    assert (desk.out / "beach.jpg").read_bytes() == (desk.library / "2019/beach.jpg").read_bytes()
    rows = pq.read_table(desk.out / "catalogue.parquet").to_pylist()
    assert {row["path"]: (desk.out / row["exported"]).read_bytes() for row in rows} == {
        path: (desk.library / path).read_bytes() for path in ("2019/beach.jpg", "2020/beach.jpg")
    }
    assert exported(desk, desk.out, template="{name}")["known"] == 2


def test_a_later_driver_goes_on_with_the_same_files(desk, photos, imported, monkeypatch):
    monkeypatch.setattr("pipelines.bulk.export_plan._MOST_ROWS", 1)
    bench = desk.begin(OPERATION, "collection:all", output=str(desk.out))
    with pytest.raises(UnitDroppedError):
        OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench, most=1))
    shoot(desk.library, "2021/new.jpg")
    imported()
    result = OPERATION.run(bench, Unit(name=RUN), HereAndNow(OPERATION, bench))
    assert (result.files, result.copied, result.known) == (3, 2, 1)
