"""Edits that hide."""

import os
from pathlib import Path

from cluster.identity import SAMPLE_BYTES, SAMPLES


def edit_unseen(path: Path) -> None:
    """Change a file of 2 MiB or more where no sample of its identity is, and set its times back."""
    before = path.stat()
    offset = (before.st_size - SAMPLE_BYTES) * 8 // (SAMPLES + 1) + SAMPLE_BYTES
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
