"""What of a collection is to be cleaned up, worked out without touching anything."""

import json
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import StorageError
from cluster.files import open_file
from cluster.identity import listed_stamp_of
from cluster.object_paths import is_object_uri
from pipelines.bulk.absence import Absence
from pipelines.bulk.collection import Collection
from pipelines.bulk.duplicates import Copy, Group, why_better
from pipelines.bulk.facts import facts_of, inode_in, is_as_imported
from pipelines.bulk.scanning import is_text
from pipelines.bulk.tables import AT, newest
from pipelines.bulk.trash import FOLDER, OF_FILES

What = Literal["missing", "orphaned", "temporary", "broken", "duplicates", "similar", "superseded"]
# A staged file as `cluster.staging` names it: the target's name, the job's id, the fence.
_STAGED = re.compile(r"\..*\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d*\.mediaray-part", re.DOTALL)
_STAGED_AGE_S = 3600.0  # a younger one may be of a job that is about to publish it
_CHANGED = "It changed since it was imported. Import it again."
_OBJECT = "It is an object in a store, and a trash is a folder: of objects only rows go."
_IDENTITY = re.compile(r"[0-9a-f]{64}")
_JUDGES = frozenset({"probe", "validate", "image-analyze"})  # operations whose failure tells that a file is broken
# Not among them: not_media. A file of a format that isn't read here may be well.
_DAMAGED = pa.array(["source_unreadable", "source_truncated"])
_OUTCOME = ("identity", "state", "code", "message", "result", AT)
_NAMES = ("uri", "root", "identity", "stamp", "size_bytes", "modified_at", "state", "code", "message")


