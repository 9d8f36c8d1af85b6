"""Which pictures the sources of a job are, and how what is made of each is named."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from cluster.errors import StorageError
from cluster.storage import check_folder, files_below, local_path
from pipelines.media.images.info import OTHER_SUFFIXES, SUFFIXES

MAX_PICTURES = 10_000
_NAME_BYTES = 180  # of one name in a path: what is appended to it, and a temporary name, need the rest of 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Entry(BaseModel, frozen=True):
    """A picture: its path, and what the names of its files begin with. In a folder's tree that has folders."""

    source: str
    name: str


def entries_of(
    sources: Iterable[str], roots: Sequence[Path], output: Path | None
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The pictures that are named or lie in folders, but not in ``output``; and what had to be left out of folders.

    Raises:
        StorageError: a folder isn't there, or without pictures; or there are too many.
    """
    found: list[tuple[str, str]] = []
    left_out: list[str] = []
    for source in sources:
        path = local_path(source)
        if not path.is_dir():
            found.append((source, path.name))
            continue
        folder = check_folder(str(path), roots)
        below = files_below(folder, SUFFIXES | OTHER_SUFFIXES, without=output, most=MAX_PICTURES)
        files = [file for file in below.files if file.suffix.lower() in SUFFIXES]
        others = [f"{file} (its format isn't read)" for file in below.files if file.suffix.lower() in OTHER_SUFFIXES]
        if not files:
            more = f"; {len(others)} files are of formats that aren't read, as {others[0]}" if others else ""
            raise StorageError("source_empty", f"There are no pictures in {folder}{more}.")
        found += [(str(file), file.relative_to(folder).as_posix()) for file in files]
        left_out += [*below.left_out, *others]
    if len(found) > MAX_PICTURES:
        raise StorageError("source_too_many", f"{len(found)} pictures; a job takes {MAX_PICTURES}. Name subfolders.")
    names = _names([name for _, name in found])
    entries = [Entry(source=source, name=name) for (source, _), name in zip(found, names, strict=True)]
    return tuple(entries), tuple(left_out)


def _names(given: Sequence[str]) -> list[str]:
    """Names without extensions, each once: of ``beach.jpg`` and ``beach.png`` they are ``beach-jpg``, ``beach-png``."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in given]
    counted = Counter(stems)
    wanted = [stem if counted[stem] == 1 else name.replace(".", "-") for stem, name in zip(stems, given, strict=True)]
    taken: set[str] = set()
    names = []
    for name in map(_writable, wanted):
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        names.append(free)
    return names


def _writable(name: str) -> str:
    """A name that files can begin with: each part of it short enough, and without control characters."""
    return "/".join(map(_shortened, _CONTROL.sub("_", name).split("/")))


def _shortened(part: str) -> str:
    encoded = os.fsencode(part)
    if len(encoded) <= _NAME_BYTES:
        return part
    return f"{encoded[: _NAME_BYTES - 9].decode(errors='ignore')}~{hashlib.sha256(encoded).hexdigest()[:8]}"
