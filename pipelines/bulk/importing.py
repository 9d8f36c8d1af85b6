"""What the sources of an import hold: files, folders, archives, and the files that manifests name."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator

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


def seen_in(bench: Workbench, collection: Collection, kinds: frozenset[str]) -> Iterator[Seen]:
    """Every file of one of ``kinds`` that the sources of ``bench`` hold or name; archives are unpacked.

    What is wrong with one of several archives or manifests is told in its place.

    Raises:
        StorageError: a source isn't there, or outside the roots.
        ChildFailedError, ChildCrashedError, ChildLimitError: the only source is an archive or manifest that is refused.
    """
    for source in bench.sources:
        name = source.lower()
        if not name.endswith(ARCHIVES + MANIFESTS) or local_path(source).is_dir():
            yield from scan([source], bench.read_roots, kinds=kinds)
            continue
        try:
            found = _unpacked if name.endswith(ARCHIVES) else _named
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
