"""Jobs on a real Ray: they end once and rightly, whatever is killed meanwhile."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import media_factory as factory
import psutil
import pytest
import ray
import redis

from pipelines.jobs.orders import DISPATCHER, NAMESPACE, REGISTRY
from pipelines.jobs.store import PREFIX
from pipelines.jobs.unit_store import UnitStore

SLOW = {"profile": "archive-hevc", "preset": "slow", "chunk_s": 60}  # longer than the film: in one unit, ``film``


def log_of(cluster: Any, job_id: str) -> list[tuple[str, str]]:
    """What the log says of a job: kind and state, or kind and unit."""
    entries = cluster.do(cluster.store.read_log("0-0", block_ms=1, count=100_000))
    return [(e.type, e.body if e.type == "unit" else e.state) for e in entries if e.job_id == job_id]


def counter(cluster: Any, name: str) -> int:
    with redis.Redis.from_url(cluster.url, decode_responses=True) as raw:
        return int(raw.get(f"{PREFIX}:{name}") or 0)


@pytest.fixture
def output(cluster, request) -> Path:
    return cluster.folder / "out" / f"{request.node.name}.mkv"


@pytest.fixture
def slow(cluster, film, output):
    """A transcode that runs; the process that does it."""
    job_id = cluster.submit("transcode", film, output=str(output), **SLOW)
    return job_id, cluster.encoding(job_id)


def test_a_probe_tells_what_is_in_the_film(cluster, clip):
    job_id = cluster.submit("probe", clip)
    assert cluster.ended(job_id) == "succeeded"
    assert cluster.job(job_id).result["duration_s"] == pytest.approx(1.0, abs=0.1)


def test_chunks_that_dont_join_become_one_pass_with_a_warning(cluster, output):
    # Keyframes that only begin a refresh: what is decoded from one isn't what the chunk before saw.
    options = {"preset": "veryfast", "crf": "20", "x264-params": "intra-refresh=1:keyint=20:bframes=0"}
    refreshed = factory.film(cluster.folder / "refresh.mp4", frames=100, options=options)
    params = {"profile": "mobile-480p", "preset": "ultrafast", "crf": 0, "chunk_s": 1, "output": str(output)}
    job_id = cluster.submit("transcode", refreshed, **params)
    assert cluster.ended(job_id) == "succeeded"
    job = cluster.job(job_id)
    assert (job.result["method"], job.result["reason"]) == ("serial", "its chunks couldn't be joined")
    assert any("couldn't be joined" in warning for warning in job.warnings)
    assert factory.shown_pictures(output) == factory.shown_pictures(refreshed)


def test_a_source_that_is_no_media_fails_with_its_code(cluster):
    bad = cluster.folder / "bad.mkv"
    bad.write_bytes(b"no media" * 100)
    job_id = cluster.submit("probe", bad)
    assert cluster.ended(job_id) == "failed"
    error = cluster.job(job_id).error
    assert (error.code, error.retryable) == ("not_media", False)
    assert "Traceback" not in error.message


def test_a_transcode_publishes_its_file_and_leaves_nothing_else(cluster, clip, output):
    job_id = cluster.submit("transcode", clip, output=str(output), profile="mobile-480p")
    assert cluster.ended(job_id) == "succeeded"
    (artifact,) = cluster.job(job_id).artifacts
    assert (artifact.path, artifact.size_bytes) == (str(output), output.stat().st_size)
    assert [path.name for path in output.parent.iterdir() if path.name.startswith(".")] == []
    assert not (cluster.home.scratch / job_id).exists()


def test_a_running_unit_claims_its_memory_from_ray(cluster, film, output):
    total_bytes = ray.cluster_resources()["memory"]
    job_id = cluster.submit("transcode", film, output=str(output), **SLOW)
    cluster.until(lambda: total_bytes - ray.available_resources().get("memory", 0) >= 100 << 20)
    assert cluster.ended(job_id) == "succeeded"


def test_progress_is_told_while_it_runs(cluster, slow):
    job_id, _ = slow
    told: list[float] = []

    def moved() -> bool:
        snapshot = ray.get(cluster.registry.attach.remote(job_id, 0, 0), timeout=30)[0]
        told.append(snapshot["progress"])
        return snapshot["state"] == "running" and 0 < snapshot["progress"] < 1

    cluster.until(moved)
    assert cluster.ended(job_id) == "succeeded"
    assert told == sorted(told)


def test_a_job_whose_worker_is_killed_is_done_by_another(cluster, slow, output):
    job_id, pid = slow
    os.kill(pid, signal.SIGKILL)
    cluster.until(lambda: cluster.lost(job_id, "film") >= 1)
    assert cluster.ended(job_id) == "succeeded"
    assert output.stat().st_size > 0


def test_a_job_whose_media_child_is_killed_is_done_again(cluster, slow):
    job_id, pid = slow
    child = next(each for each in psutil.Process(pid).children() if "pipelines.media.child" in each.cmdline())
    child.kill()
    assert cluster.ended(job_id) == "succeeded"
    assert not cluster.is_gone(pid)


def test_a_killed_dispatcher_comes_back_and_the_job_ends(cluster, slow):
    job_id, _ = slow
    before = counter(cluster, "leader")
    os.kill(cluster.actor_pid("DispatcherActor"), signal.SIGKILL)
    cluster.until(lambda: counter(cluster, "leader") > before)
    assert cluster.ended(job_id) == "succeeded"


def test_a_dispatcher_that_was_displaced_comes_back(cluster, clip):
    cluster.do(cluster.store.lead())
    job_id = cluster.submit("probe", clip)
    assert cluster.ended(job_id) == "succeeded"


def test_a_killed_registry_comes_back_with_a_new_epoch_and_knows_the_active_jobs(cluster, slow):
    job_id, _ = slow
    before = ray.get(cluster.registry.ready.remote(), timeout=30)
    os.kill(cluster.actor_pid("ProgressRegistry"), signal.SIGKILL)
    cluster.until(lambda: counter(cluster, "registry") > before)
    found: list[Any] = []

    def attached() -> bool:
        try:
            found[:] = ray.get(ray.get_actor(REGISTRY, NAMESPACE).attach.remote(job_id, before, 1), timeout=30)
        except ray.exceptions.RayError:
            return False
        return True

    cluster.until(attached)
    assert [(event["type"], event["epoch"] > before) for event in found] == [("snapshot", True)]
    assert cluster.ended(job_id) == "succeeded"


def test_a_cancelled_transcode_ends_soon_and_leaves_nothing(cluster, slow, output):
    job_id, pid = slow
    children = [each.pid for each in psutil.Process(pid).children()]
    asked_at = time.monotonic()
    cluster.do(cluster.store.want(job_id, "cancel"))
    assert cluster.ended(job_id) == "cancelled"
    assert time.monotonic() - asked_at < 10  # two seconds where nothing else uses the machine
    assert all(cluster.is_gone(child) for child in children)
    assert not output.exists()
    assert not (cluster.home.scratch / job_id).exists()


def test_what_a_cancelled_transcode_had_finished_is_taken_over_by_the_next(cluster, film, output):
    params = {**SLOW, "chunk_s": 1.5, "output": str(output)}
    first = cluster.submit("transcode", film, **params)
    cluster.until(lambda: any(kind == "unit" and name.startswith("chunk-") for kind, name in log_of(cluster, first)))
    cluster.do(cluster.store.want(first, "cancel"))
    assert cluster.ended(first) == "cancelled"
    assert list(cluster.home.kept.glob("*/*"))
    second = cluster.submit("transcode", film, **params)
    assert cluster.ended(second) == "succeeded"
    assert cluster.job(second).result["reused_chunks"] >= 1
    assert not list(cluster.home.kept.glob("*/*"))


def test_a_chunk_that_changed_before_it_was_joined_is_encoded_again_alone(cluster, film, output):
    job_id = cluster.submit("transcode", film, **{**SLOW, "chunk_s": 1.5, "output": str(output)})

    def done() -> list[str]:
        return [name for kind, name in log_of(cluster, job_id) if kind == "unit" and name.startswith("chunk-")]

    cluster.until(done)
    changed = done()[0]
    (file,) = (cluster.home.scratch / job_id).glob(f"{changed}.*/chunk.nut")
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"rotten")
    assert cluster.ended(job_id) == "succeeded"
    result = cluster.job(job_id).result
    assert result["method"] == "chunk"
    assert sorted(done()) == sorted([changed, *(f"chunk-{number:04d}" for number in range(result["chunks"]))])


def test_a_paused_transcode_gives_its_cpus_back_and_goes_on_when_resumed(cluster, slow):
    job_id, _ = slow
    cluster.do(cluster.store.want(job_id, "pause"))
    cluster.reaches(job_id, "paused")
    facts = ray.get(ray.get_actor(DISPATCHER, NAMESPACE).facts.remote(), timeout=30)
    assert (facts.cpus_in_use, facts.backlog.paused_jobs) == (0, 1)
    cluster.do(cluster.store.want(job_id, "run"))
    assert cluster.ended(job_id) == "succeeded"


def test_a_film_in_one_pass_holds_up_no_film_that_comes_later(cluster, slow, clip):
    job_id, _ = slow
    later = cluster.submit("transcode", clip, output=str(cluster.folder / "out" / "later.mp4"), profile="mobile-480p")
    assert cluster.ended(later) == "succeeded"
    assert cluster.ended(job_id) == "succeeded"
    assert cluster.job(later).finished_at < cluster.job(job_id).finished_at


def test_a_stopped_worker_s_unit_is_done_by_another_and_counts_once(cluster, slow, output):
    job_id, pid = slow
    units = cluster.do(cluster.store.load(job_id)).units
    stale = units["film"].fence
    os.kill(pid, signal.SIGSTOP)
    cluster.until(lambda: cluster.lost(job_id, "film") >= 1)
    assert not UnitStore(cluster.url).commit(job_id, "film", stale, "{}")
    assert cluster.ended(job_id) == "succeeded"
    cluster.until(lambda: cluster.is_gone(pid))
    log = log_of(cluster, job_id)
    assert (log.count(("unit", "film")), log.count(("state", "succeeded"))) == (1, 1)
    assert output.stat().st_size > 0
