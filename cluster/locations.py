"""Where a source is or an output goes: a path on disk, or an object in a store."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cluster.errors import StorageError
from cluster.object_paths import SCHEMES, ObjectPath, is_object_uri, object_path

Location = Path | ObjectPath
_NAME_MAX, _PATH_MAX = 255, 4096  # bytes, on Linux


def location_of(uri: str) -> Location:
    """What a source or target names.

    Raises:
        StorageError: as ``local_path`` and ``object_path``.
    """
    return object_path(uri) if is_object_uri(uri) else local_path(uri)


def local_path(uri: str) -> Path:
    """The absolute path that a source or target names.

    Raises:
        StorageError: another scheme, a relative path, or what no file system takes as a name.
    """
    path = uri if uri.startswith("/") else _path_of_uri(uri)
    try:
        nameable = path.startswith("/") and "\0" not in path and len(os.fsencode(path)) < _PATH_MAX
        nameable = nameable and all(len(os.fsencode(part)) <= _NAME_MAX for part in path.split("/"))
    except UnicodeEncodeError:
        nameable = False
    if not nameable:
        raise StorageError("source_invalid", f"Not an absolute path or file: URI: {uri[:200]!a}")
    return Path(os.path.normpath(path))


def _path_of_uri(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    if parts.scheme and "://" in uri:
        known = parts.scheme in SCHEMES
        raise StorageError(
            "scheme_unsupported",
            f"{parts.scheme}:// URIs aren't taken here; use a path."
            if known
            else f"Sources of the kind {parts.scheme}:// are not supported; use a path, or s3://bucket/key. "
            "gs:// and az:// are taken likewise.",
        )
    return ""
