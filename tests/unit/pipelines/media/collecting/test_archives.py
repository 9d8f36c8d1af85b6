"""Archives: what is unpacked under which name, and that none of the known tricks gets anywhere."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.media.collecting.archives import unpack
from pipelines.media.collecting.collecting_spec import Member
from pipelines.media.errors import LimitError, SourceEmptyError, SourceUnreadableError, SourceUnsupportedError

NOISE = os.urandom(4000)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def zipped(folder: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], name: str = "a.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return folder / name


def tarred(folder: Path, *infos: tarfile.TarInfo, name: str = "a.tar", data: bytes = NOISE) -> Path:
    mode = {"gz": "w:gz", "xz": "w:xz", "z2": "w:bz2"}.get(name[-2:], "w")
    with tarfile.open(folder / name, mode) as archive:
        for info in infos:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return folder / name


def file_info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime = kind, link, 1_000_000_000
    return info


def special_zip(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_files_of_a_tar_are_numbered_and_their_times_told(tmp_path, out, name):
    archive = tarred(tmp_path, file_info("b", tarfile.DIRTYPE), file_info("b/one.JPG"), file_info("two"), name=name)
    unpacked = unpack(archive, out)
    assert [(each.name, each.file) for each in unpacked.members] == [("b/one.JPG", "000001.jpg"), ("two", "000002")]
    assert (out / "000001.jpg").read_bytes() == NOISE
    assert [each.modified_s for each in unpacked.members] == [1_000_000_000, 1_000_000_000]


@pytest.mark.parametrize("date", [(0, 0), (2, 30), (13, 1)])
def test_a_zip_with_a_date_that_is_none_is_unpacked(tmp_path, out, date):
    entry = zipfile.ZipInfo("a.jpg", (2020, *date, 0, 0, 0))
    first, _ = unpack(zipped(tmp_path, (entry, NOISE), ("b.jpg", NOISE)), out).members
    assert first.modified_s == 315_532_800


@pytest.mark.parametrize(
    ("time", "kept"), [(-5, 0), (1e300, 2**32 - 1), (float("inf"), 0), (float("nan"), 0), (10.5, 10.5)]
)
def test_a_tar_with_any_time_is_unpacked(tmp_path, out, time, kept):
    info = file_info("a.jpg")
    info.mtime, info.pax_headers = 0, {"mtime": str(time)}
    (member,) = unpack(tarred(tmp_path, info), out).members
    assert member.modified_s == kept


def test_files_of_a_zip_are_numbered_and_hidden_ones_left_out(tmp_path, out):
    entries = ("b/", b""), ("b/\u00e9.png", NOISE), (".hidden.png", NOISE), ("__MACOSX/x.png", NOISE), ("t.txt", NOISE)
    unpacked = unpack(zipped(tmp_path, *entries), out, (".png",))
    assert [(each.name, each.file) for each in unpacked.members] == [("b/\u00e9.png", "000001.png")]
    assert unpacked.others == 1
    assert [path.name for path in out.iterdir()] == ["000001.png"]


@pytest.mark.parametrize(
    "name", ["../out.jpg", "a/../../b.jpg", "/etc/cron.d/x", "C:\\x.jpg", "..\\x.jpg", "\\\\host\\x"]
)
def test_names_that_lead_out_are_refused(tmp_path, out, name):
    for archive in (zipped(tmp_path, (name, NOISE)), tarred(tmp_path, file_info(name))):
        with pytest.raises(SourceUnsupportedError, match="leads out"):
            unpack(archive, out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, out, kind):
    with pytest.raises(SourceUnsupportedError, match="link or a device"):
        unpack(tarred(tmp_path, file_info("a.jpg", kind, "/etc/passwd")), out)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, out, mode):
    with pytest.raises(SourceUnsupportedError, match="link or a device"):
        unpack(zipped(tmp_path, (special_zip("a.jpg", mode), b"/etc/passwd")), out)


def test_a_bomb_is_refused_by_what_it_tells(tmp_path, out):
    zeros = bytes(4 << 20)
    compressed = tarred(tmp_path, file_info("a"), name="a.tar.gz", data=zeros)
    for archive in (zipped(tmp_path, ("a.bmp", zeros)), compressed):
        with pytest.raises(LimitError, match="100 times"):
            unpack(archive, out)


def test_a_bomb_that_lies_about_its_size_is_refused_by_what_it_comes_to(tmp_path, out):
    path = zipped(tmp_path, ("a.bmp", bytes(4 << 20)))
    data = path.read_bytes()
    told = (4 << 20).to_bytes(4, "little")
    assert data.count(told) == 2  # in the entry and in the directory
    path.write_bytes(data.replace(told, (1000).to_bytes(4, "little")))
    with pytest.raises((LimitError, SourceUnreadableError)):
        unpack(path, out)
    assert sum(each.stat().st_size for each in out.iterdir()) <= 100 * len(data)


def test_too_many_files_are_refused(tmp_path, out):
    with pytest.raises(LimitError, match="10000 files"):
        unpack(zipped(tmp_path, *((f"{number}.txt", b"") for number in range(10_001))), out, (".jpg",))


def test_an_encrypted_zip_is_told(tmp_path, out):
    path = zipped(tmp_path, ("a.jpg", NOISE))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceUnsupportedError, match="encrypted"):
        unpack(path, out)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_damaged_ones_are_told(tmp_path, out, name):
    whole = zipped(tmp_path, ("a.jpg", NOISE)) if name == "a.zip" else tarred(tmp_path, file_info("a.jpg"), name=name)
    data = whole.read_bytes()
    for broken in (b"no archive at all", data[: len(data) // 4]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(SourceUnreadableError, match="can't be unpacked"):
            unpack(tmp_path / name, out)
        for each in out.iterdir():
            each.unlink()


def test_an_empty_file_is_told(tmp_path, out):
    (tmp_path / "a.zip").touch()
    with pytest.raises(SourceEmptyError):
        unpack(tmp_path / "a.zip", out)


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "/a.jpg", "a\0.jpg", ""])
def test_a_member_that_leads_out_is_none_whoever_tells_of_it(name):
    with pytest.raises(ValueError, match="leads out of the archive"):
        Member(name=name, file="000001.jpg", modified_s=0)
    with pytest.raises(ValueError, match="pattern"):
        Member(name="a.jpg", file=name or "../1", modified_s=0)
