"""Uploads, in a process of their own: ``python -m cluster.uploader``. To give them up is to end it.

Its first line of input says what to upload; each line of its output is the number of a file and, where it failed, why.
It ends with its input: nothing is uploaded for a host that is gone. However it ends, it is at once, and what is under
way isn't completed.
"""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pydantic import BaseModel

from cluster.errors import StorageError
from cluster.identity import sampled
from cluster.object_paths import object_path
from cluster.objects import ObjectStore, object_store

_AT_ONCE = 8


class Upload(BaseModel, frozen=True):
    """A file, and the URI of what it becomes."""

    made: Path
    target: str
    media_type: str


class Uploads(BaseModel, frozen=True):
    """What to upload; without ``overwrite`` nothing that is there already is replaced."""

    files: tuple[Upload, ...]
    overwrite: bool
    s3_endpoint: str | None


class Uploaded(BaseModel, frozen=True):
    """What came of a file, by its number; ``code`` and ``message`` where it failed."""

    number: int
    code: str | None = None
    message: str = ""


def main() -> None:
    """Upload what the input says."""
    uploads = Uploads.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_host, daemon=True).start()
    for uploaded in _upload_all(uploads):
        sys.stdout.write(uploaded.model_dump_json() + "\n")
        sys.stdout.flush()
    os._exit(0)


def _end_with_host() -> None:
    sys.stdin.buffer.read(1)
    os._exit(1)


def _upload_all(uploads: Uploads) -> Iterator[Uploaded]:
    store = object_store(uploads.s3_endpoint)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = [
            pool.submit(_upload, store, number, upload, overwrite=uploads.overwrite)
            for number, upload in enumerate(uploads.files)
        ]
        for each in as_completed(running):
            yield each.result()


def _upload(store: ObjectStore, number: int, upload: Upload, *, overwrite: bool) -> Uploaded:
    target = object_path(upload.target)
    try:
        if not overwrite and (there := store.version(target)) is not None:
            if _is_same(store, upload):  # an earlier attempt was at it, and isn't known to have come to its end
                return Uploaded(number=number)
            return Uploaded(number=number, code="output_exists", message=f"{there.path} exists already.")
        store.upload(upload.made, target, upload.media_type)
    except StorageError as error:
        return Uploaded(number=number, code=error.code, message=error.message)
    except FileNotFoundError:
        return Uploaded(number=number, code="output_lost", message=f"The finished file for {target} is gone.")
    return Uploaded(number=number)


def _is_same(store: ObjectStore, upload: Upload) -> bool:
    """Whether the object holds what the file does, as far as samples tell."""
    there, size_bytes = store.open(object_path(upload.target)), upload.made.stat().st_size
    if there.version.size_bytes != size_bytes:
        return False
    with upload.made.open("rb") as file:
        ours = sampled("", size_bytes, lambda count, offset: os.pread(file.fileno(), count, offset))
    return sampled("", size_bytes, there.read) == ours


if __name__ == "__main__":
    main()
