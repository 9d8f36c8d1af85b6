"""Twenty films at once, against the ffmpeg program started two at a time with one thread each."""

import datetime
import json
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import program
from tests.bench.figures import Figure
from tests.live_server import LiveServer, live_server, settled

_AAC = ("-c:a", "aac", "-b:a", "96k")
_COPY = ("-c:a", "copy")
# What is looped to a minute or more, how often, the frames of two seconds (between our keyframes), and what becomes of
# the sound: clips of different size, codec, motion.
CLIPS = {
    "vp8_vorbis_720p_30s_bbb.webm": (2, 48, _AAC),
    "h264_aac_768x432_30s_cars.mp4": (2, 25, _COPY),
    "h264_aac51_720p_bbb.mp4": (12, 50, (*_AAC, "-ac", "2")),
    "h264_first_pts_10s.mp4": (15, 60, _COPY),
    "h264_444_chapters.mkv": (12, 60, _COPY),
}
FILMS = 20
_LOOK_S = 1.0
PARAMS: dict[str, Any] = {"profile": "mobile-480p", "preset": "fast", "crf": 24}
# The same picture as ours: square pixels, 480 on the shorter side, never larger.
_SCALE = "scale='if(gt(dar,1),2*trunc(min(480,ih)*dar/2),min(480,iw))':'if(gt(dar,1),min(480,ih),-2)',setsar=1"
_SETTINGS = (
    *("-c:v", "libx264", "-preset", "fast", "-crf", "24", "-pix_fmt", "yuv420p", "-maxrate", "1200k"),
    *("-bufsize", "2400k", "-x264-params", "open-gop=0", "-vf", _SCALE, "-movflags", "+faststart"),
)


def films() -> list[Figure]:
    """Wall until all are done; the longest that a film stood still; the smallest share of the time that one had."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        sources = [settled(_film(Path(folder), number)) for number in range(FILMS)]
        # Before and after, since a machine's speed drifts by more than the bar in a quarter of an hour; and without our
        # server, which takes a part of the machine when it idles.
        before, works_s = _program(sources)
        with live_server(MEDIARAY_ROOTS=json.dumps([folder])) as server:
            ours, still_s, share, progress = _server(server, dict(zip(sources, works_s, strict=True)))
        after, _ = _program(sources)
    theirs = (before + after) / 2
    fair = "max-min, from a quarter to three quarters of all work; a film's work is the program's time for it"
    how = f"{FILMS} films, 480p, x264 fast, each a minute or more; the program took {before:.0f} and {after:.0f} s"
    return [
        Figure("20 films, against xargs -P2 of the program and decodes (bar 1.03)", ours, "s", theirs, how),
        Figure("the longest that a film stood still", still_s, "s", 60, "bar"),
        Figure(
            "the least share of time that a film had, by its fair one (bar 0.5, more is better)", share, "", 0.5, fair
        ),
        Figure(
            "the least progress of a film when half is done, by the mean", progress, "", 0.5, "long ones are slower"
        ),
    ]


def _film(folder: Path, number: int) -> Path:
    """A loop of a clip, of another length than every other."""
    clip, (times, *_) = list(CLIPS.items())[number % len(CLIPS)]
    return program.loop(clip, folder / f"film-{number}.mkv", times + number // len(CLIPS))


def _program(sources: list[Path]) -> tuple[float, list[float]]:
    """Seconds of all, and of each film."""
    scripts = []
    for number, source in enumerate(sources):
        _, keyframes, sound = list(CLIPS.values())[number % len(CLIPS)]
        target = f"{source}.mp4"
        encode = [*program.FFMPEG, "-threads", "1", "-i", str(source), *_SETTINGS, "-g", str(keyframes)]
        encode += [*sound, "-threads", "1", target]
        decode = [*program.FFMPEG, "-threads", "1", "-i", target, "-f", "null", "-"]
        times = shlex.quote(f"{source}.times")
        scripts.append(f"date +%s.%N >{times} && {shlex.join(encode)} && {shlex.join(decode)} && date +%s.%N >>{times}")
    began = time.monotonic()
    subprocess.run(["xargs", "-0", "-P2", "-I{}", "sh", "-c", "{}"], input="\0".join(scripts).encode(), check=True)
    took_s = time.monotonic() - began
    times = [[float(line) for line in Path(f"{source}.times").read_text().split()] for source in sources]
    return took_s, [ended_at - began_at for began_at, ended_at in times]


def _server(server: LiveServer, sources: dict[Path, float]) -> tuple[float, float, float, float]:
    """``sources``: with the seconds of work that each is."""
    began_at, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    ended_at = began_at
    works_s = {
        server.submit("transcode", source, output=str(server.folder / f"{source.stem}.mp4"), **PARAMS)["id"]: work_s
        for source, work_s in sources.items()
    }
    progress = dict.fromkeys(works_s, 0.0)
    moved = dict.fromkeys(works_s, began)
    still_s, share, least, left = 0.0, 1.0, None, set(works_s)
    while left:
        time.sleep(_LOOK_S)
        now = time.monotonic()
        for job in server.get(f"/v1/jobs?limit={FILMS}").json()["jobs"]:
            job_id = job["id"]
            assert job["state"] not in {"failed", "cancelled"}, job
            if job_id in left and job["progress"] > progress[job_id]:
                still_s = max(still_s, now - moved[job_id])
                progress[job_id], moved[job_id] = job["progress"], now
            if job["state"] == "succeeded":
                left.discard(job_id)
                ended_at = max(ended_at, datetime.datetime.fromisoformat(job["finished_at"]))
        had_s = {job_id: progress[job_id] * work_s for job_id, work_s in works_s.items()}
        if 0.25 <= sum(had_s.values()) / sum(works_s.values()) <= 0.75:
            fair_s = _fair(works_s, sum(had_s.values()))
            share = min(share, *(had_s[job_id] / fair_s[job_id] for job_id in works_s))
        mean = sum(progress.values()) / len(progress)
        if least is None and mean >= 0.5:
            least = min(progress.values()) / mean
    return (ended_at - began_at).total_seconds(), still_s, share, least or 0.0


def _fair(works_s: dict[str, float], served_s: float) -> dict[str, float]:
    """Max-min fair shares of what was served: as much for each as for every other, but for none more than it is."""
    fair_s: dict[str, float] = {}
    for job_id in sorted(works_s, key=lambda each: works_s[each]):
        left = len(works_s) - len(fair_s)
        fair_s[job_id] = min(works_s[job_id], (served_s - sum(fair_s.values())) / left)
    return fair_s
