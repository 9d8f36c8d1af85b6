"""Objects in stores by their URIs: ``s3://bucket/films/a.mkv``; ``gs://`` and ``az://`` likewise.

A key is taken as it is written: nothing in it is decoded, so what is checked against the roots is what is asked for.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from cluster.errors import StorageError

SCHEMES = ("s3", "gs", "az")
_STARTS = tuple(f"{scheme}://" for scheme in SCHEMES)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_ODD = re.compile(r"%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f\\]")
_UNWRITABLE = re.compile(r"%(?=[0-9A-Fa-f]{2})|[\x00-\x1f\x7f\\]")
_KEY_MAX = 1024  # bytes, in every store


@dataclass(frozen=True)
class ObjectPath:
    """An object, or what is below it as in a folder. ``path`` begins with the bucket; as text it is the URI."""

    scheme: str
    path: PurePosixPath

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def __truediv__(self, name: str) -> "ObjectPath":
        """``name``, which may have folders, below this, as ``writable_key`` writes it. Raises as ``object_path``."""
        return object_path(f"{self}/{writable_key(name)}")

    @property
    def bucket(self) -> str:
        return self.path.parts[0]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> "ObjectPath":
        return ObjectPath(self.scheme, self.path.parent)

    def is_relative_to(self, other: "ObjectPath") -> bool:
        """Whether it is ``other`` or below it, by whole parts: ``films2`` isn't below ``films``."""
        return self.scheme == other.scheme and self.path.is_relative_to(other.path)


def is_object_uri(uri: str) -> bool:
    return uri.startswith(_STARTS)


def object_path(uri: str) -> ObjectPath:
    """The object, or folder of objects, that a URI names; a slash at its end changes nothing.

    Raises:
        StorageError: ``source_invalid``: another scheme, no bucket, or a key that could be read in two ways.
    """
    scheme, _, rest = uri.partition("://")
    bucket, *key = rest.removesuffix("/").split("/")
    try:
        sound = len("/".join(key).encode()) <= _KEY_MAX
    except UnicodeEncodeError:
        sound = False
    sound = sound and _BUCKET.fullmatch(bucket) is not None and not _ODD.search(rest)
    if scheme not in SCHEMES or not sound or {"", ".", ".."}.intersection(key):
        raise StorageError(
            "source_invalid",
            f"Not the URI of an object: {uri[:200]!a}. Write it as {scheme}://bucket/key, with the key as it is: "
            "nothing is decoded, and keys with %XX, '..', empty parts or control characters aren't taken.",
        )
    return ObjectPath(scheme, PurePosixPath(bucket, *key))


def writable_key(name: str) -> str:
    """A file's name as a part of a key: ``_`` stands for what a key isn't taken with."""
    return _UNWRITABLE.sub("_", name).encode(errors="replace").decode()
