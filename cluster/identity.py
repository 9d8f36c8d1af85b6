"""Content identity: what a file holds, told without reading all of it."""

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
    """``digest`` names size, mtime and sampled content; ``settled`` is False while the file may still be written."""

    digest: str
    settled: bool


def stamp(descriptor: int) -> Identity:
    """As ``identify``, by what the file system notes: of a copy it is another, of a file that was renamed too."""
    return stamp_of(os.fstat(descriptor))


def stamp_of(facts: os.stat_result) -> Identity:
    """The ``stamp`` of the file that these are the facts of."""
    noted = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return Identity(":".join(map(str, noted)), time.time() - facts.st_ctime > SETTLED_S)


def identify(descriptor: int) -> Identity:
    """BLAKE3 over size, mtime, head, tail and 16 evenly spread samples of an open file.

    A file changed less than two seconds ago isn't settled: a later write could leave its mtime as it is.
    """
    facts = os.fstat(descriptor)
    noted = f"{facts.st_size}:{facts.st_mtime_ns}:"
    digest = sampled(noted, facts.st_size, lambda count, offset: os.pread(descriptor, count, offset))
    return Identity(digest, time.time() - facts.st_mtime > SETTLED_S)


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
