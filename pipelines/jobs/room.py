"""Whether there is room for what a job will write."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cluster.disk import file_system_of, free_space
from cluster.errors import StorageError


def check_room(needed: Mapping[Path, int], *, scratch: Path) -> None:
    """Refuse what needs more bytes in folders than are free; those on one file system share them.

    Raises:
        StorageError: ``disk_full``.
    """
    sharing = defaultdict(list)
    for folder in needed:
        sharing[file_system_of(folder)].append(folder)
    for folders in sharing.values():
        needed_bytes, free_bytes = sum(needed[folder] for folder in folders), free_space(folders[0])
        if needed_bytes > free_bytes:
            where = " and ".join("scratch" if folder == scratch else str(folder) for folder in folders)
            raise StorageError(
                "disk_full",
                f"It takes about {needed_bytes >> 20} MiB in {where}; {free_bytes >> 20} MiB are free. Make room.",
            )
