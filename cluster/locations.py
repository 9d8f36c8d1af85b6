"""Where a source is or an output goes: a path on disk, or an object in a store."""

from pathlib import Path

from cluster.object_paths import ObjectPath, is_object_uri, object_path
from cluster.storage import local_path

Location = Path | ObjectPath


def location_of(uri: str) -> Location:
    """What a source or target names.

    Raises:
        StorageError: as ``local_path`` and ``object_path``.
    """
    return object_path(uri) if is_object_uri(uri) else local_path(uri)
