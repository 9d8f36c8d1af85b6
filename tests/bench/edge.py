"""The edge: how fast a job is accepted and a probe is done, and how fast a worker's report reaches a client."""

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from tests.bench.figures import Figure, percentile
from tests.clips import make_clip
from tests.live_server import LiveServer, live_server

REQUESTS = 400
CLIENTS = 100
EVENT_SECONDS = 20


def latency() -> list[Figure]:
    """``POST /v1/jobs`` over two kept-alive connections, idle; and how long the probe takes after its 202."""
    with live_server() as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=2, width=320, height=180)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_posts, [(server, clip, 30)] * 2))
            batches = list(pool.map(_posts, [(server, clip, REQUESTS // 2)] * 2))
    samples = [each for batch in batches for each in batch]
    posts, dones = [post for post, _ in samples], [done for _, done in samples]
    return [
        Figure("POST /v1/jobs, p50", percentile(posts, 50) * 1000, "ms", 10, "bar; 2 connections, idle"),
        Figure("POST /v1/jobs, p99", percentile(posts, 99) * 1000, "ms", 40, "bar"),
        Figure("a probe is done after its 202, p50", percentile(dones, 50) * 1000, "ms"),
        Figure("a probe is done after its 202, p99", percentile(dones, 99) * 1000, "ms", 150, "bar"),
    ]


def _posts(given: tuple[LiveServer, Path, int]) -> list[tuple[float, float]]:
    """Seconds of each request, and from the job's acceptance to its end as the server noted them."""
    server, clip, count = given
    samples = []
    with server.client() as client:
        for _ in range(count):
            began = time.monotonic()
            answer = client.post(
                "/v1/jobs", json={"operation": "probe", "source": str(clip), "params": {"fresh": True}}
            )
            took = time.monotonic() - began
            assert answer.status_code == 202, answer.text
            job = server.wait(answer.json()["id"])
            samples.append((took, _at(job["finished_at"]) - _at(job["created_at"])))
    return samples


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def events() -> list[Figure]:
    """100 sockets, each on a job of its own at one event a second: from the worker's report to the client."""
    with live_server(MEDIARAY_CPUS="3") as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=60, width=640, height=360)
        jobs = quiet_jobs(server, clip, CLIENTS)
        idle = _measure(server, jobs)
        long_clip = make_clip(server.folder / "long.mkv", seconds=120, width=1280, height=720)
        busy_ids = [server.submit("transcode", long_clip, preset="veryslow")["id"] for _ in range(2)]
        for job_id in busy_ids:
            server.wait(job_id, states={"running"})
        busy = _measure(server, jobs)
        states = [server.job(job_id)["state"] for job_id in busy_ids]
        for job_id in busy_ids:
            server.post(f"/v1/jobs/{job_id}/cancel")
    assert states == ["running"] * 2, f"the encodes were over before the events were: {states}"
    figures = []
    for name, samples, bar in (("idle", idle, 5), ("two encodes run", busy, 10)):
        figures += [
            Figure(f"report → client, {name}, p50", percentile(samples, 50) * 1000, "ms"),
            Figure(f"report → client, {name}, p99", percentile(samples, 99) * 1000, "ms", bar, "bar"),
        ]
    return figures


def quiet_jobs(server: LiveServer, clip: Path, count: int) -> list[str]:
    """Jobs that the board knows and that do nothing themselves: paused ones."""
    ids = []
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=30) as client:
        for number in range(count):
            body = {
                "operation": "transcode",
                "source": str(clip),
                "params": {"output": str(server.folder / f"q{number}.mp4")},
                "priority": "low",
            }
            job_id = client.post("/v1/jobs", json=body).json()["id"]
            client.post(f"/v1/jobs/{job_id}/pause")
            ids.append(job_id)
    for job_id in ids:
        server.wait(job_id, states={"paused"})
    return ids


def _measure(server: LiveServer, jobs: list[str]) -> list[float]:
    """Report from a Ray task inside the cluster, receive here. CLOCK_MONOTONIC is one for all processes."""
    with ThreadPoolExecutor(1) as pool:
        receiving = pool.submit(asyncio.run, _receive(server, jobs))
        reporter = start_reporter(server, jobs, EVENT_SECONDS)
        samples = receiving.result(EVENT_SECONDS + 60)
        reporter.wait(60)
    assert len(samples) > CLIENTS * EVENT_SECONDS * 0.9, f"{len(samples)} events came"
    return samples


async def _receive(server: LiveServer, jobs: list[str]) -> list[float]:
    samples: list[float] = []

    async def one(job_id: str) -> None:
        url = f"ws://127.0.0.1:{server.port}/v1/jobs/{job_id}/events"
        async with connect(url, additional_headers=server.headers, open_timeout=30) as socket:
            (server.root / "watching").open("a").write("x")
            async for text in socket:
                event = json.loads(text)
                if event["type"] == "progress" and event["fps"]:
                    sent = event["fps"] * 1e-6 + base
                    if 0 <= time.monotonic() - sent < 30:
                        samples.append(time.monotonic() - sent)

    base = float(int(time.monotonic()))
    (server.root / "base").write_text(str(base))
    (server.root / "watching").write_text("")
    tasks = [asyncio.create_task(one(job_id)) for job_id in jobs]
    await asyncio.sleep(EVENT_SECONDS + 12)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return samples


def start_reporter(server: LiveServer, jobs: list[str], seconds: int) -> subprocess.Popen[bytes]:
    """The reporter is a driver of its own, so that Ray isn't started in this process.

    It begins when the file ``watching`` in the server's folder has a character for each job, and takes the time from
    the file ``base``.
    """
    record = json.loads((server.home / "run" / "server.json").read_text())
    environment = {
        **server.env,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": record["ray_token_path"],
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    told = [record["ray_address"], str(server.root), str(seconds), *jobs]
    return subprocess.Popen([sys.executable, "-m", "tests.bench.reporter", *told], env=environment)
