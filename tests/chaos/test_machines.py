"""Machines that come and go by Ray's own autoscaler, and that are taken back while they work, as spot machines are.

They are processes here, of the types and with the labels of the file for AWS.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from clips import frames_and_duration, make_clip
from live_nodes import Nodes, Watch, at_work, kill_tree, live_nodes, machines
from live_server import LiveServer, until

pytestmark = pytest.mark.timeout(900)
MOST = 3
JOBS = 4
SECONDS = 20
BUSY_LIMIT_S = 300.0  # machines start slowly where all of them encode


@pytest.fixture(scope="module")
def scaled() -> Iterator[tuple[LiveServer, Nodes, Watch]]:
    # Nothing tells the server how much the autoscaler may bring.
    with live_nodes(MEDIARAY_NODE_REST_S="2") as (server, nodes):
        nodes.start_scaling_head(machines(nodes, most=MOST, idle_s=4), interval_s=1)
        with nodes.watched() as watch:
            until(lambda: watch.counts()[-1:] == [1], BUSY_LIMIT_S, lambda: story(nodes, watch))
            server.start()
            yield server, nodes, watch


@pytest.fixture(scope="module")
def clip(scaled) -> Path:
    return make_clip(scaled[0].folder / "clip.mkv", seconds=SECONDS, width=480, height=270)


def submit(server: LiveServer, clip: Path, name: str) -> str:
    params = {"profile": "mobile-480p", "preset": "slower", "chunk_s": 2, "fresh": True}
    return server.submit("transcode", clip, output=str(server.folder / f"{name}.mp4"), **params)["id"]


def check_all_whole(server: LiveServer, jobs: dict[str, str]) -> None:
    ended = [server.wait(job_id, limit_s=300) for job_id in jobs.values()]
    assert [job["state"] for job in ended] == ["succeeded"] * len(jobs), [job["error"] for job in ended]
    for name in jobs:
        frames, duration_s = frames_and_duration(server.folder / f"{name}.mp4")
        assert (frames, round(duration_s)) == (SECONDS * 25, SECONDS)
    until(lambda: not server.part_files(), 10, lambda: f"left behind: {server.part_files()}")


def spot_machines(nodes: Nodes) -> list[psutil.Process]:
    """The first process of each, from whose environment the types are known."""
    found = []
    for process in psutil.Process(nodes.running[0].pid).children(recursive=True):
        try:
            if f"--address={nodes.address}" in process.cmdline() and "start" in process.cmdline():
                found += [process] * (process.environ().get("RAY_NODE_TYPE_NAME") == "spot")
        except psutil.Error:
            continue
    return found


def take_back(nodes: Nodes, limit_s: float = BUSY_LIMIT_S) -> None:
    """Kill a spot machine that has a chunk in hand."""

    def killed() -> bool:
        for machine in spot_machines(nodes):
            if at_work(machine.pid, "chunk-"):
                kill_tree(machine.pid)
                return True
        return False

    until(killed, limit_s, lambda: f"no machine works: {spot_machines(nodes)}")


def done_again(server: LiveServer, jobs: dict[str, str]) -> list[str]:
    return [unit for unit, _ in server.taken_back(jobs.values()) if unit.startswith("chunk-")]


def story(nodes: Nodes, watch: Watch) -> str:
    logs = [*nodes.folder.glob("session_2*/logs/monitor.*"), *nodes.folder.glob("machine-*.log")]
    return "\n".join([str(watch.seen()), *(f"{log}:\n{log.read_text(errors='replace')[-4000:]}" for log in logs)])


@pytest.mark.slow
def test_a_backlog_brings_machines_and_they_go_when_it_is_done(scaled, clip):
    server, nodes, watch = scaled
    jobs = {name: submit(server, clip, name) for name in (f"scaled-{number}" for number in range(JOBS))}
    until(lambda: watch.counts()[-1] == MOST, BUSY_LIMIT_S, lambda: story(nodes, watch) + server.story())
    top = watch.seen()[-1][1]
    check_all_whole(server, jobs)
    until(lambda: watch.counts()[-1] == 1, BUSY_LIMIT_S, lambda: story(nodes, watch))
    counts = watch.counts()
    peak = counts.index(MOST)
    assert counts[: peak + 1] == sorted(counts[: peak + 1])
    assert counts[peak:] == sorted(counts[peak:], reverse=True)
    assert (top, watch.seen()[-1][1]) == (["on_demand", "spot", "spot"], ["on_demand"])
    assert server.taken_back(jobs.values()) == []


@pytest.mark.slow
def test_a_machine_that_is_taken_back_costs_what_it_had_in_hand(scaled, clip):
    server, nodes, watch = scaled
    jobs = {name: submit(server, clip, name) for name in (f"spot-{number}" for number in range(JOBS))}

    def progress() -> float:
        return sum(server.job(job_id)["progress"] for job_id in jobs.values()) / JOBS

    until(lambda: watch.counts()[-1] == MOST, BUSY_LIMIT_S, lambda: story(nodes, watch) + server.story())
    kills = (0.2, 0.5)
    for share in kills:
        until(lambda share=share: progress() >= share, BUSY_LIMIT_S, server.story)
        take_back(nodes)
    check_all_whole(server, jobs)
    assert len(done_again(server, jobs)) <= len(kills)  # each has one CPU


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_machine_is_taken_back_each_minute(scaled, clip):
    server, nodes, _ = scaled
    began, minutes = time.monotonic(), 5
    jobs: dict[str, str] = {}
    for minute in range(1, minutes + 1):

        def minute_over(minute: int = minute) -> bool:
            open_jobs = [job_id for job_id in jobs.values() if server.job(job_id)["finished_at"] is None]
            if len(open_jobs) < JOBS:
                jobs[f"minute-{len(jobs)}"] = submit(server, clip, f"minute-{len(jobs)}")
            return time.monotonic() - began >= 60 * minute

        until(minute_over, 120, server.story)
        take_back(nodes)
    check_all_whole(server, jobs)
    assert len(done_again(server, jobs)) <= minutes
