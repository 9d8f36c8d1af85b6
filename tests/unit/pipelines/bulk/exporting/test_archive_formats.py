"""Archives that are written in any order, and read by others."""

import io
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.bulk.exporting.archive_formats import FORMATS, Entry, laid_out, write_entry

NOON_US = int(datetime(2024, 5, 17, 12, tzinfo=UTC).timestamp() * 1e6)
FILES = {
    "a.jpg": b"x" * 1000,
    "folder/Ame\u0301lie \u5b57.mkv": b"y" * 513,
    f"{'long/' * 40}name.png": b"z" * 512,
    "last": b"0",
}
Archive = dict[str, tuple[bytes, int]]


def written(path: Path, order: list[int], times_us: int = NOON_US) -> Path:
    """An archive of those files, each of which was written in its turn."""
    format_ = FORMATS[path.suffix]
    entries, end = laid_out(format_, [Entry(name, len(data), times_us) for name, data in FILES.items()])
    with path.open("xb") as file:
        file.truncate(end)
        for number in order:
            data = FILES[entries[number].name]
            crc32 = write_entry(file, format_, entries[number], [data[:100], data[100:]])
            entries[number] = replace(entries[number], crc32=crc32)
        file.seek(end)
        format_.end(file, entries)
    return path


def read(path: Path) -> Archive:
    """What the standard library reads of it: data, and time in seconds."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            return {
                info.filename: (archive.read(info), int(datetime(*info.date_time, tzinfo=UTC).timestamp()))
                for info in archive.infolist()
            }
    with tarfile.open(path, "r:") as archive:
        return {info.name: (archive.extractfile(info).read(), int(info.mtime)) for info in archive}


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_what_was_written_in_any_order_is_read(tmp_path, kind, order):
    assert read(written(tmp_path / f"a{kind}", order)) == {
        name: (data, NOON_US // 10**6) for name, data in FILES.items()
    }


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_the_order_leaves_no_trace(tmp_path, kind):
    one, other = written(tmp_path / f"a{kind}", [0, 1, 2, 3]), written(tmp_path / f"b{kind}", [3, 2, 1, 0])
    assert one.read_bytes() == other.read_bytes()


def test_a_tar_is_read_from_its_beginning_to_its_end(tmp_path):
    stream = io.BytesIO(written(tmp_path / "a.tar", [2, 0, 1, 3]).read_bytes())
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        assert [info.name for info in archive] == list(FILES)


def test_other_programs_read_a_tar(tmp_path):
    listed = subprocess.run(["tar", "-tf", written(tmp_path / "a.tar", [0, 1, 2, 3])], capture_output=True, check=True)
    assert len(listed.stdout.splitlines()) == len(FILES)
    assert listed.stderr == b""


@pytest.mark.parametrize(("year", "told"), [(1970, 1980), (2024, 2024), (2200, 2107)])
def test_a_zip_tells_the_nearest_time_that_it_can(tmp_path, year, told):
    at = int(datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1e6)
    with zipfile.ZipFile(written(tmp_path / "a.zip", [0, 1, 2, 3], at)) as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {told}


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_more_than_four_gigabytes_are_read(tmp_path, kind):
    """Most of it are gaps that take no room on the disk."""
    format_, path = FORMATS[kind], tmp_path / f"a{kind}"
    entries, end = laid_out(format_, [Entry("large", (9 << 30) + 1, NOON_US), Entry("behind", 3, NOON_US)])
    with path.open("xb") as file:
        file.truncate(end)
        file.write(format_.head(entries[0]))
        entries[1] = replace(entries[1], crc32=write_entry(file, format_, entries[1], [b"end"]))
        file.seek(end)
        format_.end(file, entries)
    if kind == ".zip":
        with zipfile.ZipFile(path) as archive:
            assert (archive.getinfo("large").file_size, archive.read("behind")) == ((9 << 30) + 1, b"end")
    else:
        with tarfile.open(path, "r:") as archive:
            assert archive.getmember("large").size == (9 << 30) + 1
            assert archive.extractfile("behind").read() == b"end"
