"""Finished pieces of work, kept by what they are: a job that fails near its end doesn't take them along.

An entry is a folder named by its key, a digest of everything that its files depend on. It holds hard links to the files
and ``manifest.json``, is made under another name and then renamed, so what has its name is whole.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST = "manifest.json"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_log = logging.getLogger("mediaray.kept")


class _Noted(BaseModel):
    """What an entry's manifest tells: the files with their sizes, and the manifest of who made them."""

    files: dict[str, int]
    manifest: dict[str, Any]


class Kept:
    """The entries below a folder; any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, key: str, folder: Path, manifest: dict[str, Any]) -> None:
        """Keep the files of ``folder`` under ``key``. Where that fails, the work itself is none the worse."""
        entry = self._entry(key)
        making = entry.with_name(f".{key[:8]}-{uuid.uuid4().hex}")
        try:
            making.mkdir(parents=True, mode=0o700)
            sizes = {}
            for file in folder.iterdir():
                _flush(file)
                _link(file, making / file.name)
                sizes[file.name] = file.stat().st_size
            (making / _MANIFEST).write_text(_Noted(files=sizes, manifest=manifest).model_dump_json())
            _flush(making / _MANIFEST)
            _flush(making)
            making.rename(entry)
            _flush(entry.parent)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another was first with the same
                _log.warning("a finished piece can't be kept: %s", error.strerror)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def fetch(self, key: str, folder: Path) -> dict[str, Any] | None:
        """Bring the files kept under ``key`` into ``folder``; their manifest, or None where there is no whole entry."""
        entry = self._entry(key)
        try:
            noted = _Noted.model_validate_json((entry / _MANIFEST).read_text())
            whole = all((entry / name).stat().st_size == size_bytes for name, size_bytes in noted.files.items())
            for name in noted.files if whole else ():
                _link(entry / name, folder / name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("a kept piece is of no use: %s", type(error).__name__)
            whole = False
        if not whole:
            shutil.rmtree(entry, ignore_errors=True)
            return None
        return noted.manifest

    def discard(self, keys: Iterable[str]) -> None:
        """Forget entries. Who fetched them has links of its own."""
        for key in keys:
            shutil.rmtree(self._entry(key), ignore_errors=True)

    def sweep(self, older_than_s: float) -> None:
        """Forget entries that were made longer ago, and what was left half-made."""
        before = time.time() - older_than_s
        for entry in self._folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    shutil.rmtree(entry, ignore_errors=True)

    def _entry(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("not a key")
        return self._folder / key[:2] / key


def _link(file: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(file, target)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
