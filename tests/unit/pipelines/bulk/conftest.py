from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from unit.pipelines.bulk.desk import Desk

from cluster.child import MediaChild
from cluster.identity import identify
from pipelines.bulk.collection import FILES, Collection
from pipelines.bulk.scanning import scan

ALL = frozenset({"video", "audio", "image", "other"})


@pytest.fixture
def desk(tmp_path: Path, child: MediaChild) -> Desk:
    desk = Desk(tmp_path, child)
    desk.library.mkdir()
    return desk


@pytest.fixture
def imported(desk: Desk) -> Callable[..., Collection]:
    """Take the library, or other folders, into a collection, as they are now."""

    def take(*folders: Path) -> Collection:
        collection = desk.collection()
        rows = []
        roots = folders or (desk.library,)
        for seen in scan(list(map(str, roots)), roots, kinds=ALL):
            with Path(seen.uri).open("rb") as file:
                identity = identify(file.fileno()).digest
            rows.append(
                {
                    **{name: getattr(seen, name) for name in ("uri", "path", "root", "kind", "size_bytes", "stamp")},
                    "identity": identity,
                    "modified_at": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=seen.modified_ns // 1000),
                    "state": "present",
                    "at": datetime.now(UTC),
                }
            )
        known = collection.files.read().to_pylist()
        gone = [row | {"state": "missing", "at": datetime.now(UTC)} for row in known if not Path(row["uri"]).exists()]
        collection.files.append(f"import-{len(known)}", pa.Table.from_pylist([*rows, *gone], FILES))
        return collection

    return take
