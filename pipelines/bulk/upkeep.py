"""What a collection holds, at a glance; and how one is removed."""

import contextlib
import shutil
import uuid
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.errors import StorageError
from pipelines.bulk.collection import Collection
from pipelines.bulk.digests import NAME as DIGESTS
from pipelines.bulk.tasks import Task
from pipelines.bulk.trash import Trash
from pipelines.bulk.view import task_prefixes
from pipelines.bulk.watch_notes import WatchSummary, watch_summary
from pipelines.media.wording import counted


class TaskSummary(BaseModel, frozen=True, extra="forbid"):
    """What came of a task. ``columns``: what the names of its columns begin with."""

    columns: str
    operation: str
    params: dict[str, object]
    done: int
    failed: int
    codes: dict[str, int]


class Summary(BaseModel, frozen=True, extra="forbid"):
    """``size_bytes`` and ``kinds`` are of the ``files`` that are there, ``missing`` and ``unreadable`` ones aside.

    ``watched``: its folders are, or None.
    """

    name: str
    files: int
    size_bytes: int
    kinds: dict[str, int]
    missing: int
    unreadable: int
    roots: tuple[str, ...]
    watched: WatchSummary | None
    tasks: tuple[TaskSummary, ...]


def summary(collection: Collection) -> Summary:
    """A collection at a glance."""
    files = collection.files.read(("uri", "identity", "root", "kind", "size_bytes", "state"))
    states = Counter(files["state"].to_pylist())
    present = files.filter(pc.equal(files["state"], "present"))
    return Summary(
        name=collection.name,
        files=len(present),
        size_bytes=pc.sum(present["size_bytes"]).as_py() or 0,
        kinds=dict(Counter(present["kind"].to_pylist()).most_common()),
        missing=states["missing"],
        unreadable=states["unreadable"],
        roots=tuple(sorted(set(files["root"].to_pylist()))),
        watched=watch_summary(collection),
        tasks=tuple(
            _task_summary(collection, prefix, task, present[task.of])
            for prefix, task in task_prefixes(collection).items()
        ),
    )


def identities(home: Path, name: str) -> frozenset[str]:
    """Of the contents of a collection's files, as they were imported. Raises StorageError: there is no such one."""
    files = Collection.of_source(home, name).files.read(("identity",))
    return frozenset(files["identity"].drop_null().to_pylist())


def _task_summary(collection: Collection, prefix: str, task: Task, present: pa.ChunkedArray) -> TaskSummary:
    """Of contents that files of the collection still hold, or of files that are there."""
    outcomes = collection.results(task).read(("identity", "state", "code"))
    outcomes = outcomes.filter(pc.is_in(outcomes["identity"], present.combine_chunks()))
    states = Counter(outcomes["state"].to_pylist())
    failed = outcomes.filter(pc.equal(outcomes["state"], "failed"))
    return TaskSummary(
        columns=prefix,
        operation=task.operation,
        params=task.params,
        done=states["done"],
        failed=states["failed"],
        codes=dict(Counter(failed["code"].to_pylist()).most_common()),
    )


def remove(collection: Collection, home: Path) -> None:
    """Remove a collection and the artifacts kept with it; no source. It is gone by name at once.

    Raises:
        StorageError: ``collection_busy``: a job is at it; ``collection_in_trash``: files of it are in the trash.
    """
    trash = Trash(collection, home, ())
    with contextlib.ExitStack() as held:
        for what in ("files", DIGESTS, *(task.key for task in collection.tasks())):
            held.enter_context(collection.alone(what))
        if files := trash.files(outside=collection.folder):
            mend = "Restore what is in it, or remove it for good (empty_days), and then the collection."
            held_there = f"The trash of {collection.name} holds {counted(len(files), 'file')}."
            raise StorageError("collection_in_trash", f"{held_there} {mend}")
        gone = home / "scratch" / f"removed-{uuid.uuid4().hex}"
        trash.clear()
        collection.folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
