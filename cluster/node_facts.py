"""What a node tells of itself when it is asked how it is: versions, its clock, its disks."""

import importlib.metadata
import platform
import shutil
import socket
import tempfile
import time
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
    """``at_s`` is since the epoch, by the node's own clock."""

    host: str
    mediaray: str
    ray: str
    python: str
    at_s: float
    disks: tuple[DiskFacts, ...]


def node_facts(home: Path) -> NodeFacts:
    """Of the node that this process is on. Waits for the disks: a share that hangs holds it up."""
    disks = _disks(folders_of(home))
    return NodeFacts(
        host=socket.gethostname(),
        mediaray=importlib.metadata.version("mediaray"),
        ray=importlib.metadata.version("ray"),
        python=platform.python_version(),
        at_s=time.time(),
        disks=disks,
    )


def folders_of(home: Path) -> dict[str, Path]:
    """What is written to on a node, which may be on as many disks."""
    return {"home": home, "scratch": Home(home).scratch, "temporary files": Path(tempfile.gettempdir())}


def _disks(folders: dict[str, Path]) -> tuple[DiskFacts, ...]:
    """Each file system once; where a folder can't be reached, one of no size stands for it."""
    found: dict[int, DiskFacts] = {}
    for of, folder in folders.items():
        try:
            device, usage = folder.stat().st_dev, shutil.disk_usage(folder)
        except OSError:
            found[-1 - len(found)] = DiskFacts(of, str(folder), 0, 0)
            continue
        if device in found:
            known = found[device]
            found[device] = DiskFacts(f"{known.of}, {of}", known.path, known.total_bytes, known.free_bytes)
        else:
            found[device] = DiskFacts(of, str(folder), usage.total, usage.free)
    return tuple(found.values())
