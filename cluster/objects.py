"""Objects in stores, through Apache Arrow: what is there, parts of it, lists of names, uploads.

Arrow finds the credentials as Amazon's own libraries do (``AWS_ACCESS_KEY_ID`` of this process's environment, a
profile, the machine's role), and tries again, with back-off, what may pass.
"""

import contextlib
import heapq
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from cluster.errors import StorageError
from cluster.identity import SETTLED_S, Identity
from cluster.object_paths import ObjectPath

PART_BYTES = 8 << 20
_TRIES = 5
_CONNECT_S = 5.0
# At the begin, or behind the names of the key, which may hold anything, and of the bucket, which holds no quotation.
_REASON = re.compile(r"(?:^|bucket '[^']*': )AWS Error (\w+)(?: \(HTTP status (\d+)\))? during ")
_DENIED = re.compile(r"ACCESS_DENIED|FORBIDDEN|ACCESS_KEY|SIGNATURE")
_DENIED_STATUSES = frozenset({"401", "403"})
_begun: list[Any] = []  # uploads that haven't come to their end; those that failed are never let go of
_log = logging.getLogger("mediaray.objects")


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


@dataclass(frozen=True)
class OpenedObject:
    """An object that can be read. A part may be of a later version: who looks at it again afterwards sees that."""

    version: Version
    file: Any  # Arrow's

    def read(self, count: int, offset: int) -> bytes:
        """``count`` bytes from ``offset`` on. Raises StorageError, as ``ObjectStore.open`` does."""
        with store_errors(self.version.path):
            part: bytes = self.file.read_at(count, offset)
        if len(part) < count:
            raise StorageError("source_changed", f"{self.version.path} became shorter while it was read.")
        return part


class ObjectStore:
    """The stores that this process has access to. May be used by several threads at once."""

    def __init__(self, s3_endpoint: str | None) -> None:
        self._s3_endpoint = s3_endpoint

    def open(self, path: ObjectPath) -> OpenedObject:
        """An object to be read.

        Raises:
            StorageError: ``source_not_found``; ``source_not_a_file``; ``source_unreadable`` where access is denied;
                ``storage_unavailable`` where the store doesn't answer, or not now.
        """
        if path.parent.path.name == "":
            raise StorageError("source_not_a_file", f"{path} is a bucket. Name an object.")
        with store_errors(path):
            file = _s3(self._s3_endpoint).open_input_file(str(path.path))
            noted = {name.lower(): value.decode() for name, value in file.metadata().items()}
            tag = " ".join(noted.get(name, "") for name in ("etag", "last-modified"))
            modified_s = int(datetime.fromisoformat(noted["last-modified"]).timestamp())
            return OpenedObject(Version(path, file.size(), tag, modified_s), file)

    def version(self, path: ObjectPath) -> Version | None:
        """What is at ``path`` now; None where there is nothing. Else raises as ``open``."""
        try:
            return self.open(path).version
        except StorageError as error:
            if error.code == "source_not_found":
                return None
            raise

    def below(self, prefix: ObjectPath) -> Iterator[ListedObject]:
        """All objects below ``prefix``, by name; not each has a URI that ``object_path`` takes.

        A folder is listed when its turn comes: whoever stops early has listed no more than the folders so far. Left out
        are keys with empty parts.

        Raises as ``open``.
        """
        waiting = self._listed(prefix, str(prefix.path))
        while waiting:
            path, size_bytes, modified_s = heapq.heappop(waiting)
            if path.endswith("/"):
                for each in self._listed(prefix, path.removesuffix("/")):
                    heapq.heappush(waiting, each)
            else:
                yield ListedObject(f"{prefix.scheme}://{path}", size_bytes, modified_s)

    def _listed(self, prefix: ObjectPath, folder: str) -> list[tuple[str, int, int]]:
        """What is in a folder, sorted; folders end in a slash, so that they come where what is in them does."""
        from pyarrow import fs

        with store_errors(prefix):
            found = _s3(self._s3_endpoint).get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(
            (f"{each.path}/", 0, 0)
            if each.type == fs.FileType.Directory
            else (each.path, each.size, int(each.mtime_ns // 10**9))
            for each in found
            if each.path.startswith(f"{folder}/")
            and not each.path.endswith("/")  # a//b is told as the folder a once more
        )

    def upload(self, made: Path, target: ObjectPath, media_type: str) -> None:
        """Make an object of a file. It is there once all of it is; an interrupted process leaves none.

        An exception doesn't interrupt it: Arrow completes what it was given when it's let go of, however little that is
        (https://github.com/apache/arrow/issues/40502). So this runs in a process of its own, which is ended without a
        last word: see ``cluster.uploader``.

        Raises:
            StorageError: ``output_not_writable``, ``storage_unavailable``; ``output_lost`` where it has another size.
            FileNotFoundError: there is no such file.
        """
        with made.open("rb") as file, store_errors(target, writes=True):
            stream = _s3(self._s3_endpoint).open_output_stream(str(target.path), metadata={"Content-Type": media_type})
            _begun.append(stream)
            while part := file.read(PART_BYTES):
                stream.write(part)
            stream.close()
            _begun.remove(stream)
        there = self.version(target)
        if there is None or there.size_bytes != made.stat().st_size:
            raise StorageError("output_lost", f"{target} was uploaded, but isn't there as it was made.")


@cache
def object_store(s3_endpoint: str | None) -> ObjectStore:
    """One for all of this process."""
    return ObjectStore(s3_endpoint)


@cache
def _s3(s3_endpoint: str | None) -> Any:
    from pyarrow import fs  # takes 0.2 s and 60 MB, which a server without object storage has no use for

    protocol, _, address = (s3_endpoint or "").partition("://")
    reached = {"scheme": protocol, "endpoint_override": address.rstrip("/")} if address else {}
    tries = fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)
    return fs.S3FileSystem(retry_strategy=tries, connect_timeout=_CONNECT_S, **reached)


@contextlib.contextmanager
def store_errors(path: ObjectPath, *, writes: bool = False) -> Iterator[None]:
    """Tell what Arrow raises, which has types for little of it, by our codes."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason, status = (_REASON.findall(str(error)) or [(type(error).__name__, "")])[-1]
        if isinstance(error, FileNotFoundError) or reason == "NO_SUCH_BUCKET":
            if writes:
                raise StorageError("output_not_writable", f"There is no bucket for {path}. Make it first.") from error
            raise StorageError("source_not_found", f"There is no object {path}.") from error
        _log.warning("%s: %s", path, error)
        if _DENIED.search(reason) or status in _DENIED_STATUSES:
            raise StorageError(
                "output_not_writable" if writes else "source_unreadable",
                f"The store denies access to {path} ({reason}). Give the server credentials that may "
                f"{'write' if writes else 'read'} it.",
            ) from error
        raise StorageError(
            "storage_unavailable", f"The store of {path} doesn't answer as it should ({reason}). Try again later."
        ) from error
