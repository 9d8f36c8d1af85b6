"""The host's side of uploads: a process does them, and is ended where they aren't wanted any more."""

import atexit
import contextlib
import logging
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.objects import STAGING, object_store
from cluster.roots import ObjectAccess, Roots
from cluster.side_process import end, started
from cluster.stores import KINDS
from cluster.uploader import Upload, Uploaded, Uploads

_UPLOADER = "cluster.uploader"
_LOOK_S = 0.4  # how often it is asked whether they are still wanted: a cancel is done in under 2 s
_log = logging.getLogger("mediaray.uploading")


def check_target_object(target: ObjectPath, access: ObjectAccess, *, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it.

    Raises:
        StorageError: ``output_exists``; as ``ObjectStore.open`` where the store doesn't answer.
    """
    if not overwrite and object_store(access.stores).version(target) is not None:
        raise StorageError("output_exists", f"{target} exists already. Choose another name, or set overwrite.")


def upload_all(files: Sequence[Upload], access: ObjectAccess, *, overwrite: bool, wanted: Callable[[], bool]) -> bool:
    """Upload files; whether all are there. Not where they aren't ``wanted`` any more: what was under way then isn't.

    May be repeated: what is there as it was made stays, but with ``overwrite``, which writes all anew.

    Raises:
        StorageError: ``output_exists``, ``output_not_writable``, ``output_lost``, ``storage_unavailable``;
            ``child_crashed``: the process that uploads ended early.
    """
    uploads = Uploads(files=tuple(files), overwrite=overwrite, renew=overwrite, access=access)
    dropped = threading.Event()
    done: set[int] = set()
    process = started(_UPLOADER)
    try:
        with _watched(process, wanted, dropped):
            for uploaded in _outcomes(process, uploads):
                if uploaded.code is not None:
                    raise StorageError(uploaded.code, uploaded.message)
                done.add(uploaded.number)
    finally:
        end(process)
    if not dropped.is_set() and len(done) < len(files):
        raise _ended_early()
    return not dropped.is_set()


def upload_each(
    files: Sequence[Upload], access: ObjectAccess, *, overwrite: bool, roots: Roots | None = None
) -> list[Uploaded]:
    """Upload files, and tell what came of each. What is there as it was made stays, with ``overwrite``, too.

    Among them may be sources that ``roots`` let be read.

    Raises:
        StorageError: ``child_crashed``: the process that uploads ended early, maybe for one of the files.
    """
    uploads = Uploads(files=tuple(files), overwrite=overwrite, renew=False, access=access, roots=roots)
    return sorted(_KEPT.ask(uploads), key=lambda uploaded: uploaded.number)


def sweep_staged(access: ObjectAccess, before_s: float) -> None:
    """Remove what uploads that were killed before then left below roots, in stores that show what isn't whole."""
    store = object_store(access.stores)
    for root in access.write:
        if KINDS[root.scheme].shows_unfinished:
            for listed in store.below(root / STAGING):
                if listed.modified_s < before_s:
                    store.remove(root / STAGING / listed.uri.rpartition("/")[2])


class _Kept:
    """An uploader that stays for a while: to start one for a file takes longer than to upload that."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, uploads: Uploads) -> list[Uploaded]:
        """What came of each file. Raises StorageError: ``child_crashed``."""
        with self._alone:
            known = self._process is not None
            told = self._told(uploads)
            if known and not told and uploads.files:  # it ended for want of work, this moment
                told = self._told(uploads)
        if len(told) < len(uploads.files):
            raise _ended_early()
        return told

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def _told(self, uploads: Uploads) -> list[Uploaded]:
        self._process = self._process or started(_UPLOADER)
        told: list[Uploaded] = []
        try:
            told += _outcomes(self._process, uploads)
        finally:
            if len(told) < len(uploads.files):
                self.end()
        return told


_KEPT = _Kept()
atexit.register(_KEPT.end)


def _outcomes(process: subprocess.Popen[bytes], uploads: Uploads) -> Iterator[Uploaded]:
    """What came of each file, as it comes; fewer where the process ends early."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # ended already: its output tells
        process.stdin.write(uploads.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    yield from map(Uploaded.model_validate_json, islice(process.stdout, len(uploads.files)))


def _ended_early() -> StorageError:
    """The store isn't known to be at fault: a file may be that it can't be done with."""
    return StorageError("child_crashed", "The process that uploads ended early; the server's log has more.")


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
