import errno
import json
import os
import threading
from pathlib import Path

import pytest

from cluster.kept import Kept

KEY, OTHER = "ab" * 32, "cd" * 32
DAY_S = 86_400.0


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "kept")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A unit's scratch folder with two files."""
    return folder_with(tmp_path / "made", chunk="picture", sound="noise")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Another unit's scratch folder, empty."""
    return folder_with(tmp_path / "scratch")


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def entry(kept: Kept, key: str = KEY) -> Path:
    return kept._folder / key[:2] / key


def leftovers(kept: Kept) -> list[str]:
    return [path.name for path in kept._folder.glob("*/*") if path.name not in (KEY, OTHER)]


def test_what_was_kept_is_fetched_with_its_manifest(kept, made, scratch):
    assert kept.keep(KEY, made, {"frames": 5})
    assert kept.fetch(KEY, scratch) == {"frames": 5}
    assert contents(scratch) == {"chunk": "picture", "sound": "noise"}


def test_nothing_is_fetched_under_a_key_that_isn_t_kept(kept, made, scratch):
    kept.keep(KEY, made, {})
    assert kept.fetch(OTHER, scratch) is None
    assert contents(scratch) == {}


def test_a_unit_without_files_is_kept_by_its_manifest(kept, tmp_path, scratch):
    kept.keep(KEY, folder_with(tmp_path / "empty"), {"text": "hello"})
    assert kept.fetch(KEY, scratch) == {"text": "hello"}


def test_files_are_linked_not_copied(kept, made, scratch):
    kept.keep(KEY, made, {})
    kept.fetch(KEY, scratch)
    assert (scratch / "chunk").samefile(made / "chunk")


def test_a_unit_s_own_manifest_json_is_a_file_like_any_other(kept, tmp_path, scratch):
    folder = folder_with(tmp_path / "own", **{"manifest.json": "mine"})
    kept.keep(KEY, folder, {"frames": 5})
    assert contents(folder) == {"manifest.json": "mine"}
    assert kept.fetch(KEY, scratch) == {"frames": 5}
    assert contents(scratch) == {"manifest.json": "mine"}


def test_the_first_one_s_work_stays(kept, made, tmp_path, scratch):
    kept.keep(KEY, made, {"by": "first"})
    assert kept.keep(KEY, folder_with(tmp_path / "later", chunk="late"), {"by": "second"})
    assert kept.fetch(KEY, scratch) == {"by": "first"}
    assert leftovers(kept) == []


def test_many_may_keep_the_same_at_once(kept, made, scratch):
    threads = [threading.Thread(target=kept.keep, args=(KEY, made, {"by": number})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.fetch(KEY, scratch) is not None
    assert leftovers(kept) == []


def test_everything_is_flushed_before_it_has_its_name(kept, made, monkeypatch):
    seen: list[str] = []
    rename = Path.rename

    def flush(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    def renamed(path: Path, target: Path) -> Path:
        seen.append("renamed")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", renamed)
    kept.keep(KEY, made, {})
    before, after = seen[: seen.index("renamed")], seen[seen.index("renamed") + 1 :]
    assert {"chunk", "sound", "manifest.json", "files"} < set(before)
    assert before[-1].startswith(f".{KEY[:8]}")
    assert after == [KEY[:2]]


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_the_keeping_not_the_work(kept, made, scratch, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(os, "link", no_space)
        assert not kept.keep(KEY, made, {})
    assert contents(made) == {"chunk": "picture", "sound": "noise"}
    assert leftovers(kept) == []
    assert kept.fetch(KEY, scratch) is None


def test_folders_are_not_kept(kept, made):
    (made / "inside").mkdir()
    assert not kept.keep(KEY, made, {})


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.EMLINK])
def test_files_are_copied_where_they_can_t_be_linked(kept, made, scratch, monkeypatch, code):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    kept.keep(KEY, made, {})
    kept.fetch(KEY, scratch)
    assert contents(scratch) == {"chunk": "picture", "sound": "noise"}
    assert not (scratch / "chunk").samefile(made / "chunk")


# Entries that aren't whole


def shorter(found: Path) -> None:
    os.truncate(found / "files" / "chunk", 3)


def missing(found: Path) -> None:
    (found / "files" / "chunk").unlink()


def unreadable(found: Path) -> None:
    (found / "manifest.json").write_text("{")


def of_another_shape(found: Path) -> None:
    (found / "manifest.json").write_text(json.dumps({"files": []}))


def without_manifest(found: Path) -> None:
    (found / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [shorter, missing, unreadable, of_another_shape, without_manifest])
def test_an_entry_that_isn_t_whole_is_refused_and_removed(kept, made, scratch, damage):
    kept.keep(KEY, made, {})
    damage(entry(kept))
    assert kept.fetch(KEY, scratch) is None
    assert not entry(kept).exists()
    assert contents(scratch) == {}


def test_a_fetch_that_breaks_off_leaves_nothing_behind(kept, made, scratch, monkeypatch):
    kept.keep(KEY, made, {})
    link, done = os.link, []

    def one_only(source: Path, target: Path) -> None:
        if done:
            raise FileNotFoundError(errno.ENOENT, "discarded this moment")
        done.append(link(source, target))

    monkeypatch.setattr(os, "link", one_only)
    assert kept.fetch(KEY, scratch) is None
    assert contents(scratch) == {}


# The end of an entry


def test_a_discarded_entry_is_gone_and_what_was_fetched_stays(kept, made, scratch):
    kept.keep(KEY, made, {})
    kept.fetch(KEY, scratch)
    kept.discard([KEY, OTHER])
    assert not entry(kept).exists()
    assert contents(scratch) == {"chunk": "picture", "sound": "noise"}


def aged(path: Path, age_s: float) -> None:
    at_s = path.stat().st_mtime - age_s
    os.utime(path, (at_s, at_s))


def test_entries_go_by_age(kept, made):
    kept.keep(KEY, made, {})
    kept.keep(OTHER, made, {})
    aged(entry(kept, OTHER), 2 * DAY_S)
    kept.sweep(DAY_S)
    assert entry(kept).exists()
    assert not entry(kept, OTHER).exists()


def test_what_was_left_half_made_goes_by_age_too(kept, made):
    kept.keep(KEY, made, {})
    half = entry(kept).with_name(".abababab-1")
    half.mkdir()
    aged(half, 2 * DAY_S)
    kept.sweep(DAY_S)
    assert leftovers(kept) == []


def test_an_entry_that_is_of_use_begins_its_age_anew(kept, made, scratch):
    kept.keep(KEY, made, {})
    aged(entry(kept), 2 * DAY_S)
    kept.fetch(KEY, scratch)
    kept.sweep(DAY_S)
    assert entry(kept).exists()


def test_there_is_nothing_to_sweep_before_anything_is_kept(kept):
    kept.sweep(0.0)


@pytest.mark.parametrize("key", ["", "../../../etc", "AB" * 32, "ab" * 31, f"{KEY}/x", f"{KEY}\n"])
def test_only_digests_are_keys(kept, made, scratch, key):
    for use in (lambda: kept.keep(key, made, {}), lambda: kept.fetch(key, scratch), lambda: kept.discard([key])):
        with pytest.raises(ValueError, match="not a key"):
            use()
