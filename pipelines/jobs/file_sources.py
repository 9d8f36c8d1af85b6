"""Which files the sources of a job are, themselves or in folders, and how what is made of each is named."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from cluster.errors import StorageError
from cluster.files import check_folder, files_below
from cluster.locations import Location, location_of
from cluster.object_paths import ObjectPath, writable_key
from cluster.roots import Roots
from cluster.sources import objects_below
from pipelines.media.images.info import OTHER_SUFFIXES, SUFFIXES
from pipelines.media.info import VIDEO_SUFFIXES

_NAME_BYTES = 180  # of one name in a path: what is appended to it, and a temporary name, need the rest of 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Kind:
    """Files of a folder that a job takes, told by their ``suffixes``, and ``most`` at once; ``others`` aren't read."""

    noun: str
    suffixes: frozenset[str]
    others: frozenset[str]
    most: int


PICTURES = Kind("pictures", SUFFIXES, OTHER_SUFFIXES, most=10_000)
FILMS = Kind("films", VIDEO_SUFFIXES, frozenset(), most=1000)


class Entry(BaseModel, frozen=True):
    """A file: its path or URI, and what the names of its files begin with. In a folder's tree that has folders."""

    source: str
    name: str


def entries_of(
    sources: Iterable[str], roots: Roots, output: Location | None, kind: Kind
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The files that are named, or of a kind and in folders but ``output``; and what had to be left out of folders.

    In object storage a slash at its end says that a source is a folder.

    Raises:
        StorageError: a folder isn't there, or without any; or there are too many.
    """
    found: list[tuple[str, str]] = []
    left_out: list[str] = []
    for source in sources:
        at = location_of(source)
        folder = _folder(source, at, roots, output, kind)
        if folder is None:
            found.append((source, at.name))
            continue
        below, unnamed = folder
        files = [(str(file), name) for file, name in below if file.suffix.lower() in kind.suffixes]
        others = [f"{file} (its format isn't read)" for file, _ in below if file.suffix.lower() in kind.others]
        if not files:
            more = f"; {len(others)} files are of formats that aren't read, as {others[0]}" if others else ""
            raise StorageError("source_empty", f"There are no {kind.noun} in {at}{more}.")
        found += files
        left_out += [*unnamed, *others]
    if len(found) > kind.most:
        raise StorageError("source_too_many", f"{len(found)} {kind.noun}; a job takes {kind.most}. Name subfolders.")
    names = output_names([name for _, name in found], keys=isinstance(output, ObjectPath))
    entries = [Entry(source=source, name=name) for (source, _), name in zip(found, names, strict=True)]
    return tuple(entries), tuple(left_out)


def _folder(
    source: str, at: Location, roots: Roots, output: Location | None, kind: Kind
) -> tuple[list[tuple[Location, str]], Sequence[str]] | None:
    """The files in and below a folder, each with its name there, and what had to be left out. None of a file."""
    suffixes = kind.suffixes | kind.others
    if isinstance(at, ObjectPath):
        if not source.endswith("/"):
            return None
        without = output if isinstance(output, ObjectPath) else None
        objects, unnamed = objects_below(at, roots, suffixes, without=without, most=kind.most)
        return [(each, each.path.relative_to(at.path).as_posix()) for each in objects], unnamed
    if not at.is_dir():
        return None
    folder = check_folder(str(at), roots.read)
    found = files_below(folder, suffixes, without=output if isinstance(output, Path) else None, most=kind.most)
    return [(each, each.relative_to(folder).as_posix()) for each in found.files], found.left_out


def left_out_warning(names: Sequence[str]) -> tuple[str, ...]:
    """What is told of files that were left out; nothing of none."""
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (f"Left out, since it can't be read: {names[0]}{more}.",)


def output_names(given: Sequence[str], *, keys: bool = False) -> list[str]:
    """Names without extensions, each once: of ``beach.jpg`` and ``beach.png`` they are ``beach-jpg``, ``beach-png``.

    With ``keys``, as those of objects are written.
    """
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in given]
    counted = Counter(stems)
    wanted = [stem if counted[stem] == 1 else name.replace(".", "-") for stem, name in zip(stems, given, strict=True)]
    taken: set[str] = set()
    names = []
    for each in map(writable_name, wanted):
        name = writable_key(each) if keys else each
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        names.append(free)
    return names


def writable_name(name: str) -> str:
    """A name that files can begin with: each part of it short enough, and without control characters."""
    return "/".join(map(_shortened, _CONTROL.sub("_", name).split("/")))


def _shortened(part: str) -> str:
    encoded = os.fsencode(part)
    if len(encoded) <= _NAME_BYTES:
        return part
    return f"{encoded[: _NAME_BYTES - 9].decode(errors='ignore')}~{hashlib.sha256(encoded).hexdigest()[:8]}"
