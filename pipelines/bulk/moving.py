"""Files moved aside and back by one rename each: never through a link, never out of the roots, nothing replaced."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.disk import flush_folder
from cluster.errors import StorageError
from cluster.identity import listed_stamp_of
from cluster.staging import check_target, publish
from pipelines.bulk.facts import file_of


def move(entry: Mapping[str, Any], roots: Sequence[Path]) -> None:
    """Move ``path`` to ``trashed``, if it still has its size and time. The second time changes nothing.

    Of a copy the ``best`` has to be there, another file, as it was when both were compared: before, and after. Who
    moves the last two of several copies at the same time may so keep both, but never none.

    Raises:
        StorageError: it changed, can't be moved, or lies behind a link or outside the roots; or its best isn't there.
    """
    path, trashed = Path(entry["path"]), Path(entry["trashed"])
    if os.path.lexists(trashed):  # by an earlier try
        return
    with _opened(path.parent, roots) as folder:
        try:
            facts = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            noted = entry["size_bytes"], entry["modified_ns"]
            if not stat.S_ISREG(facts.st_mode) or (facts.st_size, facts.st_mtime_ns) != noted:
                raise StorageError("source_changed", f"{path} changed meanwhile.")
            if entry.get("best"):
                _check_best(entry, facts)
            trashed.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.rename(path.name, trashed, src_dir_fd=folder)
        except OSError as error:
            raise StorageError("output_not_writable", f"{path} can't be moved: {error.strerror}.") from error
    if entry.get("best"):
        try:
            _check_best(entry, facts)
        except StorageError:
            publish(trashed, path, overwrite=False, size_bytes=entry["size_bytes"])
            raise


def _check_best(entry: Mapping[str, Any], copy: os.stat_result) -> None:
    """Refuse where the copy that stays isn't there. It is opened: what is known of its name may be out of date.

    Raises:
        StorageError: ``source_not_found``, ``source_changed``.
    """
    best = entry["best"]
    try:
        descriptor = os.open(best, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError("source_not_found", f"{best}, the best of these copies: {error.strerror}.") from error
    try:
        facts = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if file_of(facts) == file_of(copy):
        raise StorageError("source_changed", f"{best}, the best of these copies, is the same file.")
    if listed_stamp_of(facts).digest != entry["best_stamp"]:
        raise StorageError("source_changed", f"{best}, the best of these copies, changed meanwhile.")


def move_back(entry: Mapping[str, Any], roots: Sequence[Path]) -> None:
    """Move ``trashed`` back to ``path``, if nothing has that name now. The second time changes nothing.

    Raises:
        StorageError: ``output_exists``, or it can't be moved, or would lie behind a link or outside the roots.
    """
    path, trashed = Path(entry["path"]), Path(entry["trashed"])
    if not os.path.lexists(trashed):
        if os.path.lexists(path):  # by an earlier try, or it was never moved
            return
        raise StorageError("source_not_found", f"{path} isn't in the trash any more.")
    if os.path.lexists(path) and path.samefile(trashed):  # an earlier try was killed between its two names
        trashed.unlink()
        return
    check_target(path, roots, overwrite=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("output_not_writable", f"{path.parent} can't be made: {error.strerror}.") from error
    with _opened(path.parent, roots):
        publish(trashed, path, overwrite=False, size_bytes=entry["size_bytes"])
    flush_folder(path.parent)


@contextmanager
def _opened(folder: Path, roots: Sequence[Path]) -> Iterator[int]:
    """A folder below the roots, opened; below its root no part of its path is a link."""
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError("source_not_found", f"{folder}: {error.strerror}.") from error
    try:
        opened = Path(f"/proc/self/fd/{descriptor}").readlink()
        inside = (root.resolve() / folder.relative_to(root) for root in roots if folder.is_relative_to(root))
        if opened not in inside:
            told = f"{folder} is, or lies behind, a link, or is outside the roots."
            raise StorageError("output_outside_roots", told)
        yield descriptor
    finally:
        os.close(descriptor)
