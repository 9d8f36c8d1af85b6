"""Folders the local user named on the command line: readable and writable while no roots are configured.

The grants are a file in the user's own home folder, so that being able to write it is the proof of being that user;
a client that only has the token can't widen them.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster.home import Home, write_private
from cluster.object_paths import ObjectPath, is_object_uri, object_path
from cluster.roots import ObjectAccess, Roots
from cluster.settings import Settings

Folders = dict[str, list[str]]  # by what may be done with them: read, write


def grant(home: Home, *, read: list[Path], write: list[Path]) -> Folders:
    """Add folders for reading and for writing; returns those that are new."""
    with _changing(home) as known:
        asked = {"read": {*map(str, read), *map(str, write)}, "write": {*map(str, write)}}
        new = {kind: sorted(asked[kind] - {*known[kind]}) for kind in known}
        for kind, folders in new.items():
            known[kind] = sorted({*known[kind], *folders})
    return new


def revoke(home: Home, folders: Folders) -> None:
    """Take folders back."""
    with _changing(home) as known:
        for kind in known:
            known[kind] = sorted({*known[kind]} - {*folders[kind]})


@contextlib.contextmanager
def _changing(home: Home) -> Iterator[Folders]:
    file = home.path / "grants.json"
    with (home.path / "grants.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(file)
        before = json.dumps(known)
        yield known
        if json.dumps(known) != before:
            write_private(file, json.dumps(known))


def current_roots(settings: Settings) -> Roots:
    """What may be read and written now. Artifacts in the home folder are always among it."""
    known = _read(settings.home / "grants.json")
    read = known["read"] if settings.roots is None else settings.roots
    write = known["write"] if settings.output_roots is None else settings.output_roots
    own = settings.home / "artifacts"
    objects = ObjectAccess(
        read=_objects(read),
        write=_objects(write),
        stores=settings.stores,
        fetched=Home(settings.home).fetched,
        fetched_bytes=settings.fetched_bytes,
    )
    return Roots((*_folders(read), own), (*_folders(write), own), objects)


def _folders(roots: Sequence[str]) -> tuple[Path, ...]:
    return tuple(Path(root) for root in roots if not is_object_uri(root))


def _objects(roots: Sequence[str]) -> tuple[ObjectPath, ...]:
    return tuple(object_path(root) for root in roots if is_object_uri(root))


def _read(file: Path) -> Folders:
    try:
        known = json.loads(file.read_text())
        return {"read": list(known["read"]), "write": list(known["write"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"read": [], "write": []}
