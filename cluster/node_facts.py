"""What a node tells of itself when it is asked how it is: versions, its clock, its disks."""

import importlib.metadata
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.home import Home


@dataclass(frozen=True)
class DiskFacts:
    """A file system; ``of`` tells what lies on it."""

    of: str
    path: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class NodeFacts:
    """``at_s`` is since the epoch, by the node's own clock; ``lacks``: what media processes lack of a sandbox."""

    host: str
    mediaray: str
    ray: str
    python: str
    at_s: float
    disks: tuple[DiskFacts, ...]
    lacks: tuple[str, ...] = ()


def node_facts(home: Path, lacks: Iterable[str] = ()) -> NodeFacts:
    """Of the node that this process is on. Waits for the disks: a share that hangs holds it up."""
    return NodeFacts(
        host=socket.gethostname(),
        mediaray=importlib.metadata.version("mediaray"),
        ray=importlib.metadata.version("ray"),
        python=platform.python_version(),
        at_s=time.time(),
        disks=tuple(_disk_facts(names, folder) for names, folder in disks_of(folders_of(home)).items()),
        lacks=tuple(sorted(set(lacks))),
    )


def folders_of(home: Path) -> dict[str, Path]:
    """What is written to on a node, which may be on as many disks."""
    return {"home": home, "scratch": Home(home).scratch, "temporary files": Path(tempfile.gettempdir())}


def disks_of(folders: Mapping[str, Path]) -> dict[tuple[str, ...], Path]:
    """Each file system once: the names of what lies on it, and the first folder there.

    A folder that can't be reached stands for itself.
    """
    names: dict[int, list[str]] = {}
    paths: dict[int, Path] = {}
    for number, (name, folder) in enumerate(folders.items()):
        try:
            device = folder.stat().st_dev
        except OSError:
            device = -1 - number
        names.setdefault(device, []).append(name)
        paths.setdefault(device, folder)
    return {tuple(names[device]): folder for device, folder in paths.items()}


def disk_room(folder: Path) -> tuple[int, int] | None:
    """Of the disk that it lies on, and what is free of it; None where it can't be reached, as a share that fails."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.total, usage.free


def _disk_facts(names: tuple[str, ...], folder: Path) -> DiskFacts:
    """Of no size where it can't be reached."""
    total, free = disk_room(folder) or (0, 0)
    return DiskFacts(", ".join(names), str(folder), total, free)
