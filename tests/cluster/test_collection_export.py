"""An export on a real Ray: it comes through a kill, and copies nothing twice."""

import os
import signal
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq

FILES = 120


def library(folder: Path) -> Path:
    """Files of some weight, so that a kill meets the export while it copies."""
    folder.mkdir()
    hour_ago_s = time.time() - 3600
    for number in range(FILES):
        path = folder / f"{number:03d}.jpg"
        path.write_bytes(number.to_bytes(4, "big") * 250_000)
        os.utime(path, (hour_ago_s, hour_ago_s))
    return folder


def test_an_export_whose_process_is_killed_is_finished(cluster):
    source, output = library(cluster.folder / "to-export"), cluster.folder / "exported"
    assert cluster.ended(cluster.submit("collection-import", source, into="to-export")) == "succeeded"
    job_id = cluster.submit("collection-export", "collection:to-export", output=str(output))
    driver = cluster.worker_of(job_id, "run")
    cluster.until(lambda: list(output.rglob("*.jpg")))
    before = {path: path.stat().st_ino for path in output.rglob("*.jpg")}
    os.kill(driver, signal.SIGKILL)
    assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
    copied = {path.name: path.read_bytes() for path in output.rglob("*.jpg")}
    assert copied == {path.name: path.read_bytes() for path in source.iterdir()}
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    result = cluster.job(job_id).result
    assert (result["files"], result["copied"] + result["known"], result["failed"]) == (FILES, FILES, 0)
    assert len(pq.read_table(output / "catalogue.parquet")) == FILES
    assert not list(output.rglob(".*"))


def test_an_archive_whose_process_is_killed_is_finished(cluster):
    source, archive = library(cluster.folder / "to-pack"), cluster.folder / "packed" / "all.zip"
    assert cluster.ended(cluster.submit("collection-import", source, into="to-pack")) == "succeeded"
    job_id = cluster.submit("collection-export", "collection:to-pack", output=str(archive), template="{name}")
    driver = cluster.worker_of(job_id, "run")
    cluster.until(lambda: list(archive.parent.glob(".all.zip.*")))
    os.kill(driver, signal.SIGKILL)
    assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
    with zipfile.ZipFile(archive) as packed:
        held = {name: packed.read(name) for name in packed.namelist()}
    assert len(pq.read_table(BytesIO(held.pop("catalogue.parquet")))) == FILES
    assert held == {path.name: path.read_bytes() for path in source.iterdir()}
    assert [path.name for path in archive.parent.iterdir()] == ["all.zip"]
