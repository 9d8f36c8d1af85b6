import shutil
from pathlib import Path

import pytest

from cluster import kept_backup
from cluster.backup_file import hold, new_backup, opened_backup
from cluster.errors import StorageError
from cluster.kept import Kept
from cluster.kept_backup import add_kept, check_kept, restore_kept

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "chunk.mkv").write_bytes(b"picture")
    for key in (KEY, OTHER):
        assert Kept(tmp_path / "home" / "kept").keep(key, made, {"frames": 5})
    return tmp_path / "home" / "kept"


def backed_up(kept: Path, target: Path) -> Path:
    linked = target.with_suffix(".linked")
    linked.mkdir()
    with new_backup(target, "test", check_kept, overwrite=False) as writer:
        add_kept(kept, linked, writer, lambda _: None)
        assert list(linked.iterdir()) == []
    return target


def test_a_piece_that_came_back_is_taken_over(kept, tmp_path):
    backup = backed_up(kept, tmp_path / "backup.zip")
    there = tmp_path / "there" / "kept"
    there.mkdir(parents=True)
    with opened_backup(backup) as reader:
        assert reader.manifest.counts["pieces"] == 2
        restore_kept(there, reader, lambda _: None)
        restore_kept(there, reader, lambda _: None)  # what is there stays
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert Kept(there).fetch(KEY, scratch) == {"frames": 5}
    assert (scratch / "chunk.mkv").read_bytes() == b"picture"


def test_a_piece_that_is_discarded_meanwhile_is_left_out(kept, tmp_path, monkeypatch):
    def discarding(file: str, target: str) -> int:
        if KEY in file:
            shutil.rmtree(kept / KEY[:2] / KEY, ignore_errors=True)
        return hold(file, target)

    monkeypatch.setattr(kept_backup, "hold", discarding)
    with opened_backup(backed_up(kept, tmp_path / "backup.zip")) as reader:
        assert reader.manifest.counts["pieces"] == 1
        assert not [name for name in reader.manifest.members if KEY in name]


@pytest.mark.parametrize(
    "name",
    ["kept/ab/short/manifest.json", f"kept/cd/{KEY}/manifest.json", f"kept/ab/{KEY}/files/a/b", f"kept/ab/{KEY}/x"],
)
def test_a_name_that_no_piece_has_is_refused(tmp_path, name):
    (tmp_path / "a").write_bytes(b"x")

    def write() -> None:
        with new_backup(tmp_path / "backup.zip", "test", check_kept, overwrite=False) as writer:
            writer.file(name, tmp_path / "a")

    with pytest.raises(StorageError) as told:
        write()
    assert told.value.code == "backup_refused"
