"""The whole server: how long it takes to start, what it costs to idle, and many jobs at once."""

import time

import psutil

from tests.bench.figures import Figure
from tests.clips import make_clip
from tests.live_server import LiveServer, live_server, until

JOBS = 24
CANCELS = 5
IDLE_S = 20.0


def start_and_idle() -> list[Figure]:
    """A cold start (of this machine's file cache we can't speak), then a while of nothing."""
    with live_server() as server:
        started_s = server.started_in_s
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 5, 10, lambda: "")
        tree = [psutil.Process(server.process.pid), *server.tree()] if server.process else []
        before, at = _cpu_s(tree), time.monotonic()
        until(lambda: time.monotonic() > at + IDLE_S, IDLE_S + 5, lambda: "")
        cpu = (_cpu_s(tree) - before) / (time.monotonic() - at) * 100
        resident = sum(process.memory_full_info().pss for process in tree if process.is_running()) / 2**20
        count = len(tree)
    return [
        Figure("mediaray up until ready", started_s, "s", 12.0, "bar"),
        Figure("idle: memory of the whole tree", resident, "MiB", None, f"proportional set size of {count} processes"),
        Figure("idle: CPU of the whole tree", cpu, "% of a core", None, f"over {IDLE_S:.0f} s"),
    ]


def _cpu_s(tree: list[psutil.Process]) -> float:
    total = 0.0
    for process in tree:
        if process.is_running():
            times = process.cpu_times()
            total += times.user + times.system
    return total


def flood() -> list[Figure]:
    """24 transcodes at once, and a probe in between."""
    with live_server() as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=10)
        began = time.monotonic()
        ids = [
            server.submit("transcode", clip, profile="mobile-480p", output=str(server.folder / f"{n}.mp4"))["id"]
            for n in range(JOBS)
        ]
        until(lambda: len(server.find("child")) >= 2, 60, lambda: "nothing encodes")
        probes = [_probe_s(server, clip) for _ in range(10)]
        states = [server.wait(job_id, limit_s=600)["state"] for job_id in ids]
        took = time.monotonic() - began
    assert states == ["succeeded"] * JOBS, states
    return [
        Figure(f"{JOBS} transcodes at once, all succeeded", took, "s", None, "10 s of 640x360 each"),
        Figure("a probe meanwhile, the slowest of 10", max(probes), "s", 1.0, "bar; from the request to its end"),
    ]


def _probe_s(server: LiveServer, clip: object) -> float:
    began = time.monotonic()
    job = server.wait(server.submit("probe", str(clip))["id"])
    assert job["state"] == "succeeded"
    return time.monotonic() - began


def cancel() -> list[Figure]:
    """From the request until the job is terminal, while it encodes; nothing of it may stay."""
    took = []
    with live_server() as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=60)
        for number in range(CANCELS):
            target = server.folder / f"{number}.mp4"
            job_id = server.submit("transcode", clip, preset="veryslow", output=str(target))["id"]
            until(lambda: _encodes(server), 60, lambda: "nothing encodes")
            began = time.monotonic()
            server.post(f"/v1/jobs/{job_id}/cancel")
            assert server.wait(job_id)["state"] == "cancelled"
            took.append(time.monotonic() - began)
            assert not target.exists()
            assert not server.part_files()
            assert not _encodes(server)
    return [Figure(f"cancel of a running transcode, the slowest of {CANCELS}", max(took), "s", 2.0, "bar")]


def _encodes(server: LiveServer) -> bool:
    """Whether a media child of a heavy unit takes CPU time."""
    busy = False
    for child in server.find("child"):
        try:
            before = sum(child.cpu_times()[:2])
            child.wait(0.2)
        except psutil.TimeoutExpired:
            busy = busy or sum(child.cpu_times()[:2]) - before > 0.05
        except psutil.NoSuchProcess:
            continue
    return busy
