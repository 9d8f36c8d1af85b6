"""A collection's trash: files that were cleaned up, each moved there by one rename, until it is restored or emptied.

What goes is on the disk as a table before the first file moves, with the rows of the catalogue that go with it. Each
step may be done again: whoever is killed half-way, the next one finishes it.
"""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.disk import flush_folder
from cluster.errors import StorageError
from pipelines.bulk.collection import FILES, RESULTS, Collection
from pipelines.bulk.facts import facts_of, holds_as_much
from pipelines.bulk.moving import move, move_back
from pipelines.bulk.tables import AT, Table

FOLDER = ".mediaray-trash"  # on another file system than the server's home
OF_FILES = "files"  # an entry's table: that of the files; any other is of a task's results
ENTRIES = pa.schema(
    {
        "path": pa.string(),
        "what": pa.string(),
        "why": pa.string(),
        "best": pa.string(),  # the copy that stays
        "best_stamp": pa.string(),  # what the file system notes of it
        "size_bytes": pa.int64(),
        "modified_ns": pa.int64(),
        "identity": pa.string(),  # of its content
        "table": pa.string(),  # whose row goes with it
        "key": pa.string(),  # of that row
        "trashed": pa.string(),  # where it goes; none: there is no file, a row alone goes
        AT: pa.timestamp("us", tz="UTC"),
    }
)
_PLAN, _DONE, _ENTRIES = "plan", "done", "entries"
_DAY_S = 86_400.0
Tell = Callable[[float], None]


@dataclass(frozen=True)
class Moved:
    """Paths of what was moved, or taken out of the catalogue; and of what was left where it was, with the reasons."""

    moved: Sequence[str]
    left: Sequence[tuple[str, str]]


