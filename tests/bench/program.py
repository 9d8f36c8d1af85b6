"""The ffmpeg program, the peer: with settings of ours, its output decoded or measured."""

import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media" / "video"
FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y"]
X264 = (
    *("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-pix_fmt", "yuv420p", "-maxrate", "4M", "-bufsize", "8M"),
    *("-g", "96", "-x264-params", "open-gop=0", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"),
)
X265 = (
    *("-c:v", "libx265", "-preset", "medium", "-crf", "23", "-pix_fmt", "yuv420p", "-g", "120"),
    *("-x265-params", "open-gop=0:log-level=error", "-c:a", "copy"),
)
SVT_AV1 = (
    *("-c:v", "libsvtav1", "-preset", "8", "-crf", "30", "-pix_fmt", "yuv420p", "-maxrate", "5M", "-bufsize", "10M"),
    *("-g", "120", "-c:a", "libopus", "-b:a", "128k"),
)
LONG_GOP_FILM = "10 min of 720p, a keyframe every 10 s"
LONG_FILM_S, LONG_GOP_S, LONG_RATE = 600, 10, 24


def loop(clip: str, target: Path, times: int) -> Path:
    """A clip of the shared media, ``times`` in a row, not encoded again."""
    subprocess.run(
        [
            *FFMPEG,
            "-stream_loop",
            str(times - 1),
            "-i",
            MEDIA / clip,
            "-map",
            "0:v",
            "-map",
            "0:a?",
            "-c",
            "copy",
            target,
        ],
        check=True,
    )
    return target


def long_gop_film(folder: Path) -> Path:
    """``LONG_GOP_FILM``: a clip encoded with long GOPs, then its packets again and again."""
    clip, film = folder / "clip.mp4", folder / "film.mp4"
    gop = str(LONG_GOP_S * LONG_RATE)
    settings = ("-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", gop, "-sc_threshold", "0")
    encode(MEDIA / "vp8_vorbis_720p_30s_bbb.webm", clip, settings)
    return loop(str(clip), film, LONG_FILM_S // 30)


def encode(source: Path, target: Path, settings: Sequence[str]) -> float:
    """Seconds it takes."""
    return _timed([*FFMPEG, "-i", source, *settings, target])


def slowed_beside(source: Path, count: int) -> float:
    """By what factor an encode on one thread takes longer where ``count`` run: caches and memory are shared."""
    return _side_by_side(source, count) / _side_by_side(source, 1)


def _side_by_side(source: Path, count: int) -> float:
    encode = (*FFMPEG, "-threads", "1", "-i", source, "-filter_threads", "1", *X264, "-threads", "1", "-f", "null", "-")
    began = time.monotonic()
    running = [subprocess.Popen(encode) for _ in range(count)]
    assert all(process.wait() == 0 for process in running)
    return time.monotonic() - began


def decode(source: Path) -> float:
    return _timed([*FFMPEG, "-i", source, "-f", "null", "-"])


def vmaf(reference: Path, distorted: Path, folder: Path) -> list[float]:
    """VMAF of each frame (vmaf_v0.6.1). Frames are paired by number: the program rounds their times, we don't."""
    log = folder / "vmaf.json"
    graph = (
        "[0:v]settb=1/25,setpts=N,format=yuv420p[d];[1:v]settb=1/25,setpts=N,format=yuv420p[r];"
        "[d][r]libvmaf=n_threads=2:log_fmt=json:log_path=vmaf.json"
    )
    subprocess.run(
        [*FFMPEG, "-i", distorted, "-i", reference, "-lavfi", graph, "-fps_mode", "passthrough", "-f", "null", "-"],
        check=True,
        cwd=folder,
    )
    return [float(frame["metrics"]["vmaf"]) for frame in json.loads(log.read_text())["frames"]]


def scene_cuts(source: Path) -> list[int]:
    """The frames that a new scene begins with."""
    graph = "scdet=threshold=10,metadata=print:key=lavfi.scd.time:file=-"
    told = subprocess.run([*FFMPEG, "-i", source, "-vf", graph, "-f", "null", "-"], check=True, capture_output=True)
    return [int(number) for number in re.findall(r"^frame:(\d+)", told.stdout.decode(), re.MULTILINE)]


def _timed(command: Sequence[str | Path]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - began
