"""A disk that is written to: its room, its folders, what makes files and names last, and what goes wrong."""

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.errors import StorageError

_FLUSHED_AT_ONCE = 16


def free_space(folder: Path) -> int:
    """Bytes that may be written below ``folder``, which need not exist yet."""
    return shutil.disk_usage(existing_folder(folder)).free


def file_system_of(folder: Path) -> int:
    """Alike of all folders, which need not exist yet, that share their space."""
    return existing_folder(folder).stat().st_dev


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that there is.

    Raises:
        StorageError: ``output_not_writable``: a file is in its way.
    """
    while not folder.is_dir():
        if os.path.lexists(folder):
            raise StorageError("output_not_writable", f"{folder} is not a folder.")
        folder = folder.parent
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it; what is new lasts."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def flush_files(folder: Path) -> None:
    """Bring the files in a folder to the disk: before it is said that they are there."""
    with disk_errors(folder):
        files = list(folder.iterdir())
    flush_all(files)
    flush_folder(folder)


def flush_all(paths: Collection[Path]) -> None:
    """Bring files, and folders' names, to the disk."""
    # Side by side: the file system writes down what waits together at once.
    with ThreadPoolExecutor(max(1, min(_FLUSHED_AT_ONCE, len(paths)))) as pool:
        for _ in pool.map(_flush_told, paths):
            pass


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    _flush_told(folder)


def _flush_told(path: Path) -> None:
    with disk_errors(path):
        flush(path)


def flush(path: Path) -> None:
    """Bring a file, or a folder's names, to the disk.

    Raises:
        OSError: see ``disk_errors``.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Tell what goes wrong with writing ``target`` as StorageError: ``disk_full``, ``output_not_writable``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError("disk_full", f"No space left to write {target}.") from error
        raise StorageError("output_not_writable", f"{target} can't be written: {error.strerror}.") from error
