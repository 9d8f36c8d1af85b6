"""Collections: catalogues of media files, each a folder of tables below MEDIARAY_HOME.

``files`` has a row for each file, by its URI; ``results/TASK`` what a task made of each content, by its identity. So
nothing is done twice for a file that was renamed. What side-cars tell is of the file that they lie beside.
"""

import contextlib
import fcntl
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator

from cluster.errors import StorageError
from cluster.home import write_private
from cluster.object_paths import is_object_uri
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.tasks import Task
from pipelines.jobs.catalogue import COLLECTION
from pipelines.jobs.workbench import Workbench

_NOTE = "task.json"  # beside the results of each task
_PREDECESSOR_S = 30.0  # a worker that is stuck is killed, which takes a moment on a machine that is busy
_LOOK_EVERY_S = 0.1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAMES = "small letters, digits, dots and dashes, at most 63."
_TIME = pa.timestamp("us", tz="UTC")
FILES = pa.schema(
    {
        "uri": pa.string(),
        "path": pa.string(),  # below the folder that was imported
        "root": pa.string(),  # that folder
        "identity": pa.string(),
        "stamp": pa.string(),  # what the file system notes; none: it may have changed since it was read
        "size_bytes": pa.int64(),
        "modified_at": _TIME,
        "kind": pa.string(),  # video, audio, image or other, by the name
        "state": pa.string(),  # present, missing or unreadable
        "code": pa.string(),
        "message": pa.string(),
        AT: _TIME,
    }
)
ARTIFACT = pa.struct({"path": pa.string(), "size_bytes": pa.int64(), "media_type": pa.string()})
RESULTS = pa.schema(
    {
        "identity": pa.string(),  # of a content; or a file's URI, where the task is of files
        "state": pa.string(),  # done, or failed
        "attempts": pa.int32(),
        "code": pa.string(),
        "message": pa.string(),
        "result": pa.string(),  # JSON
        "artifacts": pa.list_(ARTIFACT),
        AT: _TIME,
    }
)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} can't be a collection's name: {_NAMES}")
    return name


CollectionName = Annotated[str, AfterValidator(_checked_name)]


class Collection:
    """One by its folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.files = Table(folder / "files", FILES, "uri")

    @classmethod
    def named(cls, home: Path, name: str) -> "Collection":
        """A collection of this server, there or not. Raises StorageError: ``collection_name_invalid``."""
        try:
            return cls(home / "collections" / _checked_name(name))
        except ValueError as error:
            raise StorageError("collection_name_invalid", str(error)) from error

    @classmethod
    def of_source(cls, home: Path, source: str) -> "Collection":
        """The collection that ``collection:NAME`` means. Raises StorageError: ``collection_not_found``, too."""
        collection = cls.named(home, source.removeprefix(COLLECTION))
        if not collection.folder.is_dir():
            there = ", ".join(each.name for each in all_collections(home)) or "none yet; mediaray collection-import"
            raise StorageError("collection_not_found", f"There is no collection {collection.name}. There are: {there}.")
        return collection

    @classmethod
    def of_job(cls, bench: Workbench) -> "Collection":
        """The collection that a job's first source means. Raises as ``of_source``."""
        return cls.of_source(bench.home, bench.sources[0])

    def results(self, task: Task) -> Table:
        """What ``task`` made so far."""
        folder = self.folder / "results" / task.key
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        note = folder / _NOTE
        if _noted(note) is None:
            write_private(note, task.model_dump_json())
        return Table(folder, RESULTS, "identity")

    def tasks(self) -> list[Task]:
        """The tasks that have results. One whose note is damaged is known again when it is done again."""
        return [task for key, task in self._noted_tasks() if task.key == key]

    def superseded(self) -> list[str]:
        """What the results of tasks are kept under that another version did. Nothing reads them any more."""
        return [key for key, task in self._noted_tasks() if task.key != key]

    def _noted_tasks(self) -> list[tuple[str, Task]]:
        notes = sorted((self.folder / "results").glob(f"*/{_NOTE}"))
        return [(note.parent.name, task) for note in notes if (task := _noted(note)) is not None]

    def artifacts(self, task: Task) -> Path:
        """Where files go that a task makes and nobody named a folder for."""
        return self.folder / "artifacts" / task.key

    @contextlib.contextmanager
    def alone(self, what: str, job_id: str = "") -> Iterator[None]:
        """Be the only one who writes ``what``, the files or a task's results.

        An earlier driver of the same job is about to end: it is waited for.

        Raises:
            StorageError: ``collection_busy``.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / f"{what}.lock").open("a+") as lock:
            deadline = time.monotonic() + _PREDECESSOR_S
            while not _taken(lock):
                if not job_id or _holder(lock) != job_id or time.monotonic() > deadline:
                    told = f"Another job does the same with the collection {self.name}. Wait for its end."
                    raise StorageError("collection_busy", told)
                time.sleep(_LOOK_EVERY_S)
            lock.truncate(0)
            lock.write(job_id)
            lock.flush()
            yield


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read()


def _noted(note: Path) -> Task | None:
    """The task that a note tells of; None where there is none, or it is damaged."""
    try:
        return Task.model_validate_json(note.read_text())
    except (OSError, ValueError):
        return None


def are_objects(rows: pa.Table) -> pa.ChunkedArray:
    """Which of the files with these ``uri`` lie in object storage."""
    objects = [uri for uri in rows["uri"].to_pylist() if is_object_uri(uri)]
    return pc.is_in(rows["uri"], pa.array(objects, pa.string()))


def all_collections(home: Path) -> list[Collection]:
    """Those that are there, by name."""
    folders = sorted((home / "collections").glob("*/files"))
    return [Collection(folder.parent) for folder in folders]
