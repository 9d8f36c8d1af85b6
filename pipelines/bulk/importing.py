"""What the sources of an import hold: files, folders, archives, and the files that manifests name."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.disk import flush_files
from cluster.errors import ChildCrashedError, ChildFailedError, ChildLimitError, StorageError
from cluster.locations import local_path, location_of
from cluster.object_paths import is_object_uri
from cluster.sources import OpenObject, OpenSource, open_source
from pipelines.bulk.collection import Collection
from pipelines.bulk.scanning import Seen, kind_of, scan, scan_objects, seen_object, seen_of, suffixes_of
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
    closed: frozenset[str]
    lists: frozenset[str]
    kinds: frozenset[str]

    @classmethod
    def of(cls, sources: Sequence[str], seen: Iterable[Seen], kinds: frozenset[str]) -> "Looked":
        """An archive or manifest that is refused, or a folder that can't be read, tells nothing of what it holds."""
        refused = {each.uri for each in seen if each.problem is not None}
        lists = {str(location_of(source)) for source in sources if is_list(source)}
        return cls(
            folders=tuple(f"{location_of(source)}/" for source in sources if _is_folder(source)),
            closed=frozenset(refused),
            lists=frozenset(lists - refused),
            kinds=kinds,
        )

    def would_find(self, row: Mapping[str, Any]) -> bool:
        """Whether a file of the collection would have been found, were it still there."""
        uri = row["uri"]
        if row["root"] in self.lists:
            return row["kind"] in self.kinds or not os.path.lexists(uri)
        if not uri.startswith(self.folders) or any(each in self.closed for each in _folders_above(uri)):
            return False
        # A folder that couldn't be read is a row, too, of no kind that is asked for.
        return row["kind"] in self.kinds or (row["state"] == "unreadable" and os.path.isdir(uri))  # noqa: PTH112


def _folders_above(uri: str) -> Iterator[str]:
    """From the nearest to the outermost."""
    at = uri.rfind("/")
    while at > 0:
        yield uri[:at]
        at = uri.rfind("/", 0, at)


def is_list(source: str) -> bool:
    """Whether it is an archive or a manifest: then the files are those that it holds or names."""
    return location_of(source).name.lower().endswith(ARCHIVES + MANIFESTS) and not _is_folder(source)


def _is_folder(source: str) -> bool:
    """In object storage a slash at its end says so."""
    return source.endswith("/") if is_object_uri(source) else local_path(source).is_dir()


def seen_in(bench: Workbench, collection: Collection, kinds: frozenset[str]) -> Iterator[Seen]:
    """Every file of one of ``kinds`` that the sources of ``bench`` hold or name; archives are unpacked.

    What is wrong with one of several archives or manifests is told in its place.

    Raises:
        StorageError: a source isn't there, or outside the roots.
        ChildFailedError, ChildCrashedError, ChildLimitError: the only source is an archive or manifest that is refused.
    """
    for source in bench.sources:
        if not is_list(source):
            if is_object_uri(source):
                yield from scan_objects(source, bench.roots, kinds=kinds)
            else:
                yield from scan([source], bench.read_roots, kinds=kinds)
            continue
        try:
            found = _unpacked if source.lower().endswith(ARCHIVES) else _named
            yield from found(bench, collection, source, kinds)
        except _OF_SOURCE as error:
            if len(bench.sources) == 1:
                raise
            path = location_of(source)
            yield Seen(str(path), path.name, str(path), kind_of(path.name), problem=job_error(error).message)


def _unpacked(bench: Workbench, collection: Collection, source: str, kinds: frozenset[str]) -> Iterator[Seen]:
    """The files of an archive, unpacked into the collection; once, while it stays as it is."""
    path, identity = location_of(source), bench.identity(source).digest
    place = collection.folder / "unpacked" / _digest(str(path))
    folder = place / _digest(identity, *sorted(kinds))
    if not (folder / _NOTE).exists():
        making = bench.scratch / folder.name
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        target, suffixes = str(making), list(suffixes_of(kinds))
        unpacked = bench.call(_UNPACK, Unpacked, source, target=target, suffixes=suffixes)
        for member in unpacked.members:
            os.utime(making / member.file, (member.modified_s, member.modified_s), follow_symlinks=False)
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
    path = location_of(source)
    told: set[str] = set()
    for name in bench.call(_LISTED, Listed, source).names:
        if kind_of(name) not in kinds:
            continue
        uri = name if name.startswith(("/", "file:")) or "://" in name else f"{path.parent}/{name}"
        try:
            uri = str(location_of(uri))
            with open_source(uri, bench.roots) as opened:
                seen = _seen_open(opened, name, str(path))
        except StorageError as error:
            seen = Seen(uri, name, str(path), kind_of(name), problem=error.message)
        if seen.uri not in told:
            told.add(seen.uri)
            yield seen


def _seen_open(opened: OpenSource, name: str, root: str) -> Seen:
    if isinstance(opened, OpenObject):
        return seen_object(opened.listed, name, root)
    return seen_of(str(opened.path), name, root, os.fstat(opened.descriptor))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
