"""Uploads, in a process of their own: ``python -m cluster.uploader``. To give them up is to end it.

Each line of its input says what to upload; for each file a line of its output tells its number and what came of it.
It ends with its input: nothing is uploaded for a host that is gone. However it ends, it is at once, and what is under
way isn't completed.
"""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from cluster.arrow_store import ArrowStore
from cluster.errors import StorageError
from cluster.files import source_changed
from cluster.identity import sampled
from cluster.object_paths import ObjectPath, object_path
from cluster.objects import PART_BYTES, STAGING, ObjectStore
from cluster.roots import ObjectAccess, Roots
from cluster.sources import OpenSource, open_source

_AT_ONCE = 8
_IDLE_S = 30.0  # it may be asked for more; its memory is wanted elsewhere


class Upload(BaseModel, frozen=True):
    """A finished file, or a source, and the URI of what it becomes."""

    target: str
    media_type: str
    made: Path | None = None
    source: str | None = None
    size_bytes: int | None = None  # of a source, as it was imported; with when it was written
    modified_us: int | None = None


class Uploads(BaseModel, frozen=True):
    """What to upload, by ``access``; sources are those that ``roots`` let be read.

    Nothing that is there already is replaced by another without ``overwrite``; with ``renew`` all is written anew, also
    what is there as it was made.
    """

    files: tuple[Upload, ...]
    overwrite: bool
    renew: bool
    access: ObjectAccess
    roots: Roots | None = None


class Uploaded(BaseModel, frozen=True):
    """What came of a file, by its number; ``code`` and ``message`` where it failed. ``known``: it was there already."""

    number: int
    known: bool = False
    code: str | None = None
    message: str = ""


def main() -> None:
    """Upload what the input says."""
    asked: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_hear, args=(asked,), daemon=True).start()
    with contextlib.suppress(queue.Empty):
        while True:
            uploads = Uploads.model_validate_json(asked.get(timeout=_IDLE_S))
            for uploaded in _upload_all(uploads):
                sys.stdout.write(uploaded.model_dump_json() + "\n")
                sys.stdout.flush()
    os._exit(0)


def _hear(asked: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(1)


def _upload_all(uploads: Uploads) -> Iterator[Uploaded]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = [pool.submit(_upload, uploads, number) for number in range(len(uploads.files))]
        for each in as_completed(running):
            yield each.result()


def _upload(uploads: Uploads, number: int) -> Uploaded:
    store, upload = ObjectStore(uploads.access.stores, here=True), uploads.files[number]
    target = object_path(upload.target)
    try:
        with _opened(upload, uploads.roots) as content:
            if not uploads.renew and (there := store.version(target)) is not None:
                if _is_same(store, target, content):  # maybe of an earlier attempt that isn't known to have ended
                    return Uploaded(number=number, known=True)
                if not uploads.overwrite:
                    return Uploaded(number=number, code="output_exists", message=f"{there.path} exists already.")
            staging = _staging_of(target, uploads.access.write)
            ArrowStore(uploads.access.stores).upload(content.parts(), target, upload.media_type, staging, content.check)
    except StorageError as error:
        return Uploaded(number=number, code=error.code, message=error.message)
    except FileNotFoundError:
        return Uploaded(number=number, code="output_lost", message=f"The finished file for {target} is gone.")
    return Uploaded(number=number)


def _staging_of(target: ObjectPath, roots: Sequence[ObjectPath]) -> ObjectPath:
    """Where what isn't whole yet is written, where a store would show it: below the root that ``target`` is below."""
    root = next((root for root in roots if target.is_relative_to(root)), target.parent)
    return root / STAGING


@dataclass(frozen=True)
class _Content:
    """What is uploaded: of an open file of ours, or of a source."""

    size_bytes: int
    file: int | None = None
    source: OpenSource | None = None

    def read(self, count: int, offset: int) -> bytes:
        if self.source is not None:
            return self.source.read(count, offset)
        assert self.file is not None
        return os.pread(self.file, count, offset)

    def parts(self) -> Iterator[bytes]:
        for begin in range(0, self.size_bytes, PART_BYTES):
            yield self.read(min(PART_BYTES, self.size_bytes - begin), begin)

    def check(self) -> None:
        """Raises StorageError: ``source_changed``: what was read is of no one version."""
        if self.source is not None and self.source.is_other():
            raise source_changed(self.source.path)


@contextlib.contextmanager
def _opened(upload: Upload, roots: Roots | None) -> Iterator[_Content]:
    """Raises FileNotFoundError; of a source StorageError as ``open_source``, ``source_outdated``."""
    if upload.source is None:
        assert upload.made is not None
        with upload.made.open("rb") as file:
            yield _Content(os.fstat(file.fileno()).st_size, file=file.fileno())
        return
    assert roots is not None
    with open_source(upload.source, roots) as source:
        if (source.size_bytes, source.modified_ns // 1000) != (upload.size_bytes, upload.modified_us):
            raise StorageError("source_outdated", f"{source.path} changed since it was imported. Import it again.")
        yield _Content(source.size_bytes, source=source)


def _is_same(store: ObjectStore, target: ObjectPath, content: _Content) -> bool:
    """Whether the object holds what is to be uploaded, as far as samples tell."""
    there = store.open(target)
    if there.version.size_bytes != content.size_bytes:
        return False
    return sampled("", content.size_bytes, there.read) == sampled("", content.size_bytes, content.read)


if __name__ == "__main__":
    main()