class Cleaning:
    """What would go, as rows of the trash's entries; ``kept`` tells of what can't, with the reasons.

    ``write`` are folders that may be written, beside those of the collection's own; ``read`` those that may be read.
    ``place`` tells where in the trash files of a folder would go. ``gone_folders``: rows of missing files go also where
    it may be their disk that is missing.
    """

    def __init__(
        self,
        collection: Collection,
        home: Path,
        read: Sequence[Path],
        write: Sequence[Path],
        place: Callable[[Path], Path],
        *,
        gone_folders: bool,
    ) -> None:
        self.kept: list[tuple[str, str]] = []
        self._collection = collection
        self._home = home
        self._read, self._write = read, write
        self._place = place
        self._gone_folders = gone_folders
        files = collection.files.read(_NAMES).sort_by("uri")
        self._files: Mapping[str, dict[str, Any]] = {row["uri"]: row for row in files.to_pylist()}

    def entries(self, what: Sequence[What], groups: Sequence[Group], folder: Path | None) -> list[dict[str, Any]]:
        """Each path once, by what it is, then by path; artifacts of what goes go with it. ``groups`` are of copies.

        ``folder``: only what lies in it.
        """
        found: dict[str, dict[str, Any]] = {}
        for each, entries in (
            ("missing", self._missing()),
            ("temporary", self._temporary()),
            ("broken", self._broken()),
            ("duplicates", self._copies("duplicates", [group for group in groups if group.kind == "exact"], found)),
            ("similar", self._copies("similar", [group for group in groups if group.kind != "exact"], found)),
            ("superseded", self._superseded()),
            ("orphaned", self._orphaned(found)),
        ):
            if each in what:
                for entry in sorted(entries, key=lambda entry: entry["path"]):
                    if folder is None or Path(entry["path"]).is_relative_to(folder):
                        found.setdefault(entry["path"], entry)
        if folder is not None:
            self.kept = [(path, why) for path, why in self.kept if Path(path).is_relative_to(folder)]
        return list(found.values())

    def _missing(self) -> Iterator[dict[str, Any]]:
        absence = Absence(self._files.values())
        for uri, row in self._files.items():
            if row["state"] != "missing" or os.path.lexists(uri):
                continue
            # An import has asked the store for an object; had it not answered, no row would say missing.
            doubted = not self._gone_folders and not is_object_uri(uri)
            if doubted and (doubt := absence.doubt(row)):
                self.kept.append((uri, f"{doubt} If its files are gone for good, set gone_folders."))
            else:
                yield self._row_entry(row, "missing", "It was imported, and isn't there any more.")

    def _row_entry(self, row: Mapping[str, Any], what: What, why: str) -> dict[str, Any]:
        told = {"what": what, "why": why, "size_bytes": row["size_bytes"], "identity": row["identity"]}
        return {"path": row["uri"], **told, "table": OF_FILES, "key": row["uri"]}

    def _orphaned(self, gone: Container[str]) -> Iterator[dict[str, Any]]:
        live = {row["identity"] for uri, row in self._files.items() if uri not in gone}
        for task in self._collection.tasks():
            folder = self._collection.artifacts(task)
            for path in _files_below(folder):
                identity = "".join(path.relative_to(folder).parts[1:2])[:64]
                if _IDENTITY.fullmatch(identity) and identity not in live:
                    told = {"identity": identity, "table": task.key, "key": identity}
                    yield from self._file_entry(path, "orphaned", "No file has the content that it was made of.", told)

    def _superseded(self) -> Iterator[dict[str, Any]]:
        for key in self._collection.superseded():
            for kind in ("results", "artifacts"):
                for path in _files_below(self._collection.folder / kind / key):
                    yield from self._file_entry(
                        path, "superseded", "Another version made it; nothing reads it any more."
                    )

    def _temporary(self) -> Iterator[dict[str, Any]]:
        old = time.time() - _STAGED_AGE_S
        for path in sorted({path for folder in self._folders() for path in _files_below(folder)}):
            job = _STAGED.fullmatch(path.name)
            if job and not (self._home / "scratch" / job[1]).exists():
                entries = self._file_entry(path, "temporary", f"The job {job[1]} staged it, and is over.")
                yield from (entry for entry in entries if entry["modified_ns"] < old * 1e9)

    def _folders(self) -> set[Path]:
        """Where jobs may have staged files: what was imported, and where their artifacts went."""
        folders = {Path(row["root"]) for row in self._files.values() if not is_object_uri(row["root"])}
        for task in self._collection.tasks():
            folders.add(self._collection.artifacts(task))
            artifacts = pc.list_flatten(self._collection.results(task).read(("artifacts",))["artifacts"])
            paths = pc.struct_field(artifacts, "path").to_pylist()
            folders |= {Path(path).parent for path in paths if not is_object_uri(path)}
        return folders

    def _broken(self) -> Iterator[dict[str, Any]]:
        operations = {task.operation for task in self._collection.tasks()} & _JUDGES
        why = {identity: told for each in sorted(operations) for identity, told in self._verdicts(each).items()}
        holders: defaultdict[str, set[str]] = defaultdict(set)  # one of them was read: they may differ where none is
        for row in self._files.values():
            if row["identity"] in why:
                facts = facts_of(row["uri"])
                stamp = row["stamp"] if facts is None else listed_stamp_of(facts).digest
                holders[row["identity"]].add(row["uri"] if is_object_uri(row["uri"]) else inode_in(stamp) or row["uri"])
        for row in self._files.values():
            if row["state"] == "unreadable" and row["code"] == "source_empty":
                yield from self._of_row(row, "broken", row["message"])
            elif row["state"] == "present" and row["identity"] in why and self._opens(row["uri"]):
                if len(holders[row["identity"]]) > 1:
                    self.kept.append((row["uri"], "Several files seem to hold the same; which was read isn't known."))
                else:
                    yield from self._of_row(row, "broken", why[row["identity"]])

    def _verdicts(self, operation: str) -> dict[str, str]:
        """The contents that an operation found broken, and why: what it came to last, whatever its parameters were."""
        tasks = [task for task in self._collection.tasks() if task.operation == operation]
        outcomes = newest([self._collection.results(task).read(_OUTCOME) for task in tasks], "identity")
        failed = outcomes.filter(pc.and_(pc.equal(outcomes["state"], "failed"), pc.is_in(outcomes["code"], _DAMAGED)))
        why = dict(zip(failed["identity"].to_pylist(), failed["message"].to_pylist(), strict=True))
        if operation == "validate":
            done = outcomes.filter(pc.equal(outcomes["state"], "done"))
            for identity, result in zip(done["identity"].to_pylist(), done["result"].to_pylist(), strict=True):
                told = json.loads(result)
                if told["verdict"] == "broken":
                    errors = [each["message"] for each in told["findings"] if each["severity"] == "error"]
                    why[identity] = errors[0] if errors else "It is broken."
        return why

    def _opens(self, uri: str) -> bool:
        """Whether it can be opened: else its place is at fault, and its content may be well."""
        if is_object_uri(uri):
            self.kept.append((uri, _OBJECT))
            return False
        try:
            with open_file(uri, self._read):
                return True
        except StorageError as error:
            self.kept.append((uri, error.message))
            return False

    def _copies(self, what: What, groups: Sequence[Group], gone: Container[str]) -> Iterator[dict[str, Any]]:
        for group in groups:
            best = group.copies[0]
            stays = best.uri not in gone and self._is_as_compared(best)
            for copy in group.copies[1:]:
                if copy.uri not in self._files:  # it went since the groups were found
                    continue
                if not stays:
                    self.kept.append((copy.uri, f"{best.uri}, the best of these copies, goes itself, or changed."))
                elif self._is_own(best.uri) and not self._is_own(copy.uri):
                    self.kept.append((copy.uri, f"{best.uri}, the best of these copies, is kept by this server alone."))
                elif not self._is_as_compared(copy):
                    self.kept.append((copy.uri, _CHANGED))
                else:
                    reason = group.reason if group.kind == "exact" else why_better(best, copy)
                    told = {"best": best.uri, "best_stamp": best.stamp}
                    yield from self._of_row(self._files[copy.uri], what, f"{best.uri} is kept: {reason}", told)

    def _is_as_compared(self, copy: Copy) -> bool:
        facts = facts_of(copy.uri)
        return facts is not None and listed_stamp_of(facts).digest == copy.stamp

    def _is_own(self, uri: str) -> bool:
        """Whether it is the server's: what it unpacked, made or threw away goes without anyone asking for the file."""
        path = Path(uri).resolve()
        return path.is_relative_to(self._home.resolve()) or FOLDER in path.parts

    def _of_row(
        self, row: Mapping[str, Any], what: What, why: str, told: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        if is_object_uri(row["uri"]):
            self.kept.append((row["uri"], _OBJECT))
            return
        facts = facts_of(row["uri"])
        if facts is None or not is_as_imported(row, facts):
            self.kept.append((row["uri"], _CHANGED))
            return
        about = {"identity": row["identity"], "table": OF_FILES, "key": row["uri"], **(told or {})}
        yield from self._file_entry(Path(row["uri"]), what, why, about)

    def _file_entry(
        self, path: Path, what: What, why: str, told: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        try:
            facts = path.lstat()
        except OSError:  # it went a moment ago
            return
        roots = (*self._write, self._collection.folder)
        if not stat.S_ISREG(facts.st_mode):
            self.kept.append((str(path), "It is a link; what it leads to isn't touched."))
        elif not any(path.is_relative_to(root) for root in roots) or not os.access(path.parent, os.W_OK | os.X_OK):
            mend = "Name its folder, or add it to MEDIARAY_OUTPUT_ROOTS."
            self.kept.append((str(path), f"It lies where this server may not write. {mend}"))
        elif problem := self._no_place(path.parent):
            self.kept.append((str(path), problem))
        else:
            facts_told = {"size_bytes": facts.st_size, "modified_ns": facts.st_mtime_ns}
            yield {"path": str(path), "what": what, "why": why, **facts_told, **(told or {})}

    def _no_place(self, folder: Path) -> str | None:
        try:
            self._place(folder)
        except StorageError as error:
            return error.message
        return None


def _files_below(folder: Path) -> Iterator[Path]:
    """Files in a folder and below it, through no link; not what is in a trash, and no names that aren't UTF-8."""
    for at, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != FOLDER]
        yield from (Path(at, name) for name in names if is_text(os.path.join(at, name)))  # noqa: PTH118 to be tested first
