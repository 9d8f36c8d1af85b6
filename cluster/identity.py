"""Which file this is: by its content, told without reading all of it; or by what the file system notes.

Content tells copies and renamed files. It misses an edit between the samples after which the mtime was set back: what
mustn't be of another version is told by the stamp, whose ctime nobody sets.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from blake3 import blake3

SAMPLE_BYTES = 64 << 10
SAMPLES = 16
SETTLED_S = 2.0


@dataclass(frozen=True)
class Identity:
    """``settled`` is False while the file may still be written: such a write could leave its times as they are."""

    digest: str
    settled: bool


def stamp_of(facts: os.stat_result) -> Identity:
    """What the file system notes of a file: of a copy it is another, of one that was renamed or linked too.

    The device isn't in it: its number is given when it is mounted, and is another after a restart or on another node.
    """
    noted = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return Identity(":".join(map(str, noted)), _is_settled(facts))


def listed_stamp_of(facts: os.stat_result) -> Identity:
    """A ``stamp_of`` a file with its device before it: collections tell by that that a disk isn't there."""
    stamp = stamp_of(facts)
    return Identity(f"{facts.st_dev}:{stamp.digest}", stamp.settled)


def is_other(descriptor: int, before: os.stat_result, content: Identity | None) -> bool:
    """Whether an open file may have been written to since these were its facts and, where that is known, its content.

    Another name, a link, rights and attributes move its ctime alone, as does an edit after which the mtime was set
    back: then the content tells, or where nobody has looked at it, whether there are other links or rights.
    """
    now = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
        return True
    if before.st_ctime_ns == now.st_ctime_ns:
        return False
    if content is not None:
        return identify(descriptor).digest != content.digest
    linked = ((facts.st_nlink, facts.st_mode, facts.st_uid, facts.st_gid) for facts in (before, now))
    return len(set(linked)) == 1


def identify(descriptor: int) -> Identity:
    """BLAKE3 over size, mtime, head, tail and 16 evenly spread samples of an open file."""
    facts = os.fstat(descriptor)
    noted = f"{facts.st_size}:{facts.st_mtime_ns}:"
    digest = sampled(noted, facts.st_size, lambda count, offset: os.pread(descriptor, count, offset))
    return Identity(digest, _is_settled(facts))


def sampled(noted: str, size_bytes: int, read: Callable[[int, int], bytes]) -> str:
    """BLAKE3 over what is ``noted``, head, tail and 16 evenly spread samples.

    ``read`` gives a number of bytes from an offset on, none of which is behind the end.
    """
    digest = blake3(noted.encode())
    last = max(0, size_bytes - SAMPLE_BYTES)
    offsets = sorted({0, last, *(last * i // (SAMPLES + 1) for i in range(1, SAMPLES + 1))})
    for offset in offsets:
        digest.update(read(min(SAMPLE_BYTES, size_bytes - offset), offset))
    return digest.hexdigest()


def _is_settled(facts: os.stat_result) -> bool:
    return time.time() - facts.st_ctime > SETTLED_S
