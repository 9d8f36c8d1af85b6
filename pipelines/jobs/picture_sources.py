"""Which pictures the sources of a job are, and how what is made of each is named."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from cluster.errors import StorageError
from cluster.storage import check_folder, files_below, local_path
from pipelines.media.images.info import SUFFIXES

MAX_PICTURES = 10_000


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
        below = files_below(folder, SUFFIXES, without=output, most=MAX_PICTURES)
        if not below.files:
            raise StorageError("source_empty", f"There are no pictures in {folder}.")
        found += [(str(file), file.relative_to(folder).as_posix()) for file in below.files]
        left_out += below.left_out
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
    for name in wanted:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        names.append(free)
    return names
