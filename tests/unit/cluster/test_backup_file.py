import errno
import json
import os
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import backup_file
from cluster.backup_file import SCHEMA, BackupReader, new_backup, opened_backup
from cluster.errors import StorageError

RECORDS = [{"id": number, "text": "a film, ein Film, 電影 \udc80"} for number in range(2000)]
BLOB = random.Random(1).randbytes(3 << 20)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob.parquet"
    path.write_bytes(BLOB)
    return path


@pytest.fixture
def backup(tmp_path: Path, blob: Path) -> Path:
    return made(tmp_path / "backup.zip", blob)


def made(target: Path, blob: Path, *, overwrite: bool = False) -> Path:
    with new_backup(target, "1.0", BackupReader.check, overwrite=overwrite) as writer:
        with writer.lines("jobs.jsonl") as write:
            for record in RECORDS:
                write(record)
        writer.file("collections/films/files/part.parquet", blob)
        writer.counts["jobs"] = len(RECORDS)
    return target


def contents(path: Path, target: Path) -> tuple[list[Any], bytes]:
    with opened_backup(path) as reader:
        reader.check()
        reader.copy("collections/films/files/part.parquet", target)
        return list(reader.lines("jobs.jsonl")), target.read_bytes()


def refused(path: Path) -> str:
    """The code with which a file isn't taken for a backup."""
    with pytest.raises(StorageError) as told, opened_backup(path) as reader:
        reader.check()
    return told.value.code


def test_what_was_written_is_read(backup, tmp_path):
    assert contents(backup, tmp_path / "copy") == (RECORDS, BLOB)


def test_it_is_its_owner_s_alone(backup):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_nothing_else_is_left_beside_it(backup, blob):
    assert sorted(backup.parent.iterdir()) == [backup, blob]


def test_what_is_there_is_kept_unless_it_may_be_overwritten(backup, blob):
    before = backup.read_bytes()
    with pytest.raises(StorageError) as told:
        made(backup, blob)
    assert told.value.code == "output_exists"
    assert backup.read_bytes() == before
    made(backup, blob, overwrite=True)
    assert backup.read_bytes() != before  # the time it was made at


def test_one_that_can_t_be_finished_leaves_nothing(tmp_path, blob):
    def fails(_: BackupReader) -> None:
        raise StorageError("backup_damaged", "It isn't what was written.")

    target = tmp_path / "backup.zip"
    with pytest.raises(StorageError), new_backup(target, "1.0", fails, overwrite=False) as writer:
        writer.file("blob", blob)
    assert list(tmp_path.iterdir()) == [blob]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, blob, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as told:
        made(tmp_path / "backup.zip", blob)
    assert told.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == [blob]


def test_a_file_that_can_t_be_read_is_told_as_itself(tmp_path):
    with (
        pytest.raises(StorageError) as told,
        new_backup(tmp_path / "backup.zip", "1.0", BackupReader.check, overwrite=False) as writer,
    ):
        writer.file("gone", tmp_path / "gone.parquet")
    assert (told.value.code, "gone.parquet" in told.value.message) == ("source_unreadable", True)


@pytest.mark.parametrize("text", [b"", b"PK", b"no zip at all" * 1000], ids=["empty", "short", "text"])
def test_another_kind_of_file_is_no_backup(tmp_path, text):
    path = tmp_path / "file"
    path.write_bytes(text)
    assert refused(path) == "backup_invalid"


def test_another_zip_is_no_backup(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("beach.jpg", b"picture")
        archive.writestr("manifest.json", b'{"name": "photos"}')
    assert refused(tmp_path / "photos.zip") == "backup_invalid"


def test_what_is_no_plain_file_is_no_backup(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "backup_invalid"
    assert refused(tmp_path) == "backup_invalid"
    assert refused(tmp_path / "gone") == "source_not_found"


def test_one_that_was_cut_off_is_refused_wherever(backup):
    whole = backup.read_bytes()
    for share in range(20):
        backup.write_bytes(whole[: len(whole) * share // 20])
        assert refused(backup) == "backup_invalid"


def test_a_bit_that_flips_is_found_or_changes_nothing(backup, tmp_path):
    whole, luck = backup.read_bytes(), random.Random(5)
    places = [*luck.sample(range(len(whole)), 60), *luck.sample(range(len(whole) - 600, len(whole)), 60)]
    outcomes = []
    for number, place in enumerate(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << luck.randrange(8)
        backup.write_bytes(flipped)
        outcomes.append(outcome(backup, tmp_path / f"copy-{number}"))
    assert set(outcomes) <= {"same", "backup_damaged", "backup_invalid", "backup_refused", "backup_newer"}
    assert outcomes.count("same") < len(places) // 2


def outcome(path: Path, target: Path) -> str:
    try:
        return "same" if contents(path, target) == (RECORDS, BLOB) else "another"
    except StorageError as error:
        return error.code


def rewritten(backup: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The same backup with other members and another manifest."""
    with zipfile.ZipFile(backup) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    with zipfile.ZipFile(backup, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", json.dumps(manifest))
    return backup


def test_one_of_a_newer_schema_is_refused_and_says_what_to_do(backup):
    path = rewritten(backup, lambda _, manifest: manifest.update(schema_version=SCHEMA + 1, news={"a": 1}))
    assert refused(path) == "backup_newer"


def test_a_member_that_was_exchanged_is_refused(backup):
    def exchange(members: dict[str, bytes], _: dict[str, Any]) -> None:
        members["jobs.jsonl"] = members["jobs.jsonl"].replace(b"film", b"FILM")

    assert refused(rewritten(backup, exchange)) == "backup_damaged"


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "added"])
def test_other_members_than_the_manifest_s_are_refused(backup, missing):
    def change(members: dict[str, bytes], _: dict[str, Any]) -> None:
        if missing:
            del members["jobs.jsonl"]
        else:
            members["more.jsonl"] = b"{}"

    assert refused(rewritten(backup, change)) == "backup_damaged"


@pytest.mark.parametrize(
    "name", ["../token", "/etc/passwd", "collections/../../token", "collections//a", "a\\..\\b", "a/./b", "a\nb", "a/"]
)
def test_a_name_that_leads_elsewhere_is_refused(backup, name):
    def add(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[name] = members["jobs.jsonl"]
        manifest["members"][name] = manifest["members"]["jobs.jsonl"]

    assert refused(rewritten(backup, add)) == "backup_refused"


def test_a_link_is_refused(backup):
    with zipfile.ZipFile(backup, "a") as archive:
        link = zipfile.ZipInfo("collections/films/files/link.parquet")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert refused(backup) == "backup_refused"


def test_a_file_that_is_there_is_never_written_over(backup, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with opened_backup(backup) as reader:
        for target in (victim, link):
            with pytest.raises(StorageError):
                reader.copy("collections/films/files/part.parquet", target)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_record_that_is_too_long_is_refused(backup, monkeypatch):
    monkeypatch.setattr(backup_file, "_LINE_BYTES", 20)
    with opened_backup(backup) as reader, pytest.raises(StorageError) as told:
        list(reader.lines("jobs.jsonl"))
    assert told.value.code == "backup_damaged"
