"""Content identity: what a file holds, told without reading all of it."""

import os
import time
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
    digest = blake3(f"{facts.st_size}:{facts.st_mtime_ns}:".encode())
    last = max(0, facts.st_size - SAMPLE_BYTES)
    offsets = sorted({0, last, *(last * i // (SAMPLES + 1) for i in range(1, SAMPLES + 1))})
    for offset in offsets:
        digest.update(os.pread(descriptor, SAMPLE_BYTES, offset))
    return Identity(digest.hexdigest(), time.time() - facts.st_mtime > SETTLED_S)
