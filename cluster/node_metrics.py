"""What a node has and what of ours lies on it: memory, disk, the folders of MEDIARAY_HOME. Its runner tells."""

import functools
import math
import os
import socket
import threading
import time
from pathlib import Path

from prometheus_client import Gauge

from cluster.machine import memory_bytes
from cluster.metrics import REGISTRY
from cluster.node_facts import disk_room, disks_of, folders_of

FOLDERS = (
    "artifacts",
    "backups",
    "cache",
    "collections",
    "fetched",
    "kept",
    "logs",
    "notes",
    "pictures",
    "redis",
    "scratch",
)
_EVERY_S = 300.0
_BLOCK = 512  # bytes: what st_blocks counts, whatever the file system's own are
_MEMORY = Gauge("mediaray_node_memory_bytes", "Memory of a node.", ["node"], registry=REGISTRY)
_AVAILABLE = Gauge(
    "mediaray_node_memory_available_bytes", "Memory of a node that can be had.", ["node"], registry=REGISTRY
)
_DISK = Gauge("mediaray_node_disk_bytes", "Disks that are written to.", ["node", "disk"], registry=REGISTRY)
_FREE = Gauge("mediaray_node_disk_free_bytes", "What is free of them.", ["node", "disk"], registry=REGISTRY)
_STORED = Gauge(
    "mediaray_storage_bytes", "Disk that folders of MEDIARAY_HOME take.", ["node", "folder"], registry=REGISTRY
)


@functools.cache
def watch_node(home: Path) -> None:
    """Have this process tell of its node from now on."""
    node = socket.gethostname()
    _MEMORY.labels(node).set_function(lambda: float(memory_bytes()[0]))
    _AVAILABLE.labels(node).set_function(lambda: float(memory_bytes()[1]))
    for (disk, *_), folder in disks_of(folders_of(home)).items():
        _DISK.labels(node, disk).set_function(functools.partial(disk_bytes, folder, 0))
        _FREE.labels(node, disk).set_function(functools.partial(disk_bytes, folder, 1))
    threading.Thread(target=_watch, args=(node, home), name="storage", daemon=True).start()


def _watch(node: str, home: Path) -> None:
    while True:
        for folder in FOLDERS:
            _STORED.labels(node, folder).set(stored_bytes(home / folder))
        time.sleep(_EVERY_S)


def disk_bytes(folder: Path, place: int) -> float:
    """Of the disk that it lies on (0), or what is free of it (1); NaN where it can't be reached."""
    told = disk_room(folder)
    return math.nan if told is None else float(told[place])


def stored_bytes(folder: Path) -> int:
    """What a folder takes on the disk, with all below it; what goes meanwhile counts or doesn't."""
    total = 0
    for at, _, names in os.walk(folder):
        began = time.monotonic()
        for name in names:
            try:
                total += os.lstat(os.path.join(at, name)).st_blocks * _BLOCK  # noqa: PTH118 there may be many thousands
            except OSError:
                continue
        time.sleep(time.monotonic() - began)  # what else this process does comes first
    return total
