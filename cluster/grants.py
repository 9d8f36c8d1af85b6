"""Folders the local user named on the command line: readable and writable while no roots are configured.

The grants are a file in the user's own home folder, so that being able to write it is the proof of being that user;
a client that only has the token can't widen them.
"""

import fcntl
import json
from pathlib import Path

from cluster.home import Home, write_private
from cluster.settings import Settings
from cluster.storage import Roots


def grant(home: Home, *, read: list[Path], write: list[Path]) -> None:
    """Add folders for reading and for writing."""
    file = home.path / "grants.json"
    with (home.path / "grants.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(file)
        changed = {
            "read": sorted({*known["read"], *map(str, read), *map(str, write)}),
            "write": sorted({*known["write"], *map(str, write)}),
        }
        if changed != known:
            write_private(file, json.dumps(changed))


def current_roots(settings: Settings) -> Roots:
    """The folders that may be read and written now. Artifacts in the home folder are always among them."""
    known = _read(settings.home / "grants.json")
    read = known["read"] if settings.roots is None else settings.roots
    write = known["write"] if settings.output_roots is None else settings.output_roots
    own = settings.home / "artifacts"
    return Roots((*map(Path, read), own), (*map(Path, write), own))


def _read(file: Path) -> dict[str, list[str]]:
    try:
        known = json.loads(file.read_text())
        return {"read": list(known["read"]), "write": list(known["write"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"read": [], "write": []}
