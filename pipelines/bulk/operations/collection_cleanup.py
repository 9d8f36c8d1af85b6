"""``collection-cleanup``: what is missing, left over, broken or there twice goes to a trash, and comes back from it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cluster.errors import StorageError
from cluster.locations import local_path
from cluster.object_paths import is_object_uri
from pipelines.bulk.choosing import keep_note, noted_once, once
from pipelines.bulk.cleaning import Cleaning, What
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import RUN, driven
from pipelines.bulk.duplicates import Group, Kind, do_part, find_groups
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.trash import ENTRIES, Moved, Trash
from pipelines.jobs.catalogue import Made, Operation, Outcome
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.wording import counted

_REPORT = "cleanup.jsonl"
_LISTED = ("what", "path", "size_bytes", "why", "best")
_KEPT = "kept.jsonl"
_LISTING = "listing.parquet"  # of what comes back, goes on or is removed
_COPIES: Mapping[What, tuple[Kind, ...]] = {"duplicates": ("exact",), "similar": ("picture", "film")}


class Params(BaseModel):
    """What goes; or what comes back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: tuple[What, ...] = Field(
        ("missing", "orphaned", "temporary"),
        min_length=1,
        description="missing (rows of files that are gone), orphaned (artifacts of no file), temporary (what jobs "
        "left), broken (damaged files), duplicates (of the same bytes), similar (of the same picture or film), "
        "superseded (what another version of the program found out and made, which nothing reads any more).",
    )
    folder: str | None = Field(
        None,
        description="Only what lies in this folder. On the command line the server may then write there.",
        json_schema_extra={"format": "path", "writes": True},
    )
    dry_run: bool = Field(True, description="Only list what would go, come back, or be removed for good.")
    distance: int = Field(4, ge=0, le=16, description="Of similar ones: how many bits of 64 may differ.")
    gone_folders: bool = Field(
        False,
        description="Of missing ones: also rows of a folder that is gone, empty or on another disk, or most of whose "
        "files are missing, as if a disk wasn't mounted.",
    )
    restore: bool = Field(False, description="Bring everything back that is in the trash, instead.")
    finish: bool = Field(False, description="Carry on with cleanups that were broken off, instead.")
    empty_days: float | None = Field(
        None, ge=0, description="Remove for good what has been in the trash for so many days, instead."
    )

    @field_validator("folder")
    @classmethod
    def _on_disk(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        if is_object_uri(folder):
            raise ValueError("name a folder on disk: a cleanup moves no objects, and of those only rows go")
        try:
            return str(local_path(folder))
        except StorageError as error:
            raise ValueError(error.message) from error

    @model_validator(mode="after")
    def _at_most_one(self) -> "Params":
        if self.restore + self.finish + (self.empty_days is not None) > 1:
            raise ValueError("give one of restore, finish and empty_days")
        return self


class CleanupResult(BaseModel, frozen=True, extra="forbid"):
    """What would go, or went, came back, or was removed for good, as ``action`` says: ``paths`` and ``size_bytes``.

    ``kept`` is what can't go or come back, and stays where it is; ``unfinished`` cleanups were broken off.
    ``unknown`` files couldn't be looked at, whether they are copies.
    """

    collection: str
    action: str
    paths: int
    size_bytes: int
    what: dict[str, int]
    kept: int
    unfinished: int
    unknown: int
    elapsed_s: float


def _folder(params: Params) -> Path | None:
    return Path(params.folder) if params.folder is not None else None


def _action(params: Params) -> str:
    if params.dry_run:
        return "listed"
    if params.restore:
        return "restored"
    if params.empty_days is not None:
        return "emptied"
    return "finished" if params.finish else "cleaned"


def plan(bench: Workbench) -> Plan:
    params = bench.params
    return driven({"collection": Collection.of_job(bench).name, "action": _action(params), "what": params.what})


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    if unit.name != RUN:
        return do_part(bench, unit)
    began, collection, params = time.monotonic(), Collection.of_job(bench), bench.params
    trash = Trash(collection, bench.home, (*bench.write_roots, collection.folder))
    begun = bench.driver.job_id in trash.runs()  # by an earlier driver: what goes is listed already
    # It takes long, and others may import meanwhile.
    groups, unknown = ((), _left(bench).unknown) if begun else _groups(bench, collection, params, runner)
    with collection.alone("files", bench.driver.job_id):
        if _cleans(params):
            entries, kept = _clean(bench, collection, trash, params, groups, unknown)
        else:
            entries, kept = _instead(bench, trash, params)
        unfinished = len(trash.unfinished())
    _write(bench, _REPORT, ({name: entry.get(name) for name in _LISTED} for entry in entries))
    _write(bench, _KEPT, ({"path": path, "why": why} for path, why in kept))
    return CleanupResult(
        collection=collection.name,
        action=_action(params),
        paths=len(entries),
        size_bytes=sum(entry["size_bytes"] or 0 for entry in entries if entry["what"] != "missing"),
        what=dict(Counter(entry["what"] for entry in entries)),
        kept=len(kept),
        unfinished=unfinished,
        unknown=unknown,
        elapsed_s=round(time.monotonic() - began, 3),
    )


Entries = Sequence[dict[str, Any]]
Kept = Sequence[tuple[str, str]]


class _Left(BaseModel):
    """What a cleanup told before the first file went: what it keeps, and how many files couldn't be looked at."""

    kept: list[tuple[str, str]] = []
    unknown: int = 0


def _left_at(bench: Workbench) -> Path:
    return bench.notes / "left.json"


def _left(bench: Workbench) -> _Left:
    """As the driver noted it that began this job's run."""
    return noted_once(_left_at(bench), _Left, _Left)


def _cleans(params: Params) -> bool:
    return not params.restore and not params.finish and params.empty_days is None


def _groups(bench: Workbench, collection: Collection, params: Params, runner: Runner) -> tuple[Sequence[Group], int]:
    kinds = [kind for what in params.what for kind in _COPIES.get(what, ())] if _cleans(params) else []
    if not kinds:
        return (), 0
    fresh, folder = not params.dry_run, _folder(params)
    return find_groups(bench, collection, kinds, params.distance, runner, fresh=fresh, folder=folder)


def _clean(
    bench: Workbench, collection: Collection, trash: Trash, params: Params, groups: Sequence[Group], unknown: int
) -> tuple[Entries, Kept]:
    """List what goes; and have it go. What an earlier driver of this job began is carried on."""
    run = bench.driver.job_id
    if run not in trash.runs():
        cleaning = Cleaning(
            collection,
            bench.home,
            (*bench.read_roots, collection.folder),
            bench.write_roots,
            partial(trash.place, run),
            gone_folders=params.gone_folders,
        )
        planned = cleaning.entries(params.what, groups, _folder(params))
        if params.dry_run or not planned:
            return planned, cleaning.kept
        keep_note(_left_at(bench), _Left(kept=cleaning.kept, unknown=unknown))
        trash.begin(run, pa.Table.from_pylist(planned, ENTRIES))
    moved = trash.finish(run, bench.tell)
    return _of(trash.entries(run), moved), [*_left(bench).kept, *moved.left]


def _instead(bench: Workbench, trash: Trash, params: Params) -> tuple[Entries, Kept]:
    """What comes back, goes on, or is removed for good, run by run; and does, unless it is only to be listed."""
    folder = _folder(params)
    listed: Callable[..., Moved]
    does: Callable[..., Moved]
    if params.empty_days is not None:
        runs = trash.older_than(params.empty_days)
        listed, does = trash.to_empty, trash.empty
    elif params.finish:
        runs = trash.unfinished()
        listed, does = trash.to_finish, partial(trash.finish, tell=bench.tell)
    else:
        runs = trash.runs()[::-1]  # the last that went comes back first
        listed, does = trash.to_restore, partial(trash.restore, tell=bench.tell)

    def planned() -> pa.Table:
        rows = [entry for run in runs for entry in _of(trash.entries(run), listed(run, folder=folder))]
        return pa.Table.from_pylist(rows, ENTRIES)

    listing = once(bench.notes / _LISTING, planned)  # by the first driver of this job
    done: list[dict[str, Any]] = []
    kept: list[tuple[str, str]] = []
    settled: set[str] = set()
    for run in runs:
        these = trash.entries(run)
        moved = (listed if params.dry_run else does)(run, folder=folder)
        told = {*moved.moved, *(path for path, _ in moved.left)}
        settled |= {_place(entry) for entry in these if entry["path"] in told}
        done += _of(these, moved)
        kept += moved.left
    before = [entry for entry in listing.to_pylist() if _place(entry) not in settled]
    return [*before, *done], kept


def _place(entry: Mapping[str, Any]) -> str:
    """Where it lies: one path may have gone in several runs."""
    return str(entry["trashed"] or entry["path"])


def _of(entries: Entries, moved: Moved) -> Entries:
    paths = set(moved.moved)
    return [entry for entry in entries if entry["path"] in paths]


def _write(bench: Workbench, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    (bench.scratch / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result, folder = CleanupResult.model_validate(units[RUN].manifest), units[RUN].folder
    made = [Made(folder / _REPORT, _REPORT, "application/jsonl", own=True)]
    told = []
    if result.kept:
        made.append(Made(folder / _KEPT, _KEPT, "application/jsonl", own=True))
        told.append(f"Left in place: {counted(result.kept, 'path')}; {_KEPT} tells why.")
    if result.unknown:
        told.append(
            f"{counted(result.unknown, 'file')} can't be looked at: whether there are copies among them isn't known."
        )
    if result.unfinished:
        mend = "finish carries on, restore brings back what went."
        told.append(f"Broken off while files went: {counted(result.unfinished, 'cleanup')}; {mend}")
    return Outcome(result, made, told)


OPERATION = Operation(
    name="collection-cleanup",
    summary="List what of a collection is missing, left over, broken or there twice; with dry_run off, move it to a "
    "trash, from which restore brings all of it back.",
    params=Params,
    result=CleanupResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    interactive=True,
    examples=({"sources": ["collection:photos"], "params": {"what": ["missing", "duplicates"], "dry_run": False}},),
)
