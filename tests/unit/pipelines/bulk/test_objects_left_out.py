"""Operations that look at files on disks alone: what they tell of objects in a collection, before the work."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from PIL import Image
from unit.pipelines.bulk.desk import HereAndNow, settle

from pipelines.bulk.collection import FILES
from pipelines.bulk.driving import RUN
from pipelines.bulk.operations.collection_duplicates import OPERATION as DUPLICATES
from pipelines.jobs.models import Unit


@pytest.fixture
def mixed(desk, imported):
    """A picture, and two objects that were imported from a store."""
    Image.effect_noise((32, 24), 60).save(desk.library / "a.png")
    settle(desk.library)
    collection = imported()
    (row,) = collection.files.read().to_pylist()
    for name in ("b.png", "c.png"):
        place = {"uri": f"s3://bucket/photos/{name}", "path": name, "root": "s3://bucket/photos"}
        row = {**row, **place, "identity": name, "stamp": None, "at": datetime.now(UTC)}
        collection.files.append(name, pa.Table.from_pylist([row], FILES))
    return desk


@pytest.mark.parametrize(("kinds", "unknown"), [(("exact", "picture"), 2), (("picture",), 2), (("film",), 0)])
def test_objects_are_unknown_where_copies_are_looked_for_and_nothing_is_done_with_them(mixed, kinds, unknown):
    bench = mixed.begin(DUPLICATES, "collection:all", kinds=kinds)
    told = [f"Files in object storage, which aren't compared as those on disks are: {unknown}."] if unknown else []
    assert list(DUPLICATES.plan(bench).warnings) == told
    runner = HereAndNow(DUPLICATES, bench)
    assert DUPLICATES.run(bench, Unit(name=RUN), runner).unknown == unknown
    assert sum(runner.sizes) == ("picture" in kinds)
