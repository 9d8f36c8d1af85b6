"""Pictures for a page, now: made once, kept on disk, and made once only where many ask at the same time."""

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from cluster.cache import Address, Cache, operation_tag, source_tag
from cluster.child import MediaChild
from cluster.errors import ChildFailedError
from cluster.file_cache import FileCache
from cluster.identity import Identity
from cluster.roots import Roots
from cluster.sources import OpenSource, open_source
from pipelines.jobs.build import build_id
from pipelines.jobs.errors import BusyError
from pipelines.jobs.models import JobError, Value
from pipelines.jobs.own_fault import kept_fault, known_fault
from pipelines.jobs.place_faults import place_fault
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.images.room import Room
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult

_FUNCTION = "pipelines.media.images.thumbnails:thumbnails"
_OPERATION, _UNIT = "image-thumbnails", "picture"  # whose work it is
_OF_SOURCE = 32  # characters of a key: it begins with its source's identity, to be found by that
WAIT_S = 10.0  # of somebody who waits for an answer, until a child is free
_LIMIT_S = 15.0  # of the same, for what the child does
_ROOM = Room(size_bytes=640 << 20, alone=False)  # in a child that claims nothing: a PNG of some 25 megapixels
_Lend = Callable[[], AbstractContextManager[MediaChild]]


class ServedPicture(Value):
    """A file to send. ``etag`` names the version of its source and how it was made: see ``etag_of``."""

    path: str
    media_type: str
    etag: str


class KnownPicture(Value):
    """One that whoever asks has already."""

    etag: str


class ServedPictures:
    """Makes and finds them. ``lend`` gives a child for as long as one is needed, ``lend_slow`` one for a giant.

    Giants are made one at a time, and hold up no other picture.
    """

    def __init__(self, files: FileCache, cache: Cache, lend: _Lend, lend_slow: _Lend) -> None:
        self._files, self._cache = files, cache
        self._lend, self._lend_slow = lend, lend_slow
        self._giants = threading.Lock()

    def get(self, source: str, spec: ThumbnailSpec, roots: Roots) -> ServedPicture | JobError:
        """The rendition of ``source`` that ``spec`` asks for, whose first size counts; or what is wrong with the file.

        Raises:
            StorageError, ChildError: as a job of it would fail.
            BusyError: others as large are being made, for too long.
        """
        with open_source(source, roots) as opened:
            identity = opened.identity().digest
            key = _key(identity, opened.stamp(), spec)
            # What is told of a broken one names it.
            fault_at = Address(f"{key}:{opened.path.name!a}", (source_tag(identity), operation_tag(_OPERATION)))

            def find() -> Path | JobError | None:
                return self._files.find(key) or known_fault(self._cache.look(fault_at))

            def make() -> Path | JobError:
                look = self._cache.look(fault_at)
                try:
                    return self._make(key, spec, opened)
                except ChildFailedError as error:
                    if fault := place_fault(opened):  # one that is being written, or can't be had, looks damaged
                        raise fault from error
                    return kept_fault(self._cache, fault_at, look, error, _UNIT)

            found = self._cache.once(fault_at.key, find, make, "picture")
        if isinstance(found, JobError):
            return found
        etag = etag_of(opened.stamp(), spec) or key[_OF_SOURCE:]
        return ServedPicture(path=str(found), media_type=MEDIA_TYPES[spec.format], etag=etag)

    def forget(self, tags: Collection[str]) -> None:
        """Remove the renditions of contents, or all of them, where one of ``tags`` stands for that."""
        of_all = {""} if operation_tag(_OPERATION) in tags else set()
        prefix = source_tag("")
        sources = {tag.removeprefix(prefix)[:_OF_SOURCE] for tag in tags if tag.startswith(prefix)}
        if beginnings := of_all | sources:
            self._files.forget(beginnings)

    def _make(self, key: str, spec: ThumbnailSpec, source: OpenSource) -> Path:
        while (kept := self._made(key, spec, source, self._files.forgets)) is None:
            pass  # it was purged meanwhile, and somebody still waits for it
        return kept

    def _made(self, key: str, spec: ThumbnailSpec, source: OpenSource, forgets: bytes) -> Path | None:
        target = self._files.place()
        try:
            made = self._thumbnails({"source": source.for_child(), "target": str(target), "spec": spec})
            if fault := place_fault(source):  # what was made may be of the new content, and the key is of the old
                raise fault
            return self._files.keep(key, target.with_name(target.name + made.files[0].name), forgets)
        finally:
            for left in target.parent.glob(f"{target.name}*"):
                left.unlink(missing_ok=True)

    def _thumbnails(self, arguments: Mapping[str, Any]) -> ThumbnailsResult:
        try:
            with self._lend() as child:
                return child.call(_FUNCTION, {**arguments, "room": _ROOM}, ThumbnailsResult, limit_s=_LIMIT_S)
        except ChildFailedError as error:
            if "needed_bytes" not in error.fields:
                raise
        with self._alone(), self._lend_slow() as child:
            return child.call(_FUNCTION, arguments, ThumbnailsResult, limit_s=_LIMIT_S)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._giants.acquire(timeout=WAIT_S):
            raise BusyError
        try:
            yield
        finally:
            self._giants.release()


def etag_of(stamp: Identity, spec: ThumbnailSpec) -> str | None:
    """Of what is made of a file with this stamp, by this build: known without reading it.

    None while it may be written still, which could leave the stamp as it is.
    """
    return _digest(stamp.digest, spec) if stamp.settled else None


def _key(identity: str, stamp: Identity, spec: ThumbnailSpec) -> str:
    """Of a version of a source and how it's shown; while that may be written still, nobody asks later."""
    return identity[:_OF_SOURCE] + _digest(f"{identity}\n{stamp.digest}\n{stamp.settled}", spec)


def _digest(version: str, spec: ThumbnailSpec) -> str:
    parts = (build_id("pieces"), version, spec.model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_OF_SOURCE]
