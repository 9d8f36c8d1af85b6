"""Open a source, wherever it is: a file, or an object whose bytes come as they are asked for."""

import contextlib
import os
from collections.abc import Container, Iterator
from pathlib import PurePosixPath

from cluster.descriptors import SourceDescriptor
from cluster.errors import StorageError
from cluster.fetched import FetchedObject
from cluster.files import OpenFile, open_file, source_changed
from cluster.identity import Identity, sampled
from cluster.object_paths import ObjectPath, is_object_uri, object_path
from cluster.objects import ListedObject, object_store
from cluster.range_server import RangeServer
from cluster.roots import ObjectAccess, Roots, check_object_below

_LISTED_MOST = 1_000_000  # a thousand requests, of which the store answers some ten a second


class OpenObject:
    """An object that may be read, as it was when it was opened. ``close`` it."""

    def __init__(self, path: ObjectPath, access: ObjectAccess) -> None:
        self._store = object_store(access.stores)
        self._source = self._store.open(path)
        self._access = access
        self._fetched: FetchedObject | None = None
        self._served: FetchedObject | None = None  # what the child asks of: its server closes it
        self._server: RangeServer | None = None
        self._descriptor: int | None = None

    @property
    def path(self) -> ObjectPath:
        return self._source.version.path

    @property
    def size_bytes(self) -> int:
        return self._source.version.size_bytes

    @property
    def modified_ns(self) -> int:
        """When it was written, by the store's clock, which tells seconds."""
        return self._source.version.modified_s * 10**9

    @property
    def failure(self) -> StorageError | None:
        """Why bytes that the child asked for couldn't be had."""
        return self._server.failure if self._server else None

    def close(self) -> None:
        self._take_back()
        if self._fetched:
            self._fetched.close()

    def identity(self) -> Identity:
        """As ``identify`` tells it of a file; what stands for the time is the store's tag, which is of one version.

        Raises:
            StorageError: ``source_changed``: it is another by now; as ``ObjectStore.open``.
        """
        version, fetched = self._source.version, self._bytes()
        noted = f"{version.size_bytes}:{version.tag}:"
        digest = sampled(noted, version.size_bytes, fetched.read)
        if fetched.unconfirmed() and self.is_other():
            raise source_changed(self.path)
        return Identity(digest, settled=True)

    def stamp(self) -> Identity:
        version = self._source.version
        return Identity(f"{version.path}:{version.size_bytes}:{version.tag}", settled=True)

    @property
    def listed(self) -> ListedObject:
        """As a list tells it."""
        return self._source.version.listed

    def listed_stamp(self) -> Identity:
        """A ``stamp`` that a list tells, too."""
        return self.listed.stamp()

    def read(self, count: int, offset: int) -> bytes:
        """``count`` bytes from ``offset`` on, of which none are kept. Raises as ``ObjectStore.open``."""
        return self._source.read(count, offset)

    def for_child(self) -> SourceDescriptor:
        """It, on its way to the child, which asks for the bytes that it reads. For each call anew."""
        self._take_back()  # the child that had it may have left an answer unread
        self._served = self._fetch()  # of one entry: another may have its name by now
        self._descriptor, self._server = self._served.descriptor(), RangeServer(self._served)
        return SourceDescriptor(self._descriptor, self.path.name, self._server.number)

    def is_other(self) -> bool:
        """Whether another version has taken its place. Then nothing that was fetched is kept, else all until now is."""
        fetched = [(each, each.unconfirmed()) for each in (self._fetched, self._served) if each]
        is_other = self._store.version(self.path) != self._source.version
        for each, runs in fetched:
            if is_other:
                each.forget()
            else:
                each.confirm(runs)
        return is_other

    def _take_back(self) -> None:
        # However the call ended, what it had fetched is kept only if it is of one version.
        if self._served and self._served.unconfirmed() and not self.failure:
            with contextlib.suppress(StorageError):
                self.is_other()
        if self._server:
            self._server.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._served = self._server = self._descriptor = None

    def _bytes(self) -> FetchedObject:
        if self._fetched is None:
            self._fetched = self._fetch()
        return self._fetched

    def _fetch(self) -> FetchedObject:
        return FetchedObject(self._source, self._access.fetched, self._access.fetched_bytes)


OpenSource = OpenFile | OpenObject


@contextlib.contextmanager
def open_source(uri: str, roots: Roots) -> Iterator[OpenSource]:
    """Open a file or an object for reading.

    Raises:
        StorageError: as ``open_file``; of an object also ``storage_unavailable``: its store doesn't answer.
    """
    if not is_object_uri(uri):
        with open_file(uri, roots.read) as opened:
            yield opened
        return
    with open_object(object_path(uri), roots) as found:
        yield found


@contextlib.contextmanager
def open_object(path: ObjectPath, roots: Roots) -> Iterator[OpenObject]:
    """Open an object. Raises as ``open_source``."""
    access = check_object_below(path, roots.objects, "source_outside_roots")
    with contextlib.closing(OpenObject(path, access)) as found:
        if found.size_bytes == 0:
            raise StorageError("source_empty", f"{path} is empty (0 bytes).")
        yield found


def check_object_folder(folder: ObjectPath, roots: Roots) -> None:
    """Raises StorageError, ``source_outside_roots``, where what is below ``folder`` may not be read."""
    check_object_below(folder, roots.objects, "source_outside_roots")


def each_below(folder: ObjectPath, roots: Roots) -> Iterator[ListedObject]:
    """Objects below ``folder``, by name, but hidden ones.

    Raises:
        StorageError: ``source_outside_roots``; ``source_too_many``: so many that they aren't gone through; as
            ``ObjectStore.open``.
    """
    access = check_object_below(folder, roots.objects, "source_outside_roots")
    for number, listed in enumerate(object_store(access.stores).below(folder), start=1):
        if number > _LISTED_MOST:
            raise StorageError("source_too_many", f"{folder} holds more than {_LISTED_MOST} objects. Name subfolders.")
        if "/." not in listed.uri.removeprefix(str(folder)):
            yield listed


def objects_below(
    folder: ObjectPath, roots: Roots, suffixes: Container[str], *, without: ObjectPath | None = None, most: int
) -> tuple[list[ObjectPath], list[str]]:
    """Objects below ``folder`` whose names end as ``suffixes`` say, by name; and the URIs of those that can't be named.

    Hidden ones are left out, and those below ``without``.

    Raises:
        StorageError: ``source_too_many``: more than ``most``; as ``each_below``.
    """
    found: list[ObjectPath] = []
    left_out: list[str] = []
    for listed in each_below(folder, roots):
        if PurePosixPath(listed.uri).suffix.lower() not in suffixes:
            continue
        try:
            path = object_path(listed.uri)
        except StorageError:
            left_out.append(f"{listed.uri!a} (its key can't be written as a URI)")
            continue
        if without is None or not path.is_relative_to(without):
            found.append(path)
            if len(found) > most:
                raise StorageError("source_too_many", f"{folder} holds more than {most} of them. Name subfolders.")
    return found, left_out
