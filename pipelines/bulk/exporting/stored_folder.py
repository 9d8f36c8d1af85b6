"""A folder of objects that an export goes to: what is in it, and how files get there."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.objects import object_store
from cluster.roots import ObjectAccess
from cluster.uploader import Upload
from cluster.uploading import upload_each


@dataclass(frozen=True)
class StoredFolder:
    """One that may be written. What is in it is looked at once."""

    path: ObjectPath
    access: ObjectAccess

    def content(self, name: str) -> pa.Buffer | None:
        """An object in it; None where there is none. Raises StorageError as ``ObjectStore.open``."""
        try:
            opened = object_store(self.access.stores).open(self.path / name)
        except StorageError as error:
            if error.code == "source_not_found":
                return None
            raise
        return pa.py_buffer(opened.read(opened.version.size_bytes, 0))

    @cached_property
    def names(self) -> frozenset[str]:
        """Of all objects below it, by where they are. Raises as ``content``."""
        beginning = f"{self.path}/"
        return frozenset(each.uri.removeprefix(beginning) for each in object_store(self.access.stores).below(self.path))

    def put(self, made: Path, name: str, media_type: str, *, overwrite: bool) -> None:
        """Upload a file. What is there as it was made stays.

        Raises:
            StorageError: ``output_exists``, ``output_not_writable``, ``storage_unavailable``.
        """
        upload = Upload(made=made, target=str(self.path / name), media_type=media_type)
        (told,) = upload_each([upload], self.access, overwrite=overwrite)
        if told.code is not None:
            raise StorageError(told.code, told.message)
