"""Chunks: how well the time left is foretold, what memory one takes, and what a model of more slots says."""

import contextlib
import heapq
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.bench import program
from tests.bench.encode import CLIP, X264
from tests.bench.figures import Figure
from tests.live_server import LiveServer, live_server, settled

LARGE_CLIP = "h264_aac_1080p_363s_lowbitrate.mp4"
_FILM_MINUTES = 90
_TWO_MINUTES = {"medium": 9, "veryslow": 2}  # presets, and how often the clip is looped to take that long on two cores


def eta() -> list[Figure]:
    """The estimate at half-way of jobs of about two minutes, against what they then took."""
    return [_eta(preset, times) for preset, times in _TWO_MINUTES.items()] if program.MEDIA.is_dir() else []


def _eta(preset: str, times: int) -> Figure:
    with live_server() as server:
        clip = settled(program.loop(CLIP, server.folder / "looped.webm", times))
        job = server.submit("transcode", clip, output=str(server.folder / "out.mp4"), **{**X264, "preset": preset})
        told = []
        with server.events(job["id"]) as socket:
            for text in socket:
                event = json.loads(text)
                told.append((time.monotonic(), event))
    end = told[-1][0]
    began = next(at for at, event in told if event["state"] == "running")
    half = (began + end) / 2
    at, event = min((each for each in told if each[1]["eta_s"] is not None), key=lambda each: abs(each[0] - half))
    how = f"of {end - began:.0f} s"
    return Figure(f"ETA at half-way, x264 {preset} (bar ± 20 %)", event["eta_s"], "s", round(end - at, 1), how)


def memory() -> list[Figure]:
    """The peak of a process that encodes a chunk of 1080p, against the program's with one thread."""
    if not program.MEDIA.is_dir():
        return []
    source = program.MEDIA / LARGE_CLIP
    ours = _peak_mib([sys.executable, "-m", "tests.bench.chunks", str(source)])
    scale = ("-t", "4", "-threads", "1", "-i", source, "-filter_threads", "1", "-threads", "1")
    theirs = _peak_mib([*program.FFMPEG, *map(str, scale), *program.X264, "-an", "/dev/shm/mediaray-bench.mp4"])
    Path("/dev/shm/mediaray-bench.mp4").unlink()
    return [Figure("peak memory of a 1080p chunk, x264 medium (bar 1.3)", ours, "MiB", theirs, "one thread each")]


def _peak_mib(command: Sequence[str]) -> float:
    """In a process of its own, whose only child it is."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    told = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True)
    return int(told.stdout.split()[-1]) / 1024


def slots() -> list[Figure]:
    """The walls on one and on two CPUs against a model; and what the model says of more.

    The model: each unit takes what it took on one slot and a constant between two, the longest is started first. Beside
    others a unit takes as much longer as the program does beside itself; and where slots and the server's own work want
    more CPUs than there are, all take longer by as much.
    """
    if not program.MEDIA.is_dir():
        return []
    walls, units, busy = {}, {}, {}
    for cpus in (1, 2):
        with live_server(MEDIARAY_CPUS=str(cpus)) as server:
            clip = settled(program.loop(CLIP, server.folder / "looped.webm", 2))
            _wall(server, clip)  # everything is warm after it
            before_s = _own_cpu_s(server)
            walls[cpus], result = _wall(server, clip)
            busy[cpus] = (_own_cpu_s(server) - before_s) / walls[cpus]
            units[cpus] = result["unit_s"]
    overhead_s = (walls[1] - sum(units[1])) / (len(units[1]) + 1)
    figures = []
    for cpus in (1, 2):
        beside = program.slowed_beside(program.MEDIA / CLIP, cpus) if cpus > 1 else 1.0
        stretch = max(1.0, (cpus + busy[1]) / (os.cpu_count() or 1))
        predicted_s = stretch * (makespan([beside * each + overhead_s for each in units[1]], cpus) + overhead_s)
        between = f"{len(units[1])} units, {overhead_s * 1000:.0f} ms between them"
        how = f"{between}, {busy[1]:.2f} CPUs for the server, {beside:.2f} times as long beside others"
        figures.append(
            Figure(f"wall on {cpus} CPU(s), against the model (± 10 %)", walls[cpus], "s", round(predicted_s, 2), how)
        )
    long_film = [each + overhead_s for each in units[1]] * _FILM_MINUTES
    for cpus in (8, 64):
        wall = makespan(long_film, cpus) + overhead_s
        efficiency = sum(units[1]) * _FILM_MINUTES / cpus / wall
        how = f"a film of {_FILM_MINUTES} minutes"
        figures.append(Figure(f"the model's efficiency at {cpus} slots", efficiency, "", None, how))
    return figures


def makespan(units: Sequence[float], slots: int) -> float:
    """When the last of ``units`` ends if the longest is always started first on the slot that is free first."""
    free = [0.0] * slots
    for each in sorted(units, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def _own_cpu_s(server: LiveServer) -> float:
    """CPU time of everything but the children that encode."""
    encoders = {process.pid for process in server.find("child")}
    total = 0.0
    for process in server.tree():
        with contextlib.suppress(psutil.Error):
            if process.pid not in encoders:
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _wall(server: LiveServer, clip: Path) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    job = server.submit("transcode", clip, output=str(server.folder / "out.mp4"), overwrite=True, **X264)
    with server.events(job["id"]) as socket:
        for _ in socket:
            pass
    wall = time.monotonic() - began
    result: dict[str, Any] = server.job(job["id"])["result"]
    return wall, result


def _encode_one(source: Path) -> None:
    from pipelines.media.chunk import encode_chunk
    from pipelines.media.plan import Cutting
    from pipelines.media.preflight import preflight
    from pipelines.media.profiles import TranscodeParams, load_profiles, merge

    profiles = load_profiles(Path(__file__).resolve().parents[2] / "configs" / "profiles")
    settings = merge(profiles["web-1080p"], TranscodeParams(crf=23, preset="medium"))
    plan = preflight(source, settings, Cutting(slots=2, chunk_s=4))
    target = Path("/dev/shm/mediaray-bench.nut")
    encode_chunk(source, target, plan, plan.chunks[0], lambda _: None)
    target.unlink()


if __name__ == "__main__":
    _encode_one(Path(sys.argv[1]))
