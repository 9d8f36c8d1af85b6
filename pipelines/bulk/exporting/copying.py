"""Files of a collection copied to a folder: each whole or not at all, and none that is there already.

What an earlier export put there of a file that has changed since is replaced, if nobody else changed it.
"""

import mimetypes
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.disk import disk_errors, flush_folder, make_folder
from cluster.errors import StorageError
from cluster.files import OpenFile
from cluster.locations import location_of
from cluster.object_paths import ObjectPath
from cluster.objects import PART_BYTES
from cluster.roots import check_object_below
from cluster.sources import OpenSource, open_source
from cluster.staging import check_target, publish, staged_name
from cluster.uploader import Upload
from cluster.uploading import upload_each
from pipelines.bulk.driving import ATTEMPTS
from pipelines.bulk.streaming import ROWS, BatchManifest
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.turns import DISK_FULL
from pipelines.jobs.errors import job_error
from pipelines.jobs.models import Unit
from pipelines.jobs.place_faults import changed
from pipelines.jobs.scratch import tag_of
from pipelines.jobs.workbench import Workbench

OUTCOMES = pa.schema(
    {
        "uri": pa.string(),
        "target": pa.string(),
        "state": pa.string(),  # copied, known or failed
        "code": pa.string(),
        "message": pa.string(),
        ATTEMPTS: pa.int32(),
        AT: pa.timestamp("us", tz="UTC"),
    }
)
TABLE, OUTPUT, OVERWRITE, LINK = "table", "output", "overwrite", "link"  # in a batch's payload
EARLIER_BYTES, EARLIER_US = "earlier_bytes", "earlier_us"  # of a row: what an earlier export put there, if one did
COPIED, KNOWN, FAILED = "copied", "known", "failed"
_COARSE_US = 2_000_000  # FAT keeps times of two seconds
_DESCRIPTORS = "/proc/self/fd"
_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class _Way:
    roots: tuple[Path, ...]
    tag: str
    overwrite: bool
    link: bool


def copy_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    """Copy the files of a batch, each to its ``target`` below the output, and tell what came of each."""
    payload, output = unit.payload, location_of(unit.payload[OUTPUT])
    outcomes = _to_disk(bench, payload, output) if isinstance(output, Path) else _to_store(bench, payload, output)
    Table(Path(payload[TABLE]), OUTCOMES, "uri").append(unit.name, pa.Table.from_pylist(outcomes, OUTCOMES))
    return BatchManifest(rows=len(outcomes))


def _to_disk(bench: Workbench, payload: Mapping[str, Any], output: Path) -> list[dict[str, Any]]:
    tag = f"{tag_of(bench.driver.job_id)}{bench.driver.fence}"
    way = _Way(bench.write_roots, tag, payload[OVERWRITE], payload[LINK])
    outcomes = [outcome_of(bench, payload, row, partial(_copied, way, output, row)) for row in payload[ROWS]]
    for folder in {(output / row["target"]).parent for row in outcomes if row["state"] == COPIED}:
        flush_folder(folder)
    return outcomes


def _to_store(bench: Workbench, payload: Mapping[str, Any], output: ObjectPath) -> list[dict[str, Any]]:
    """What is there as its source is, by size and samples, isn't uploaded again."""
    access, rows = check_object_below(output, bench.roots.objects, "output_outside_roots"), payload[ROWS]
    uploads = [
        Upload(
            source=row["uri"],
            target=str(output / row["target"]),
            media_type=mimetypes.guess_type(row["target"])[0] or _BYTES,
            size_bytes=row["size_bytes"],
            modified_us=row["modified_us"],
        )
        for row in rows
    ]
    outcomes = []
    for row, uploaded in zip(
        rows, upload_each(uploads, access, overwrite=payload[OVERWRITE], roots=bench.roots), strict=True
    ):
        if uploaded.code is not None:
            told = _failed(StorageError(uploaded.code, uploaded.message))
        else:
            told = {"state": KNOWN if uploaded.known else COPIED}
        outcomes.append({**_begun(payload, row), **told})
    return outcomes


