"""A transcode through the running server against the ffmpeg program with the same x264 settings."""

import json
import subprocess
import time
import tomllib
from pathlib import Path

import imageio_ffmpeg

from tests.bench.figures import Figure, median
from tests.live_server import LiveServer, live_server

SOURCE = Path(__file__).resolve().parents[3] / "shared" / "media" / "video" / "vp8_vorbis_720p_30s_bbb.webm"
PROFILE = Path(__file__).resolve().parents[2] / "configs" / "profiles" / "web-720p.toml"
ROUNDS = 3
LOOPS = 1
_FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y"]


def transcode() -> list[Figure]:
    """Wall time in turns; the server is warm and idle."""
    if not SOURCE.is_file():
        return []
    ours, theirs = [], []
    with live_server() as server:
        clip = server.folder / "looped.webm"
        subprocess.run([*_FFMPEG, "-stream_loop", str(LOOPS), "-i", SOURCE, "-c", "copy", clip], check=True)
        for number in range(ROUNDS):
            theirs.append(_program(clip, server.folder / f"program-{number}.mp4"))
            ours.append(_server(server, clip, server.folder / f"server-{number}.mp4"))
    return [
        Figure(
            "transcode 60 s of 720p, web-720p", median(ours), "s", median(theirs), f"ffmpeg program, {ROUNDS} rounds"
        ),
        Figure("the same, bar", median(ours) / median(theirs), "×", 1.10, "server wall / program wall"),
    ]


def _server(server: LiveServer, clip: Path, target: Path) -> float:
    began = time.monotonic()
    job = server.submit("transcode", clip, profile="web-720p", output=str(target))
    with server.events(job["id"]) as socket:  # as a client watches it: polling would take CPU from the encoder
        last = [json.loads(text) for text in socket][-1]
    assert last["state"] == "succeeded", last
    return time.monotonic() - began


def _program(clip: Path, target: Path) -> float:
    video = tomllib.loads(PROFILE.read_text())["video"]
    rate = 24
    settings = [
        *("-c:v", "libx264", "-preset", video["preset"], "-crf", str(video["crf"]), "-pix_fmt", "yuv420p"),
        *("-maxrate", video["max_bitrate"], "-bufsize", "8M", "-g", str(round(rate * video["keyframe_s"]))),
        *("-x264-params", "open-gop=0", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"),
    ]
    began = time.monotonic()
    subprocess.run([*_FFMPEG, "-i", clip, *settings, target], check=True)
    return time.monotonic() - began
