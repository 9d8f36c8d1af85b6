"""Checksums: of all bytes, of a file that stays as it is."""

import os

import pytest
from blake3 import blake3
from object_server import BUCKET
from unit.pipelines.jobs.operating import bench, done

from cluster.errors import StorageError
from cluster.files import OpenFile
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess
from pipelines.jobs.inline import each_of
from pipelines.jobs.models import Unit
from pipelines.jobs.operations.checksum import OPERATION


def test_it_is_of_all_bytes(tmp_path):
    data = os.urandom((4 << 20) + 5)
    (tmp_path / "a.bin").write_bytes(data)
    result = done(OPERATION, tmp_path / "a.bin", child=None).result
    assert result.model_dump() == {"blake3": blake3(data).hexdigest(), "size_bytes": len(data)}


def test_it_is_of_an_object_too_and_keeps_none_of_it(tmp_path, s3):
    data = os.urandom((4 << 20) + 5)
    uri = s3.put("a.bin", data)
    access = ObjectAccess((object_path(f"s3://{BUCKET}"),), (), s3.addresses, tmp_path / "fetched", 1 << 30)
    at = bench(OPERATION, tmp_path / "a.bin", None, objects=access)
    (each,) = each_of(OPERATION, at, OPERATION.params(), [uri])
    assert each.result == {"blake3": blake3(data).hexdigest(), "size_bytes": len(data)}
    assert not (tmp_path / "fetched").exists()


def test_a_file_that_is_written_meanwhile_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"a" * 100)

    def written(opened: OpenFile) -> bool:
        with (tmp_path / "a.bin").open("ab") as file:
            file.write(b"more")
        return real(opened)

    real = OpenFile.is_other
    monkeypatch.setattr(OpenFile, "is_other", written)
    with pytest.raises(StorageError, match="changed while it was read"):
        OPERATION.run(bench(OPERATION, tmp_path / "a.bin", None), Unit(name="read"))


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "a.bin").touch()
    with pytest.raises(StorageError, match="empty"):
        done(OPERATION, tmp_path / "a.bin", child=None)
