import os
from pathlib import Path

import pytest

from cluster.file_cache import FileCache


@pytest.fixture
def cache(tmp_path):
    return FileCache(tmp_path / "cache", limit_bytes=100)


def keep(cache: FileCache, key: str, size: int) -> Path:
    made = cache.place()
    made.write_bytes(b"x" * size)
    kept = cache.keep(key, made, cache.forgets)
    assert kept is not None
    return kept


def test_what_was_kept_is_found(cache):
    assert cache.find("a1") is None
    path = keep(cache, "a1", 10)
    assert cache.find("a1") == path
    assert path.read_bytes() == b"x" * 10


def test_a_file_is_on_the_disk_before_it_has_its_name(cache, monkeypatch):
    flushed, fsync = [], os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        flushed.append((os.fstat(descriptor).st_ino, cache.find("a1")))

    monkeypatch.setattr(os, "fsync", noted)
    path = keep(cache, "a1", 10)
    assert flushed == [(path.stat().st_ino, None)]


def test_the_least_used_go_when_room_is_needed(cache):
    for number, key in enumerate(["a1", "b2", "c3"]):
        os.utime(keep(cache, key, 30), (number, number))
    cache.find("a1")  # of use again
    keep(cache, "d4", 30)
    assert [key for key in ("a1", "b2", "c3", "d4") if cache.find(key)] == ["a1", "c3", "d4"]


def test_what_another_process_kept_counts(cache, tmp_path):
    keep(FileCache(tmp_path / "cache", 100), "a1", 90)
    os.utime(cache.find("a1"), (1, 1))
    keep(cache, "b2", 30)
    assert cache.find("a1") is None


def test_however_many_processes_keep_files_all_together_take_no_more_than_the_limit(tmp_path):
    processes = [FileCache(tmp_path / "cache", 100) for _ in range(8)]
    for number in range(10):
        for each, cache in enumerate(processes):
            keep(cache, f"a{number}p{each}", 10)
            assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*")) <= 100


def test_all_that_is_there_is_looked_at_now_and_then(tmp_path, monkeypatch):
    looks, listed = [], FileCache._entries
    monkeypatch.setattr(FileCache, "_entries", lambda cache: looks.append(1) or listed(cache))
    cache = FileCache(tmp_path / "cache", 1000)
    for number in range(11):
        keep(cache, f"a{number}", 10)
    assert len(looks) == 3


def test_what_was_begun_before_another_process_forgot_isn_t_kept(cache, tmp_path):
    keep(cache, "a1", 10)
    begun, made = cache.forgets, cache.place()
    made.write_bytes(b"x")
    FileCache(tmp_path / "cache", 100).forget({"ab"})
    assert cache.keep("a2", made, begun) is None
    assert keep(cache, "a2", 10).exists()


def test_the_word_of_the_forgets_is_no_entry(cache):
    cache.forget({"ab"})
    word = cache.forgets
    keep(cache, "a1", 500)
    keep(cache, "b2", 500)
    cache.forget({""})
    assert cache.forgets not in (word, b"")
    assert cache.find("b2") is None


def test_a_key_is_no_path(cache):
    with pytest.raises(ValueError, match="not a key"):
        cache.find("../../etc/passwd")


def test_what_was_just_kept_stays_however_large(cache):
    path = keep(cache, "a1", 500)
    assert path.exists()
    keep(cache, "b2", 10)
    assert not path.exists()


def test_what_was_begun_and_left_goes_too(cache):
    begun = cache.place()
    begun.write_bytes(b"x" * 95)
    os.utime(begun, (1, 1))
    keep(cache, "a1", 10)
    assert not begun.exists()


def test_what_was_begun_before_something_was_forgotten_isn_t_kept(cache):
    begun, made = cache.forgets, cache.place()
    made.write_bytes(b"x")
    cache.forget({"ab"})
    assert cache.keep("a1", made, begun) is None
    assert cache.find("a1") is None


def test_entries_are_forgotten_by_how_their_keys_begin(cache):
    for key in ("ab1", "ab2", "cd1", "ef1"):
        keep(cache, key, 10)
    cache.forget({"ab1", "cd", "../"})
    assert [cache.find(key) is not None for key in ("ab1", "ab2", "cd1", "ef1")] == [False, True, False, True]
    cache.forget({""})
    assert [cache.find(key) for key in ("ab2", "ef1")] == [None, None]
