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
    """Wall until all are done; the longest that a film stood still; the smallest share of one at half-time."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        sources = [settled(_film(Path(folder), number)) for number in range(FILMS)]
        # Before and after, since a machine's speed drifts by more than the bar in a quarter of an hour; and without our
        # server, which takes a part of the machine when it idles.
        before = _program(sources)
        with live_server(MEDIARAY_ROOTS=json.dumps([folder])) as server:
            ours, still_s, share = _server(server, sources)
        after = _program(sources)
    theirs = (before + after) / 2
    how = f"{FILMS} films, 480p, x264 fast, each a minute or more; the program took {before:.0f} and {after:.0f} s"
    return [
        Figure("20 films, against xargs -P2 of the program and decodes (bar 1.03)", ours, "s", theirs, how),
        Figure("the longest that a film stood still", still_s, "s", 60, "bar"),
        Figure("the least progress of a film when half is done, by the mean (bar 0.5, more is better)", share, "", 0.5),
    ]


def _film(folder: Path, number: int) -> Path:
    """A loop of a clip, of another length than every other."""
    clip, (times, *_) = list(CLIPS.items())[number % len(CLIPS)]
    return program.loop(clip, folder / f"film-{number}.mkv", times + number // len(CLIPS))


def _program(sources: list[Path]) -> float:
    scripts = []
    for number, source in enumerate(sources):
        _, keyframes, sound = list(CLIPS.values())[number % len(CLIPS)]
        target = f"{source}.mp4"
        encode = [*program.FFMPEG, "-threads", "1", "-i", str(source), *_SETTINGS, "-g", str(keyframes)]
        encode += [*sound, "-threads", "1", target]
        decode = [*program.FFMPEG, "-threads", "1", "-i", target, "-f", "null", "-"]
        scripts.append(f"{shlex.join(encode)} && {shlex.join(decode)}")
    began = time.monotonic()
    subprocess.run(["xargs", "-0", "-P2", "-I{}", "sh", "-c", "{}"], input="\0".join(scripts).encode(), check=True)
    return time.monotonic() - began


def _server(server: LiveServer, sources: list[Path]) -> tuple[float, float, float]:
    began_at, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    ended_at = began_at
    ids = {
        server.submit("transcode", source, output=str(server.folder / f"{source.stem}.mp4"), **PARAMS)["id"]
        for source in sources
    }
    progress = dict.fromkeys(ids, 0.0)
    moved = dict.fromkeys(ids, began)
    still_s, share, left = 0.0, None, set(ids)
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
        mean = sum(progress.values()) / len(progress)
        if share is None and mean >= 0.5:
            share = min(progress.values()) / mean
    return (ended_at - began_at).total_seconds(), still_s, share or 0.0
