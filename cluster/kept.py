"""Finished pieces of work, kept by what they are: a job that fails near its end doesn't take them along.

An entry is a folder named by its key, a digest of everything that its files depend on: ``manifest.json`` and, in
``files``, hard links. It is made under another name, flushed and then renamed, so what has its name is whole.
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

from cluster.disk import flush

_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST, _FILES = "manifest.json", "files"
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

    def keep(self, key: str, folder: Path, manifest: dict[str, Any]) -> bool:
        """Keep the files of ``folder`` under ``key``; whether they are kept. If not, the work is none the worse."""
        entry = self._entry(key)
        making = entry.with_name(f".{key[:8]}-{uuid.uuid4().hex}")
        try:
            (making / _FILES).mkdir(parents=True, mode=0o700)
            for file in folder.iterdir():
                flush(file)
                _link(file, making / _FILES / file.name)
            noted = _Noted(files=_sizes(making / _FILES), manifest=manifest)
            (making / _MANIFEST).write_text(noted.model_dump_json())
            # All of it is on the disk before it has its name: a power cut leaves no entry that only looks whole.
            for path in (making / _MANIFEST, making / _FILES, making):
                flush(path)
            making.rename(entry)
            flush(entry.parent)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another was first with the same
                return True
            _log.warning("a finished piece can't be kept: %s", error.strerror)
            return False
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return True

    def fetch(self, key: str, folder: Path) -> dict[str, Any] | None:
        """Bring the files kept under ``key`` into ``folder``; their manifest, or None where there is no whole entry.

        ``folder`` is as it was then: a file left in it would be written to through its link.
        """
        entry = self._entry(key)
        made: list[Path] = []
        try:
            noted = _whole(entry)
            for name in noted.files:
                _link(entry / _FILES / name, folder / name)
                made.append(folder / name)
            os.utime(entry)  # it is of use: its age counts anew
        except (OSError, ValueError) as error:
            for file in made:
                file.unlink(missing_ok=True)
            if isinstance(error, ValueError | FileNotFoundError):  # it isn't whole, or is being discarded
                shutil.rmtree(entry, ignore_errors=True)
            if not isinstance(error, FileNotFoundError):
                _log.warning("a kept piece is of no use: %s", type(error).__name__)
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


def _whole(entry: Path) -> _Noted:
    """What an entry notes. Raises ValueError where its files aren't those it notes."""
    noted = _Noted.model_validate_json((entry / _MANIFEST).read_text())
    if _sizes(entry / _FILES) != noted.files:
        raise ValueError("its files have other sizes")
    return noted


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


def _link(file: Path, target: Path) -> None:
    if not file.is_file() or file.is_symlink():
        raise OSError(errno.EINVAL, "only plain files are kept")
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(file, target)
