"""What a unit made is kept for other jobs, and taken over by a unit that would make the same of the same contents."""

import shutil
from typing import Any

from cluster.errors import StorageError
from cluster.kept import Kept
from pipelines.jobs.workbench import Workbench

_CONTENTS, _MANIFEST = "contents", "manifest"  # of what is kept: identities by source, and what the unit told


def keep(kept: Kept, key: str, bench: Workbench, manifest: dict[str, Any]) -> bool:
    """Keep what a unit made, and of which contents: now they are at hand, when the unit was planned they weren't."""
    try:
        contents = bench.contents_read()
    except StorageError:
        return False
    return kept.keep(key, bench.scratch, {_CONTENTS: contents, _MANIFEST: manifest})


def taken_over(kept: Kept, key: str, bench: Workbench) -> dict[str, Any] | None:
    """What is kept of a unit, if its sources still have the contents that it was made of.

    The stamps in its key don't tell it: where a file system has no inode numbers of its own, they are drawn at each
    mount.
    """
    if (found := kept.fetch(key, bench.scratch)) is None:
        return None
    try:
        same = all(bench.identity(source).digest == digest for source, digest in found[_CONTENTS].items())
    except (StorageError, KeyError):
        same = False
    if not same:
        kept.discard([key])
        shutil.rmtree(bench.scratch)
        return None
    manifest: dict[str, Any] = found[_MANIFEST]
    return manifest
