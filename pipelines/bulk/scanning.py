"""Which files the sources of an import are, told by names and what the file system notes, without opening any."""

import os
import stat
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StorageError
from cluster.files import check_folder, open_file
from cluster.identity import listed_stamp_of
from cluster.locations import local_path
from cluster.object_paths import object_path
from cluster.objects import ListedObject
from cluster.roots import Roots
from cluster.sources import each_below, open_object
from pipelines.media.images.info import OTHER_SUFFIXES, SUFFIXES
from pipelines.media.info import SOUND_SUFFIXES, VIDEO_SUFFIXES

_KINDS = (
    ("video", VIDEO_SUFFIXES),
    ("audio", SOUND_SUFFIXES),
    ("image", SUFFIXES | OTHER_SUFFIXES),
)


@dataclass(frozen=True, slots=True)  # there may be a million
class Seen:
    """A file that was found, or a folder or name that can't be read: then ``problem`` tells why.

    ``path`` is below ``root``; ``stamp`` is None while the file may still be written.
    """

    uri: str
    path: str
    root: str
    kind: str
    size_bytes: int = 0
    modified_ns: int = 0
    stamp: str | None = None
    problem: str | None = None


def scan(sources: Sequence[str], roots: Sequence[Path], *, kinds: frozenset[str]) -> Iterator[Seen]:
    """Every file that is named, or in a named folder or below, and of one of ``kinds`` by its name.

    Hidden files and folders are left out, and links to folders: so no loop is walked.

    Raises:
        StorageError: a source isn't there, or outside the roots.
    """
    for source in sources:
        path = local_path(source)
        if path.is_dir():
            yield from _below(check_folder(source, roots), kinds)
        else:
            with open_file(source, roots) as opened:
                yield seen_of(str(path), path.name, str(path.parent), os.fstat(opened.descriptor))


def scan_objects(source: str, roots: Roots, *, kinds: frozenset[str]) -> Iterator[Seen]:
    """As ``scan``, of the object that is named; with a slash at its end, of the objects below it.

    Raises:
        StorageError: it isn't there, or outside the roots; there are too many, or the store doesn't answer.
    """
    at = object_path(source)
    if not source.endswith("/"):
        with open_object(at, roots) as opened:
            yield seen_object(opened.listed, at.name, str(at.parent))
        return
    for listed in each_below(at, roots):
        path = listed.uri.removeprefix(f"{at}/")
        if kind_of(path) not in kinds:
            continue
        try:
            object_path(listed.uri)
        except StorageError:
            shown = ascii(listed.uri)[1:-1]
            yield Seen(shown, path, str(at), kind_of(path), problem="its key can't be written as a URI")
        else:
            yield seen_object(listed, path, str(at))


def kind_of(name: str) -> str:
    """``video``, ``audio``, ``image`` or ``other``, by the extension."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 a Path of each of many thousands takes as long as its stat
    return next((kind for kind, suffixes in _KINDS if suffix in suffixes), "other")


def suffixes_of(kinds: Container[str]) -> tuple[str, ...]:
    """How names of files of these kinds end; none where any name may."""
    if "other" in kinds:
        return ()
    return tuple(sorted(suffix for kind, suffixes in _KINDS if kind in kinds for suffix in suffixes))


def _below(root: Path, kinds: frozenset[str]) -> Iterator[Seen]:
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(root, folder, error.strerror or "can't be read")
            continue
        folders = []
        for entry in found:
            if entry.name.startswith("."):
                continue
            if not is_text(entry.path):
                yield _unreadable(root, entry.path, "its name isn't UTF-8")
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif kind_of(entry.name) in kinds:
                try:
                    facts = entry.stat()
                except OSError as error:
                    yield _unreadable(root, entry.path, error.strerror or "can't be read")
                    continue
                if stat.S_ISREG(facts.st_mode):
                    yield seen_of(entry.path, os.path.relpath(entry.path, root), str(root), facts)
        waiting += reversed(folders)


def seen_of(uri: str, path: str, root: str, facts: os.stat_result) -> Seen:
    """A file that was found, told by what the file system notes."""
    stamped = listed_stamp_of(facts)
    return Seen(
        uri=uri,
        path=path,
        root=root,
        kind=kind_of(path),
        size_bytes=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        stamp=stamped.digest if stamped.settled else None,
    )


def seen_object(listed: ListedObject, path: str, root: str) -> Seen:
    """An object that was found, told by what a list tells."""
    stamped = listed.stamp()
    return Seen(
        uri=listed.uri,
        path=path,
        root=root,
        kind=kind_of(path),
        size_bytes=listed.size_bytes,
        modified_ns=listed.modified_s * 10**9,
        stamp=stamped.digest if stamped.settled else None,
    )


def _unreadable(root: Path, path: str, why: str) -> Seen:
    shown = path if is_text(path) else ascii(path)[1:-1]
    return Seen(shown, os.path.relpath(shown, root), str(root), kind_of(shown), problem=why)


def is_text(name: str) -> bool:
    """Whether a path is UTF-8: no other can be kept in a table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
