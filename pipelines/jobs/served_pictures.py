"""Pictures for a page, now: made once, kept on disk, and made once only where many ask at the same time."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from cluster.child import MediaChild, SourceDescriptor
from cluster.errors import ChildFailedError, ChildLimitError
from cluster.file_cache import FileCache
from cluster.identity import identify, stamp
from cluster.storage import OpenSource, open_source
from pipelines.jobs.models import Value
from pipelines.jobs.pictures import BUILD
from pipelines.jobs.workbench import changed, is_other
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.images.room import Room
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult

_FUNCTION = "pipelines.media.images.thumbnails:thumbnails"
_LIMIT_S = 15.0  # somebody waits
_ROOM = Room(size_bytes=640 << 20, alone=False)  # in a child that claims nothing: a PNG of some 25 megapixels
_Lend = Callable[[], AbstractContextManager[MediaChild]]


class ServedPicture(Value):
    """A file to send. ``etag`` names its content and how it was made."""

    path: str
    media_type: str
    etag: str


class ServedPictures:
    """Makes and finds them. ``lend`` gives a child for as long as one is needed, ``lend_slow`` one for a giant.

    Giants are made one at a time, and hold up no other picture.
    """

    def __init__(self, cache: FileCache, lend: _Lend, lend_slow: _Lend) -> None:
        self._cache = cache
        self._lend, self._lend_slow = lend, lend_slow
        self._giants = threading.Lock()
        self._lock = threading.Lock()
        self._making: dict[str, Future[Path]] = {}

    def get(self, source: str, spec: ThumbnailSpec, roots: tuple[Path, ...]) -> ServedPicture:
        """The rendition of ``source`` that ``spec`` asks for; its first size counts.

        Raises:
            StorageError, ChildError: as a job of it would fail.
        """
        with open_source(source, roots) as opened:
            key = _key(opened, spec)
            path = self._cache.find(key)
            if path is None:
                path = self._made(key, spec, opened)
        return ServedPicture(path=str(path), media_type=MEDIA_TYPES[spec.format], etag=key[:32])

    def _made(self, key: str, spec: ThumbnailSpec, source: OpenSource) -> Path:
        with self._lock:
            waiting = self._making.get(key)
            mine = waiting is None
            future = self._making.setdefault(key, Future())
        if not mine:
            return future.result()
        try:
            future.set_result(self._make(key, spec, source))
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._making[key]
        return future.result()

    def _make(self, key: str, spec: ThumbnailSpec, source: OpenSource) -> Path:
        target = self._cache.place()
        try:
            sent = SourceDescriptor(source.descriptor, source.path.name)
            made = self._thumbnails({"source": sent, "target": str(target), "spec": spec})
            if is_other(source):  # what was made may be of the new content, and the key is of the old
                raise changed(source)
            return self._cache.keep(key, target.with_name(target.name + made.files[0].name))
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
        if not self._giants.acquire(timeout=_LIMIT_S):
            raise ChildLimitError("others as large are being made")
        try:
            yield
        finally:
            self._giants.release()


def _key(source: OpenSource, spec: ThumbnailSpec) -> str:
    """Of content and how it's shown. A file that may still be written has keys of its own, by when it was written last:
    nobody asks for them later.
    """
    identity, stamped = identify(source.descriptor), stamp(source.descriptor)
    of = identity.digest if stamped.settled else f"{identity.digest} {stamped.digest}"
    return hashlib.sha256(f"{BUILD}\n{of}\n{spec.model_dump_json()}".encode()).hexdigest()
