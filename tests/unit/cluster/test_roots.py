from pathlib import Path

import pytest

from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, check_object_below
from cluster.stores import StoreAddresses


def access(*, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> ObjectAccess:
    roots = [tuple(map(object_path, each)) for each in (read, write)]
    return ObjectAccess(*roots, StoreAddresses(), Path("/nowhere"), 1)


def test_what_may_be_read_may_not_be_written():
    allowed, path = access(read=("s3://films/",)), object_path("s3://films/a.mkv")
    assert check_object_below(path, allowed, "source_outside_roots") is allowed
    with pytest.raises(StorageError, match=r"may write\. .* MEDIARAY_OUTPUT_ROOTS, as s3://films/") as refused:
        check_object_below(path, allowed, "output_outside_roots")
    assert refused.value.code == "output_outside_roots"


def test_without_access_nothing_may_be_read():
    with pytest.raises(StorageError, match="MEDIARAY_ROOTS"):
        check_object_below(object_path("s3://films/a.mkv"), None, "source_outside_roots")
