"""Stores as Arrow reaches them from this process; what it raises is told by our codes."""

import contextlib
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.stores import KINDS, Noted, StoreAddresses, arrow_errors, filesystem

_DENIED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|ACCESS_KEY|SIGNATURE"
    r"|PERMISSION_DENIED|UNAUTHENTICATED"
    r"|Authentication|Authorization|Permission|NotPermitted|AccountIsDisabled"
)
_DENIED_STATUSES = frozenset({"401", "403"})
_NO_BUCKET = frozenset({"NO_SUCH_BUCKET", "ContainerNotFound"})
_begun: list[Any] = []  # uploads that haven't come to their end; those that failed are never let go of
_log = logging.getLogger("mediaray.objects")


class ArrowReader:
    """An object whose bytes are read. It is opened when the first are."""

    def __init__(self, path: ObjectPath, addresses: StoreAddresses) -> None:
        self._path = path
        self._addresses = addresses

    def read(self, count: int, offset: int) -> bytes:
        with store_errors(self._path):
            part: bytes = self._file.read_at(count, offset)
            return part

    @cached_property
    def _file(self) -> Any:
        return filesystem(self._path.scheme, self._addresses).open_input_file(str(self._path.path))


class ArrowStore:
    """What ``ObjectStore`` needs, and uploads. All raise StorageError as that does."""

    def __init__(self, addresses: StoreAddresses) -> None:
        self._addresses = addresses

    def note(self, path: ObjectPath) -> Noted:
        with store_errors(path):
            return KINDS[path.scheme].note(self._filesystem(path), str(path.path))

    def lacks_bucket(self, path: ObjectPath) -> bool:
        with store_errors(path):
            return KINDS[path.scheme].lacks_bucket(self._filesystem(path), path.bucket)

    def reader(self, path: ObjectPath, _noted: Noted) -> ArrowReader:
        return ArrowReader(path, self._addresses)

    def listed(self, prefix: ObjectPath, folder: str) -> list[tuple[str, int, int]]:
        """What is in a folder, sorted; folders end in a slash, so that they come where what is in them does."""
        with store_errors(prefix):
            found = KINDS[prefix.scheme].listed(self._filesystem(prefix), folder)
            return sorted(
                (f"{each.path}/" if each.is_folder else each.path, each.size_bytes, each.modified_s) for each in found
            )

    def remove(self, path: ObjectPath) -> None:
        with store_errors(path, writes=True), contextlib.suppress(FileNotFoundError):
            self._filesystem(path).delete_file(str(path.path))

    def upload(
        self,
        parts: Iterable[bytes],
        target: ObjectPath,
        media_type: str,
        staging: ObjectPath,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Make an object of ``parts``. It is there once all of it is; an interrupted process leaves none.

        Where a store shows what isn't whole, it is written below ``staging`` first, and copied by the store. ``check``
        is called when all is written, and before it has its name: it raises where that isn't to be.

        An exception doesn't interrupt it: Arrow completes what it was given when it's let go of, however little that is
        (https://github.com/apache/arrow/issues/40502). So this runs in a process of its own, which is ended without a
        last word: see ``cluster.uploader``.

        Raises:
            StorageError: ``output_not_writable``, ``storage_unavailable``; ``output_lost`` where it has another size.
        """
        store, at = self._filesystem(target), target
        if KINDS[target.scheme].shows_unfinished:
            at = staging / uuid.uuid4().hex
        size_bytes = 0
        with store_errors(target, writes=True):
            stream = store.open_output_stream(str(at.path), metadata={"Content-Type": media_type})
            _begun.append(stream)
        for part in parts:
            with store_errors(target, writes=True):
                stream.write(part)
            size_bytes += len(part)
        check()
        with store_errors(target, writes=True):
            stream.close()
            _begun.remove(stream)
            if at != target:
                store.copy_file(str(at.path), str(target.path))
                store.delete_file(str(at.path))
        if self.note(target).size_bytes != size_bytes:
            raise StorageError("output_lost", f"{target} was uploaded, but isn't there as it was made.")

    def _filesystem(self, path: ObjectPath) -> Any:
        with store_errors(path):
            return filesystem(path.scheme, self._addresses)


@contextlib.contextmanager
def store_errors(path: ObjectPath, *, writes: bool = False) -> Iterator[None]:
    """Tell what Arrow raises by our codes."""
    try:
        yield
    except arrow_errors() as error:
        reason, status = KINDS[path.scheme].refusal(str(error))
        if isinstance(error, FileNotFoundError) or reason in _NO_BUCKET:
            if writes:
                raise StorageError("output_not_writable", f"There is no bucket for {path}. Make it first.") from error
            raise StorageError("source_not_found", f"There is no object {path}.") from error
        _log.warning("%s: %s", path, error)
        told = reason or type(error).__name__
        if _DENIED.search(reason) or status in _DENIED_STATUSES:
            raise StorageError(
                "output_not_writable" if writes else "source_unreadable",
                f"The store denies access to {path} ({told}). Give the server credentials that may "
                f"{'write' if writes else 'read'} it.",
            ) from error
        raise StorageError(
            "storage_unavailable", f"The store of {path} doesn't answer as it should ({told}). Try again later."
        ) from error
