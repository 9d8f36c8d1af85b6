"""Films of a collection on a real Ray: their chunks are units of the bulk job, and are done once."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import av
import pytest
from unit.pipelines.jobs.pretend import until_state

from pipelines.bulk.collection import Collection
from pipelines.bulk.tasks import task_of

# Estimated to take longer than what is done in a batch.
PARAMS: dict[str, Any] = {"profile": "archive-hevc", "preset": "veryslow", "chunk_s": 1.5}


@pytest.fixture
def films(cluster, film, request) -> Collection:
    name = request.node.name.replace("_", "-")[:40]
    job_id = cluster.submit("collection-import", film, into=name)
    assert cluster.ended(job_id) == "succeeded", cluster.job(job_id).error
    return Collection.named(cluster.home.path, name)


def process(cluster: Any, films: Collection, output: Path) -> str:
    job_id: str = cluster.submit(
        "collection-process", f"collection:{films.name}", task="transcode", task_params=PARAMS, output=str(output)
    )
    return job_id


def chunks_done(cluster: Any, job_id: str) -> list[str]:
    """As the log tells them, each as often as it was committed."""
    entries = cluster.do(cluster.store.read_log("0-0", block_ms=1, count=100_000))
    return [each.body for each in entries if each.job_id == job_id and each.type == "unit" and "-chunk-" in each.body]


def ended(cluster: Any, job_id: str) -> str:
    """It is work of ten seconds: on a busy machine of minutes."""
    state: str = cluster.do(until_state(cluster.store, job_id, "succeeded", "failed", "cancelled", limit_s=200))
    return state


def outcome(films: Collection, output: Path) -> dict[str, Any]:
    (row,) = films.results(task_of("transcode", PARAMS, str(output))).read().to_pylist()
    assert row["state"] == "done", row["message"]
    told: dict[str, Any] = json.loads(row["result"])
    return told


def test_a_film_is_encoded_in_chunks_and_a_killed_driver_costs_none_of_them(cluster, films):
    output = cluster.folder / "out" / films.name
    job_id = process(cluster, films, output)
    cluster.until(lambda: chunks_done(cluster, job_id), limit_s=200)
    os.kill(cluster.worker_of(job_id, "run"), signal.SIGKILL)
    assert ended(cluster, job_id) == "succeeded", cluster.job(job_id).error
    assert (cluster.job(job_id).result["done"], cluster.job(job_id).result["made"]) == (1, 1)
    assert len(done := Counter(chunks_done(cluster, job_id))) == outcome(films, output)["chunks"] > 2
    assert set(done.values()) == {1}
    with av.open(str(output / "film.mkv")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 150


def test_what_a_cancelled_job_had_encoded_is_taken_over_by_the_next(cluster, films):
    output = cluster.folder / "out" / films.name
    first = process(cluster, films, output)
    cluster.until(lambda: chunks_done(cluster, first), limit_s=200)
    cluster.do(cluster.store.want(first, "cancel"))
    assert cluster.ended(first) == "cancelled"
    assert not list(output.rglob("*"))
    second = process(cluster, films, output)
    assert ended(cluster, second) == "succeeded", cluster.job(second).error
    assert outcome(films, output)["reused_chunks"] >= 1
