"""Metadata for whoever waits, with the real child and a real cache."""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from unit.edits import edit_unseen
from unit.pipelines.jobs.operating import bench, done

from cluster import identity
from cluster.cache import Cache, operation_tag
from cluster.child import MediaChild
from cluster.descriptors import SourceDescriptor
from cluster.errors import ChildFailedError, StorageError
from cluster.roots import Roots
from pipelines.jobs.cached_results import CachedResults
from pipelines.jobs.models import Found, JobError, Joined, Plan
from pipelines.jobs.operations.probe import OPERATION as PROBE
from pipelines.jobs.served_media import ServedMedia
from pipelines.media.info import MediaInfo
from pipelines.media.sample import make_sample


class Desk:
    def __init__(self, child: MediaChild, cache_url: str, folder: Path) -> None:
        self.child, self.folder, self.lent = child, folder, 0
        self.gate, self.asked = threading.Event(), threading.Event()
        self.gate.set()
        self.media = ServedMedia(Cache(cache_url), self.lend)

    @contextlib.contextmanager
    def lend(self) -> Any:
        self.lent += 1
        self.asked.set()
        assert self.gate.wait(20)
        yield self.child

    def get(self, source: Path) -> str | JobError:
        found = self.media.get(str(source), Roots((self.folder,), ()))
        return found if isinstance(found, JobError) else found.text


@pytest.fixture
def desk(child, redis_url, tmp_path, monkeypatch):
    """All files were written long ago."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    return Desk(child, redis_url, tmp_path)


@pytest.fixture
def clip(tmp_path) -> Path:
    return make_sample(tmp_path / "clip.mkv", duration_s=0.5, width=64, height=36)


def test_a_file_is_read_once(desk, clip):
    first, second = desk.get(clip), desk.get(clip)
    assert first == second
    assert isinstance(first, str)
    assert json.loads(first)["streams"][0]["width"] == 64
    assert desk.lent == 1


def test_what_is_too_large_to_be_kept_is_read_each_time(desk, clip, monkeypatch):
    monkeypatch.setattr("pipelines.jobs.cached_results._MOST_BYTES", 100)
    assert desk.get(clip) == desk.get(clip)
    assert desk.lent == 2


def test_a_fault_that_is_kept_is_no_result_of_a_job(desk, child, tmp_path, redis_url):
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"no media" * 100)
    assert isinstance(desk.get(broken), JobError)
    lookup = CachedResults(Cache(redis_url)).look(PROBE, bench(PROBE, broken, child))
    assert lookup is not None
    assert lookup.found is None


def test_a_changed_file_is_read_anew(desk, clip):
    desk.get(clip)
    make_sample(clip, duration_s=0.5, width=80, height=36)
    told = desk.get(clip)
    assert isinstance(told, str)
    assert json.loads(told)["streams"][0]["width"] == 80


def test_an_edit_that_hides_is_seen(desk, clip):
    with clip.open("ab") as file:
        file.write(bytes(2 << 20))
    desk.get(clip)
    edit_unseen(clip)
    desk.get(clip)
    assert desk.lent == 2


def test_what_another_build_read_is_read_anew(desk, clip, monkeypatch):
    desk.get(clip)
    monkeypatch.setattr("pipelines.jobs.cached_results.build_id", lambda _: "another")
    desk.get(clip)
    assert desk.lent == 2


def test_a_file_that_may_still_be_written_is_read_each_time(desk, clip, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    desk.get(clip)
    desk.get(clip)
    assert desk.lent == 2


@pytest.fixture
def probe(child, clip, redis_url):
    """What a job finds in the cache, before it has done anything; and what it then comes to, which it keeps."""
    results = CachedResults(Cache(redis_url))

    def probe() -> tuple[Found | None, dict[str, Any]]:
        at = bench(PROBE, clip, child)
        lookup = results.look(PROBE, at)
        assert lookup is not None
        result = done(PROBE, clip, child).result.model_dump(mode="json")
        results.keep(PROBE, at, Plan(units=(), lookup=lookup), Joined(result=result))
        return lookup.found, result

    return probe


def test_a_job_is_told_what_was_read_for_whoever_waited(desk, clip, probe):
    desk.get(clip)
    found, result = probe()
    assert found == Found(result=result)


def test_whoever_waits_is_told_what_a_job_has_read(desk, clip, probe, child):
    probe()
    told = desk.get(clip)
    with clip.open("rb") as file:
        arguments = {"source": SourceDescriptor(file.fileno(), clip.name)}
        info = child.call("pipelines.media.probing.probe:probe", arguments, MediaInfo, limit_s=60.0)
    assert (told, desk.lent) == (info.model_dump_json(), 0)


def test_many_who_ask_at_once_wait_for_one(desk, clip, redis_url, monkeypatch):
    """In two processes, of which one waits for the other's lock."""
    monkeypatch.setattr(time, "sleep", threading.Event().wait)
    other = ServedMedia(Cache(redis_url), desk.lend)
    desk.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(at.get, str(clip), Roots((desk.folder,), ())) for at in [desk.media, other] * 10]
        assert desk.asked.wait(20)
        desk.gate.set()
        assert len({each.result(20) for each in asked}) == 1
    assert desk.lent == 1


def test_what_is_a_file_s_own_fault_is_told_again_without_reading(desk, tmp_path, redis_url):
    text = tmp_path / "text.mkv"
    text.write_text("no film")
    first, second = desk.get(text), desk.get(text)
    assert isinstance(first, JobError)
    assert (first.code, second, desk.lent) == ("not_media", first, 1)
    Cache(redis_url).purge([operation_tag("probe")])
    assert desk.get(text) == first
    assert desk.lent == 2


class Failing:
    def call(self, *_: Any, **__: Any) -> Any:
        raise ChildFailedError("disk_full", "No room.", {})


def test_what_is_the_place_s_fault_is_tried_again(desk, clip, child):
    desk.child = Failing()
    assert isinstance(desk.get(clip), JobError)
    desk.child = child
    assert isinstance(desk.get(clip), str)


class Writing(Failing):
    """Somebody writes to the file while it is read, which then looks damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, *_: Any, **__: Any) -> Any:
        with self._path.open("ab") as file:
            file.write(b"more")
        raise ChildFailedError("source_truncated", "It ends early.", {})


def test_a_file_that_is_written_meanwhile_isn_t_called_damaged(desk, clip, child):
    desk.child = Writing(clip)
    with pytest.raises(StorageError) as changed:
        desk.get(clip)
    assert changed.value.code == "source_changed"


def test_without_the_cache_it_is_read_each_time(child, clip, tmp_path):
    desk = Desk(child, f"unix://{tmp_path}/none.sock", tmp_path)
    assert desk.get(clip) == desk.get(clip)
    assert desk.lent == 2
