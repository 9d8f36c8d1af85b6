"""What the file system tells of a collection's files now: whether each is as it was imported, and which are one.

Times of rows are of whole microseconds, those of the file system of nanoseconds.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster.identity import listed_stamp_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def facts_of(path: str) -> os.stat_result | None:
    """Of a file, or of the one that a link leads to: what an import looks at; ``None`` where there is none."""
    try:
        return os.stat(path)  # noqa: PTH116 a Path of each of many thousands takes as long as its stat
    except (OSError, ValueError):
        return None


def is_as_imported(row: Mapping[str, Any], facts: os.stat_result) -> bool:
    """Whether a file is what its row says: by its ``stamp``, or by ``size_bytes`` and ``modified_at`` without one."""
    if row["stamp"] is not None:
        return bool(listed_stamp_of(facts).digest == row["stamp"])
    return bool((facts.st_size, facts.st_mtime_ns // 1000) == (row["size_bytes"], micros_of(row["modified_at"])))


def time_of(modified_ns: int) -> datetime:
    """A time of the file system, as rows have it."""
    return _EPOCH + timedelta(microseconds=modified_ns // 1000)


def micros_of(at: datetime) -> int:
    """A time as rows have it, in microseconds since the epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def file_of(facts: os.stat_result) -> str:
    """Alike of all names of one file: of hard links, through links to its folder, and through another mount.

    A share that is mounted beside the disk it is of has another device, but the same inodes: so the device doesn't
    count. That two files have the same inode number, size and time to the nanosecond, hardly happens.
    """
    return f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"


def holds_as_much(facts: os.stat_result, stamp: str) -> bool:
    """Whether a file has the size and the time that a ``stamp`` of it tells, wherever it lies now."""
    return listed_stamp_of(facts).digest.split(":")[2:4] == stamp.split(":")[2:4]


def is_same_but_device(stamp: str, other: str) -> bool:
    """Whether two stamps of a path tell the same file: a disk has another number after each mount, perhaps."""
    return stamp.partition(":")[2] == other.partition(":")[2]


def device_in(stamp: str | None) -> int | None:
    """The device that a ``stamp`` tells, as the file system had it then."""
    return int(stamp.split(":")[0]) if stamp else None


def inode_in(stamp: str | None) -> str | None:
    """The device and the inode that a ``stamp`` tells: alike of all names of a file, and of one that was renamed."""
    return ":".join(stamp.split(":")[:2]) if stamp else None
