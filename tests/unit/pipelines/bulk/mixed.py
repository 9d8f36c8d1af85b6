"""A library of which something of each kind may be cleaned up; and what cleaning up lists of it."""

import shutil
import uuid
from pathlib import Path
from typing import Any

from PIL import Image
from unit.pipelines.bulk.desk import report, settle
from unit.pipelines.bulk.test_duplicates import scene

from pipelines.bulk.operations.collection_cleanup import OPERATION
from pipelines.bulk.operations.collection_process import OPERATION as PROCESS

THUMBNAILS: dict[str, Any] = {"task": "image-thumbnails", "task_params": {"sizes": ["48"]}}


def mixed_library(desk, imported) -> Path:
    """Of each kind of what may go, one; and what looks like it, but has to stay."""
    folder = desk.library
    for number in range(4):
        scene(number).save(folder / f"{number}.png")
    scene(0).save(folder / "0-small.jpg", quality=70)
    shutil.copy(folder / "1.png", folder / "1x.png")
    (folder / "broken.png").write_bytes((folder / "2.png").read_bytes()[:3000])
    (folder / "not-read-here.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    Image.effect_noise((64, 48), 80).save(folder / "gone.png")
    (folder / f".film.mkv.{uuid.uuid4()}-3.mediaray-part").write_bytes(b"staged")
    (folder / "film.mediaray-part").write_bytes(b"a name of somebody else")
    settle(folder)
    imported()
    for params in (THUMBNAILS, {"task": "image-analyze"}):
        desk.do(PROCESS, "collection:all", **params)
    (folder / "gone.png").unlink()
    imported()
    return folder


def listed(desk, *what: str, **params: Any) -> dict[str, str]:
    """What would go, or went, and as what."""
    outcome = desk.do(OPERATION, "collection:all", **params | ({"what": what} if what else {}))
    return {row["path"]: row["what"] for row in report(outcome, "cleanup.jsonl")}


def names(rows: dict[str, str]) -> dict[str, str]:
    return {Path(path).name: what for path, what in rows.items()}
