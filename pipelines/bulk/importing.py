"""What the sources of an import hold: files, folders, archives, and the files that manifests name."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import ChildCrashedError, ChildFailedError, ChildLimitError, StorageError
from cluster.identity import identify
from cluster.storage import flush_files, local_path, open_source
from pipelines.bulk.collection import Collection
from pipelines.bulk.scanning import Seen, kind_of, scan, seen_of, suffixes_of
from pipelines.jobs.errors import job_error
from pipelines.jobs.workbench import Workbench
from pipelines.media.collecting.collecting_spec import ARCHIVES, MANIFESTS, Listed, Unpacked

_UNPACK, _LISTED = "pipelines.media.collecting.archives:unpack", "pipelines.media.collecting.manifests:listed"
_NOTE = "members.json"
_OF_SOURCE = (ChildFailedError, ChildCrashedError, ChildLimitError)


@dataclass(frozen=True)
class Looked:
    """Where an import has looked: in ``folders`` but those below ``closed`` ones, and in ``lists``, which are archives
    and manifests; for files of some ``kinds``.
    """

    folders: tuple[str, ...]
    closed: tuple[str, ...]
    lists: frozenset[str]
    kinds: frozenset[str]

    @classmethod
    def of(cls, sources: Sequence[str], seen: Iterable[Seen], kinds: frozenset[str]) -> "Looked":
        """An archive or manifest that is refused, or a folder that can't be read, tells nothing of what it holds."""
        refused = {each.uri for each in seen if each.problem is not None}
        paths = [local_path(source) for source in sources]
        return cls(
            folders=tuple(f"{path}/" for path in paths if path.is_dir()),
            closed=tuple(f"{uri}/" for uri in refused),
            lists=frozenset(str(path) for path in paths if is_list(path) and str(path) not in refused),
            kinds=kinds,
        )

    def would_find(self, row: Mapping[str, Any]) -> bool:
        """Whether a file of the collection would have been found, were it still there."""
        uri = row["uri"]
        if row["root"] in self.lists:
            return row["kind"] in self.kinds or not os.path.lexists(uri)
        if not uri.startswith(self.folders) or uri.startswith(self.closed):
            return False
        # A folder that couldn't be read is a row, too, of no kind that is asked for.
        return row["kind"] in self.kinds or (row["state"] == "unreadable" and os.path.isdir(uri))  # noqa: PTH112


def is_list(path: Path) -> bool:
    """Whether it is an archive or a manifest: then the files are those that it holds or names."""
    return path.name.lower().endswith(ARCHIVES + MANIFESTS) and not path.is_dir()


def seen_in(bench: Workbench, collection: Collection, kinds: frozenset[str]) -> Iterator[Seen]:
    """Every file of one of ``kinds`` that the sources of ``bench`` hold or name; archives are unpacked.

    What is wrong with one of several archives or manifests is told in its place.

    Raises:
        StorageError: a source isn't there, or outside the roots.
        ChildFailedError, ChildCrashedError, ChildLimitError: the only source is an archive or manifest that is refused.
    """
    for source in bench.sources:
        if not is_list(local_path(source)):
            yield from scan([source], bench.read_roots, kinds=kinds)
            continue
        try:
            found = _unpacked if source.lower().endswith(ARCHIVES) else _named
            yield from found(bench, collection, source, kinds)
        except _OF_SOURCE as error:
            if len(bench.sources) == 1:
                raise
            path = local_path(source)
            yield Seen(str(path), path.name, str(path), kind_of(path.name), problem=job_error(error).message)


def _unpacked(bench: Workbench, collection: Collection, source: str, kinds: frozenset[str]) -> Iterator[Seen]:
    """The files of an archive, unpacked into the collection; once, while it stays as it is."""
    path = local_path(source)
    with open_source(source, bench.read_roots) as opened:
        identity = identify(opened.descriptor).digest
    place = collection.folder / "unpacked" / _digest(str(path))
    folder = place / _digest(identity, *sorted(kinds))
    if not (folder / _NOTE).exists():
        making = bench.scratch / folder.name
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        target, suffixes = str(making), list(suffixes_of(kinds))
        unpacked = bench.call(_UNPACK, Unpacked, source, target=target, suffixes=suffixes)
        (making / _NOTE).write_text(unpacked.model_dump_json())
        flush_files(making)
        shutil.rmtree(place, ignore_errors=True)  # what an earlier form of it held
        place.mkdir(parents=True, mode=0o700)
        shutil.move(making, folder)
    for member in Unpacked.model_validate(json.loads((folder / _NOTE).read_text())).members:
        file = folder / member.file
        if kind_of(member.name) in kinds and file.exists():  # one that was cleaned up stays away
            yield seen_of(str(file), f"{path.name}!{member.name}", str(path), file.stat())


def _named(bench: Workbench, _collection: Collection, source: str, kinds: frozenset[str]) -> Iterator[Seen]:
    """The files that a manifest names, each once; a name without a root is below its folder."""
    path = local_path(source)
    told: set[str] = set()
    for name in bench.call(_LISTED, Listed, source).names:
        if kind_of(name) not in kinds:
            continue
        uri = name if name.startswith(("/", "file:")) or "://" in name else str(path.parent / name)
        try:
            uri = str(local_path(uri))
            with open_source(uri, bench.read_roots) as opened:
                seen = seen_of(uri, name, str(path), os.fstat(opened.descriptor))
        except StorageError as error:
            seen = Seen(uri, name, str(path), kind_of(name), problem=error.message)
        if seen.uri not in told:
            told.add(seen.uri)
            yield seen


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
