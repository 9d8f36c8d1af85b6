"""The host's side of uploads: a process does them, and is ended where they aren't wanted any more."""

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.objects import object_store
from cluster.roots import ObjectAccess
from cluster.uploader import Upload, Uploaded, Uploads

_LOOK_S = 0.4  # how often it is asked whether they are still wanted: a cancel is done in under 2 s
_log = logging.getLogger("mediaray.uploading")


def check_target_object(target: ObjectPath, access: ObjectAccess, *, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it.

    Raises:
        StorageError: ``output_exists``; as ``ObjectStore.open`` where the store doesn't answer.
    """
    if not overwrite and object_store(access.s3_endpoint).version(target) is not None:
        raise StorageError("output_exists", f"{target} exists already. Choose another name, or set overwrite.")


def upload_all(files: Sequence[Upload], access: ObjectAccess, *, overwrite: bool, wanted: Callable[[], bool]) -> bool:
    """Upload files; whether all are there. Not where they aren't ``wanted`` any more: what was under way then isn't.

    May be repeated: what is there as it was made stays.

    Raises:
        StorageError: ``output_exists``, ``output_not_writable``, ``output_lost``, ``storage_unavailable``.
    """
    uploads = Uploads(files=tuple(files), overwrite=overwrite, s3_endpoint=access.s3_endpoint)
    dropped = threading.Event()
    done: set[int] = set()
    with _uploader() as process, _watched(process, wanted, dropped):
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # ended already: its output tells
            process.stdin.write(uploads.model_dump_json().encode() + b"\n")
            process.stdin.flush()
        for line in process.stdout:
            uploaded = Uploaded.model_validate_json(line)
            if uploaded.code is not None:
                raise StorageError(uploaded.code, uploaded.message)
            done.add(uploaded.number)
    if not dropped.is_set() and len(done) < len(files):
        raise StorageError("storage_unavailable", "The process that uploads ended early; the server's log has more.")
    return not dropped.is_set()


@contextlib.contextmanager
def _uploader() -> Iterator[subprocess.Popen[bytes]]:
    """The process; it is ended at the end, whatever it does."""
    command = [sys.executable, "-I", "-m", "cluster.uploader"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _watched(process: subprocess.Popen[bytes], wanted: Callable[[], bool], dropped: threading.Event) -> Iterator[None]:
    """Meanwhile, end it as soon as it isn't ``wanted`` any more; ``dropped`` is set first."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            if not wanted():
                dropped.set()
                process.kill()
                return

    watcher = threading.Thread(target=watch, name="upload-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