class Trash:
    """That of a collection, on a server whose state is below ``home``; what is outside ``roots`` isn't touched.

    A run is what one job threw away. Whoever calls is the only one who writes the collection's files.
    """

    def __init__(self, collection: Collection, home: Path, roots: Sequence[Path]) -> None:
        self._collection = collection
        self._folder = home / "trash" / collection.name
        self._roots = tuple(roots)
        self._places: dict[Path, Path | None] = {}
        self._thrown: dict[str, dict[str, Any]] | None = None

    def runs(self) -> list[str]:
        """The oldest first."""
        return sorted({part.parent.parent.name for part in self._folder.glob(f"*/{_ENTRIES}/*.parquet")})

    def unfinished(self) -> list[str]:
        """Runs that were broken off while files went."""
        return [run for run in self.runs() if not (self._folder / run / _DONE).exists()]

    def older_than(self, days: float) -> list[str]:
        """Runs that were done longer ago."""
        at = time.time() - days * _DAY_S
        done = {run: self._folder / run / _DONE for run in self.runs()}
        return [run for run, mark in done.items() if mark.exists() and mark.stat().st_mtime <= at]

    def entries(self, run: str, folder: Path | None = None) -> list[dict[str, Any]]:
        """What a run threw away, or was about to; ``folder``: of what lay in it."""
        found: list[dict[str, Any]] = self._entries(run).read().to_pylist()
        return [entry for entry in found if folder is None or Path(entry["path"]).is_relative_to(folder)]

    def to_finish(self, run: str, folder: Path | None = None) -> Moved:
        """What ``finish`` would move yet, if nothing changes."""
        return Moved([entry["path"] for entry in self.entries(run, folder) if not _is_held(entry)], ())

    def files(self, outside: Path) -> list[str]:
        """The files that are in the trash, or may be on a disk that is away; those that lay in ``outside`` aside."""
        entries = [entry for run in self.runs() for entry in self.entries(run) if entry["trashed"]]
        held = [entry for entry in entries if _is_held(entry) or _is_away(entry)]
        return [entry["path"] for entry in held if not Path(entry["path"]).is_relative_to(outside)]

    def clear(self) -> None:
        """Remove for good whatever is in the trash."""
        for run in self.runs():
            entries = self.entries(run)
            for entry in entries:
                if entry["trashed"]:
                    Path(entry["trashed"]).unlink(missing_ok=True)
            self._forget(run, entries)

    def begin(self, run: str, entries: pa.Table) -> None:
        """Note what goes: a row of ENTRIES for each, of which ``trashed`` and ``at`` are told here."""
        self._thrown = None
        folder = self._folder / run
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for table, keys in _keys(entries).items():
            rows = self._table(table).read()
            saved = self._saved(run, table)
            saved.append(_PLAN, rows.filter(pc.is_in(rows[saved.key], keys)))
        trashed = [
            None if size is None else str(self.place(run, Path(path).parent) / f"{number:06d}")
            for number, (path, size) in enumerate(
                zip(entries["path"].to_pylist(), entries["modified_ns"].to_pylist(), strict=True)
            )
        ]
        entries = entries.drop([name for name in ("trashed", AT) if name in entries.column_names])
        entries = entries.append_column("trashed", pa.array(trashed, pa.string()))
        entries = entries.append_column(AT, pa.array([datetime.now(UTC)] * len(entries), ENTRIES.field(AT).type))
        self._entries(run).append(_PLAN, entries.select(ENTRIES.names))

    def place(self, run: str, folder: Path) -> Path:
        """Where files of ``folder`` go: to where a move is a rename, and may be made.

        Raises:
            StorageError: ``output_not_writable``: nowhere.
        """
        if folder not in self._places:
            own = self._folder / run
            try:
                device = folder.stat().st_dev
                above = [each for each in (*reversed(folder.parents), folder) if self._is_of(each, device)]
                places = [own / "moved"] if _existing(own).stat().st_dev == device else []
            except OSError as error:
                raise StorageError("output_not_writable", f"{folder}: {error.strerror}.") from error
            places += [each / FOLDER / f"{self._collection.name}-{run}" for each in above]
            self._places[folder] = next((each for each in places if _may_be_made(each)), None)
        place = self._places[folder]
        if place is None:
            told = f"No folder of the file system that {folder} is on may be written, so that nothing of it can go."
            raise StorageError("output_not_writable", told)
        return place

    def _is_of(self, folder: Path, device: int) -> bool:
        return any(folder.is_relative_to(root) for root in self._roots) and folder.stat().st_dev == device

    def finish(self, run: str, tell: Tell, folder: Path | None = None) -> Moved:
        """Move what isn't moved yet, and take its rows out of the catalogue. ``folder``: only what lies in it."""
        entries = self.entries(run, folder)
        left: dict[str, str] = {}
        for number, entry in enumerate(entries):
            try:
                if entry["trashed"]:
                    move(entry, self._roots)
            except StorageError as error:
                left[entry["path"]] = error.message
            tell(number / len(entries))
        moved = [entry for entry in entries if entry["trashed"]]
        for each in {Path(entry[name]).parent for entry in moved for name in ("path", "trashed")}:
            with contextlib.suppress(StorageError):  # it may be gone since
                flush_folder(each)
        gone = pa.Table.from_pylist([entry for entry in entries if entry["path"] not in left], ENTRIES)
        kept = _keys(pa.Table.from_pylist([entry for entry in entries if entry["path"] in left], ENTRIES))
        for table, keys in self._known(_keys(gone)).items():
            if table in kept:
                keys = keys.filter(pc.invert(pc.is_in(keys, kept[table])))
            with self._alone(table):
                self._table(table).drop(keys, before=entries[0][AT])
        every = self.entries(run)
        if len(entries) == len(every) or all(map(_is_held, every)):
            self._mark(run)
        return Moved(gone["path"].to_pylist(), list(left.items()))

    def to_restore(self, run: str, folder: Path | None = None) -> Moved:
        """What ``restore`` would bring back, if nothing changes."""
        entries = self.entries(run, folder)
        left = {entry["path"]: why for entry in entries if (why := _hindrance(entry))}
        back = [entry["path"] for entry in entries if _is_held(entry) and entry["path"] not in left]
        return Moved(back, list(left.items()))

    def restore(self, run: str, tell: Tell, folder: Path | None = None) -> Moved:
        """Move all of it back, where nothing else has its name now; and put its rows back.

        ``folder``: only what lay in it. What isn't moved back, since the run was broken off before it went, is told of
        neither way.
        """
        entries, every = self.entries(run, folder), self.entries(run)
        paths = {entry["path"] for entry in entries}
        if all(entry["path"] in paths or _is_held(entry) for entry in every):
            self._mark(run)  # if it was killed half-way, nobody is to finish it now
        held = {entry["path"] for entry in entries if _is_held(entry)}
        left: dict[str, str] = {}
        for number, entry in enumerate(entries):
            try:
                if why := _hindrance(entry):
                    left[entry["path"]] = why
                elif entry["trashed"]:
                    move_back(entry, self._roots)
            except StorageError as error:
                left[entry["path"]] = error.message
            tell(number / len(entries))
        back = [entry for entry in entries if entry["path"] not in left]
        for table, keys in self._known(_keys(pa.Table.from_pylist(back, ENTRIES))).items():
            with self._alone(table):
                self._put_back(run, table, keys)
        self._forget(run, back)
        return Moved([entry["path"] for entry in back if entry["path"] in held], list(left.items()))

    def _put_back(self, run: str, table: str, keys: pa.Array) -> None:
        saved, current = self._saved(run, table), self._table(table)
        rows = saved.read()
        rows = rows.filter(pc.is_in(rows[saved.key], keys))
        rows = rows.filter(pc.invert(pc.is_in(rows[saved.key], current.read((saved.key,))[saved.key])))
        if not len(rows):
            return
        now = {AT: pa.array([datetime.now(UTC)] * len(rows), saved.schema.field(AT).type)}
        if table == OF_FILES:  # the file system notes a move: what was noted before is of no use
            now["stamp"] = pa.nulls(len(rows), pa.string())
        for name, values in now.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        current.append(f"restored-{uuid.uuid4().hex}", rows)

    def to_empty(self, run: str, folder: Path | None = None) -> Moved:
        """What ``empty`` would remove: no copy whose best isn't there any more, for it may be the last."""
        entries = self.entries(run, folder)
        held = [entry for entry in entries if _is_held(entry)]
        left = {entry["path"]: _away(entry) for entry in entries if _is_away(entry)}
        left |= {
            entry["path"]: f"It went since {entry['best']} stays, which isn't there any more as it was."
            for entry in held
            if entry["trashed"] and entry["best"] and not _has_best(entry, self._every())
        }
        return Moved([entry["path"] for entry in held if entry["path"] not in left], list(left.items()))

    def _every(self) -> Mapping[str, Mapping[str, Any]]:
        """What any run threw away, by path, as it was when that was first asked for: what is emptied stays in it."""
        if self._thrown is None:
            self._thrown = {entry["path"]: entry for run in self.runs() for entry in self.entries(run)}
        return self._thrown

    def empty(self, run: str, folder: Path | None = None) -> Moved:
        """Remove for good what a run threw away. ``folder``: only what lay in it."""
        emptied = self.to_empty(run, folder)
        left = {path for path, _ in emptied.left}
        gone = [entry for entry in self.entries(run, folder) if entry["path"] not in left]
        for entry in gone:
            if entry["trashed"]:
                Path(entry["trashed"]).unlink(missing_ok=True)
        self._forget(run, gone)
        return emptied

    def _forget(self, run: str, entries: Sequence[dict[str, Any]]) -> None:
        """Take entries out of a run; with the last one the run goes.

        Their folders go after: an entry whose folder isn't there is taken for one on a disk that is away.
        """
        paths = pa.array([entry["path"] for entry in entries], pa.string())
        if len(paths) < len(self.entries(run)):
            self._entries(run).drop(paths, before=datetime.now(UTC))
        else:
            shutil.rmtree(self._folder / run / _ENTRIES)  # first: without it nothing that is left of a run counts
            shutil.rmtree(self._folder / run)
        for folder in {Path(entry["trashed"]).parent for entry in entries if entry["trashed"]}:
            with contextlib.suppress(OSError):  # others use it, or it was never made
                folder.rmdir()
                if folder.parent.name == FOLDER:
                    folder.parent.rmdir()

    def _mark(self, run: str) -> None:
        (self._folder / run / _DONE).touch()
        flush_folder(self._folder / run)

    def _entries(self, run: str) -> Table:
        return Table(self._folder / run / _ENTRIES, ENTRIES, "path")

    def _saved(self, run: str, table: str) -> Table:
        schema, key = (FILES, "uri") if table == OF_FILES else (RESULTS, "identity")
        return Table(self._folder / run / f"rows-{table}", schema, key)

    def _table(self, table: str) -> Table:
        if table == OF_FILES:
            return self._collection.files
        return Table(self._results(table), RESULTS, "identity")

    def _known(self, keys: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """Those of tables that are there. Results of a task that was superseded went, and come back, as files."""
        return {table: each for table, each in keys.items() if table == OF_FILES or self._results(table).is_dir()}

    def _results(self, table: str) -> Path:
        return self._collection.folder / "results" / table

    def _alone(self, table: str) -> contextlib.AbstractContextManager[None]:
        """The caller is the only one who writes the files already."""
        return contextlib.nullcontext() if table == OF_FILES else self._collection.alone(table)


def _existing(folder: Path) -> Path:
    """A folder, or what is there of those above it. A link is as good as none: it isn't gone through."""
    return folder if os.path.lexists(folder) else _existing(folder.parent)


def _may_be_made(folder: Path) -> bool:
    there = _existing(folder)
    return there.is_dir() and not there.is_symlink() and os.access(there, os.W_OK | os.X_OK)


def _is_held(entry: Mapping[str, Any]) -> bool:
    """Whether it went: a file that is in the trash, or a row alone."""
    return not entry["trashed"] or os.path.lexists(entry["trashed"])


def _is_away(entry: Mapping[str, Any]) -> bool:
    """Whether a file may be in the trash of a disk that isn't there: neither it is to be seen, nor that trash."""
    if not entry["trashed"] or os.path.lexists(entry["path"]):
        return False
    place = Path(entry["trashed"]).parent
    return place.parent.name == FOLDER and not place.is_dir()  # one below the server's home is made when it is needed


def _away(entry: Mapping[str, Any]) -> str:
    place = Path(entry["trashed"]).parent
    return f"{place} isn't there, as of a disk that isn't mounted. If it is gone for good, make that folder anew."


def _hindrance(entry: Mapping[str, Any]) -> str | None:
    """Why a file can't come back from the trash, as far as it is to be seen without trying."""
    path, trashed = entry["path"], entry["trashed"]
    if not trashed:
        return None
    if not os.path.lexists(path):
        if _is_held(entry):
            return None
        return _away(entry) if _is_away(entry) else f"{path} isn't in the trash any more."
    if not _is_held(entry) or os.path.samestat(os.lstat(path), os.lstat(trashed)):  # it is back, or as good as that
        return None
    return f"{path} exists already."


def _has_best(entry: Mapping[str, Any], every: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the copy is there that stays instead; or that for whose sake that one went, too. ``every``: by path."""
    told: set[str] = set()
    at: Mapping[str, Any] | None = entry
    while at is not None and at["best"] and at["best"] not in told:
        told.add(at["best"])
        facts = facts_of(at["best"])
        if facts is not None:
            return holds_as_much(facts, at["best_stamp"] or "")
        at = every.get(at["best"])
    return False


def _keys(entries: pa.Table) -> dict[str, pa.Array]:
    """The rows that go with entries: their keys, by the tables that they are in."""
    with_rows = entries.filter(pc.is_valid(entries["table"]))
    tables = pc.unique(with_rows["table"]).to_pylist()
    return {
        table: with_rows.filter(pc.equal(with_rows["table"], table))["key"].combine_chunks().unique()
        for table in tables
    }
