"""Objects in stores, through Apache Arrow: what is there, parts of it, lists of names; ``cluster.uploader`` uploads."""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cluster.apart import ApartReader, ApartStore
from cluster.arrow_store import ArrowReader, ArrowStore
from cluster.errors import StorageError
from cluster.identity import SETTLED_S, Identity
from cluster.object_paths import ObjectPath
from cluster.stores import KINDS, StoreAddresses

PART_BYTES = 8 << 20
STAGING = ".mediaray-uploads"  # a folder of objects that are not whole yet
_NOBODYS = ".mediaray-look"  # an object that nobody has: that it isn't there is an answer


@dataclass(frozen=True)
class Version:
    """An object as it was when it was looked at: ``tag`` is another for all else that has had its name."""

    path: ObjectPath
    size_bytes: int
    tag: str
    modified_s: int

    @property
    def listed(self) -> "ListedObject":
        """As a list tells it."""
        return ListedObject(str(self.path), self.size_bytes, self.modified_s)


@dataclass(frozen=True)
class ListedObject:
    """An object as a list tells it, which has no tags; ``modified_s`` is when it was written, by the store's clock."""

    uri: str
    size_bytes: int
    modified_s: int

    def stamp(self) -> Identity:
        """As ``stamp`` tells it of a file. One that was written this moment may be written again in the same second."""
        noted = f"{self.uri}:{self.size_bytes}:{self.modified_s}"
        return Identity(noted, time.time() - self.modified_s > SETTLED_S)


class OpenedObject:
    """An object that can be read. A part may be of a later version: who looks at it again afterwards sees that."""

    def __init__(self, version: Version, reader: ArrowReader | ApartReader) -> None:
        self.version = version
        self._reader = reader

    def read(self, count: int, offset: int) -> bytes:
        """``count`` bytes from ``offset`` on. Raises StorageError, as ``ObjectStore.open`` does."""
        part = self._reader.read(count, offset)
        if len(part) < count:
            raise StorageError("source_changed", f"{self.version.path} became shorter while it was read.")
        return part


class ObjectStore:
    """The stores that this process has access to. May be used by several threads at once.

    ``here``: all are asked in this process, which may end of it.
    """

    def __init__(self, addresses: StoreAddresses, *, here: bool = False) -> None:
        self._here = ArrowStore(addresses)
        self._apart = self._here if here else ApartStore(addresses)

    def open(self, path: ObjectPath) -> OpenedObject:
        """An object to be read.

        Raises:
            StorageError: ``source_not_found``; ``source_not_a_file``; ``source_unreadable`` where access is denied;
                ``storage_unavailable`` where the store doesn't answer, or not now.
        """
        if path.parent.path.name == "":
            raise StorageError("source_not_a_file", f"{path} is a bucket. Name an object.")
        way = self._way(path)
        noted = way.note(path)
        return OpenedObject(Version(path, noted.size_bytes, noted.tag, noted.modified_s), way.reader(path, noted))

    def version(self, path: ObjectPath) -> Version | None:
        """What is at ``path`` now; None where there is nothing. Else raises as ``open``."""
        try:
            return self.open(path).version
        except StorageError as error:
            if error.code == "source_not_found":
                return None
            raise

    def look(self, root: ObjectPath) -> None:
        """Look whether what is below ``root`` could be read.

        Raises:
            StorageError: as ``open``; ``source_not_found``: there is no such bucket, where the store tells.
        """
        if self._way(root).lacks_bucket(root):
            raise StorageError("source_not_found", f"There is no bucket {root.scheme}://{root.bucket}.")
        self.version(root / _NOBODYS)

    def below(self, prefix: ObjectPath) -> Iterator[ListedObject]:
        """All objects below ``prefix``, by name; not each has a URI that ``object_path`` takes.

        A folder is listed when its turn comes: whoever stops early has listed no more than the folders so far; but in
        Google's store, which tells all at once. Left out are keys with empty parts.

        Raises as ``open``.
        """
        way = self._way(prefix)
        waiting = way.listed(prefix, str(prefix.path))
        while waiting:
            path, size_bytes, modified_s = heapq.heappop(waiting)
            if path.endswith("/"):
                for each in way.listed(prefix, path.removesuffix("/")):
                    heapq.heappush(waiting, each)
            else:
                yield ListedObject(f"{prefix.scheme}://{path}", size_bytes, modified_s)

    def remove(self, path: ObjectPath) -> None:
        """Remove an object. Raises StorageError: ``output_not_writable``, ``storage_unavailable``."""
        self._way(path).remove(path)

    def _way(self, path: ObjectPath) -> ArrowStore | ApartStore:
        return self._apart if KINDS[path.scheme].apart else self._here


@cache
def object_store(addresses: StoreAddresses) -> ObjectStore:
    """One for all of this process."""
    return ObjectStore(addresses)