def outcome_of(
    bench: Workbench,
    payload: Mapping[str, Any],
    row: Mapping[str, Any],
    put: Callable[[OpenSource], Mapping[str, Any]],
) -> dict[str, Any]:
    """What comes of a file of a batch that is ``put`` where it belongs, if it's what was imported.

    Raises:
        StorageError: ``disk_full``: there will be no more room for the next.
    """
    told = _begun(payload, row)
    try:
        with open_source(row["uri"], bench.roots) as opened:
            _check_current(opened, row)
            return {**told, **put(opened)}
    except StorageError as error:
        if error.code == DISK_FULL:
            raise
        return {**told, **_failed(error)}


def _begun(payload: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    return {"uri": row["uri"], "target": row["target"], ATTEMPTS: payload[ATTEMPTS], AT: datetime.now(UTC)}


def _failed(error: StorageError) -> dict[str, Any]:
    failure = job_error(error)
    return {"state": FAILED, "code": failure.code, "message": failure.message}


def _check_current(opened: OpenSource, row: Mapping[str, Any]) -> None:
    if (opened.size_bytes, opened.modified_ns // 1000) != (row["size_bytes"], row["modified_us"]):
        raise StorageError("source_outdated", f"{opened.path} changed since it was imported. Import it again.")


def _copied(way: _Way, output: Path, row: Mapping[str, Any], opened: OpenSource) -> dict[str, Any]:
    target = output / row["target"]
    check_target(target, way.roots, overwrite=True)
    if _is_there(opened, target):
        return {"state": KNOWN}
    check_target(target, way.roots, overwrite=_may_go(way, target, row))
    with disk_errors(target):
        make_folder(target.parent)
        staged = staged_name(target, way.tag)
        try:
            _fill(opened, staged, link=way.link)
            if opened.is_other():
                raise changed(opened)
            # Asked again: a copy takes long enough for somebody to write there meanwhile.
            publish(staged, target, overwrite=_may_go(way, target, row), size_bytes=opened.size_bytes)
        finally:
            staged.unlink(missing_ok=True)
    return {"state": COPIED}


def _may_go(way: _Way, target: Path, row: Mapping[str, Any]) -> bool:
    """Whether what is there, if anything is, is to be replaced: as asked for, or as an earlier export left it."""
    return way.overwrite or _is_as(target, row.get(EARLIER_BYTES), row.get(EARLIER_US))


def _is_there(opened: OpenSource, target: Path) -> bool:
    """Whether an earlier run copied it: then it has its source's size, and its time as exactly as may be kept."""
    return _is_as(target, opened.size_bytes, opened.modified_ns // 1000)


def _is_as(target: Path, size_bytes: int | None, modified_us: int | None) -> bool:
    """Whether there is a file of this size, and of about this time. What isn't known no file is."""
    try:
        facts = target.stat()
    except FileNotFoundError:
        return False
    same_size = size_bytes is not None and facts.st_size == size_bytes
    return same_size and modified_us is not None and abs(facts.st_mtime_ns // 1000 - modified_us) <= _COARSE_US


def _fill(opened: OpenSource, staged: Path, *, link: bool) -> None:
    if link and isinstance(opened, OpenFile):
        try:
            _link(opened, staged)
        except OSError:  # another file system, one without links, or as many as there may be
            pass
        else:
            return
    if isinstance(opened, OpenFile):
        opened.identity()
        shutil.copyfile(f"{_DESCRIPTORS}/{opened.descriptor}", staged)
    else:
        with staged.open("wb") as made:
            for begin in range(0, opened.size_bytes, PART_BYTES):
                made.write(opened.read(min(PART_BYTES, opened.size_bytes - begin), begin))
    os.utime(staged, ns=(opened.modified_ns, opened.modified_ns))
    with staged.open("rb") as file:
        os.fsync(file.fileno())


def _link(opened: OpenFile, staged: Path) -> None:
    """Of the file that was checked, whatever has its name now. (Python follows links only below a folder.)"""
    folder = os.open(_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(str(opened.descriptor), staged, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
