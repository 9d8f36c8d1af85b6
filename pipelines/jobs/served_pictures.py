"""Pictures for a page, now: made once, kept on disk, and made once only where many ask at the same time."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path

from cluster.child import MediaChild, SourceDescriptor
from cluster.file_cache import FileCache
from cluster.identity import identify, stamp
from cluster.storage import OpenSource, open_source
from pipelines.jobs.models import Value
from pipelines.jobs.pictures import BUILD
from pipelines.jobs.workbench import changed, is_other
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult

_FUNCTION = "pipelines.media.images.thumbnails:thumbnails"
_LIMIT_S = 15.0  # somebody waits


class ServedPicture(Value):
    """A file to send. ``etag`` names its content and how it was made."""

    path: str
    media_type: str
    etag: str


class ServedPictures:
    """Makes and finds them. ``lend`` gives a child for as long as one is needed."""

    def __init__(self, cache: FileCache, lend: Callable[[], AbstractContextManager[MediaChild]]) -> None:
        self._cache = cache
        self._lend = lend
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
            with self._lend() as child:
                arguments = {"source": sent, "target": str(target), "spec": spec}
                made = child.call(_FUNCTION, arguments, ThumbnailsResult, limit_s=_LIMIT_S)
            if is_other(source):  # what was made may be of the new content, and the key is of the old
                raise changed(source)
            return self._cache.keep(key, target.with_name(target.name + made.files[0].name))
        finally:
            for left in target.parent.glob(f"{target.name}*"):
                left.unlink(missing_ok=True)


def _key(source: OpenSource, spec: ThumbnailSpec) -> str:
    """Of content and how it's shown. A file that may still be written has keys of its own, by when it was written last:
    nobody asks for them later.
    """
    identity, stamped = identify(source.descriptor), stamp(source.descriptor)
    of = identity.digest if stamped.settled else f"{identity.digest} {stamped.digest}"
    return hashlib.sha256(f"{BUILD}\n{of}\n{spec.model_dump_json()}".encode()).hexdigest()
