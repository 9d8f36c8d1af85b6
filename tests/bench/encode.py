"""A transcode through the running server against the ffmpeg program with the same settings, in turns."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tests.bench import program
from tests.bench.figures import Figure, median, percentile
from tests.live_server import LiveServer, live_server, settled

CLIP = "vp8_vorbis_720p_30s_bbb.webm"
SEAM_CLIPS = {CLIP: 2, "h264_aac_768x432_30s_cars.mp4": 3, "h264_aac51_720p_bbb.mp4": 6}
ROUNDS = 4  # even: the program runs half of them before ours, half after
X264: dict[str, Any] = {"profile": "web-720p", "crf": 23}
X265: dict[str, Any] = {"profile": "archive-hevc", "crf": 23}
SVT_AV1: dict[str, Any] = {"profile": "av1-1080p", "crf": 30}


def transcode() -> list[Figure]:
    """x264: wall, size and VMAF; the server is warm and idle, and verifies what it made."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        clip = settled(program.loop(CLIP, Path(folder, "looped.webm"), 2))
        ours, theirs, decodes = _compared(clip, X264, program.X264, "mp4")
        files = [Path(folder, f"{who}-0.mp4") for who in ("ours", "program")]
        scores = [mean(program.vmaf(clip, file, Path(folder))) for file in files]
        sizes = [float(file.stat().st_size) for file in files]
    wall, alone, both = median(ours), median(theirs), median([a + b for a, b in zip(theirs, decodes, strict=True)])
    how = f"60 s of 720p, x264 medium CRF 23; the program ran {len(theirs)} times, around ours"
    return [
        Figure("transcode, against the program and a decode of its output (bar 0.95)", wall, "s", both, how),
        Figure("transcode, against the program alone (bar 1.00)", wall, "s", alone, how),
        Figure("size of the output (bar ± 3 %)", sizes[0], "bytes", sizes[1], how),
        Figure("VMAF of the output (bar ± 0.3)", scores[0], "", scores[1], "mean over all frames"),
    ]


def codecs() -> list[Figure]:
    """SVT-AV1 and x265."""
    if not program.MEDIA.is_dir():
        return []
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        clip = settled(program.loop(CLIP, Path(folder, "looped.webm"), 2))
        for name, params, settings, suffix in (
            ("SVT-AV1 preset 8", SVT_AV1, program.SVT_AV1, "mp4"),
            ("x265 medium", X265, program.X265, "mkv"),
        ):
            ours, theirs, _ = _compared(clip, params, settings, suffix)
            sizes = [Path(folder, f"{who}-0.{suffix}").stat().st_size for who in ("ours", "program")]
            how = f"60 s of 720p; size {sizes[0] / sizes[1]:.3f} ×"
            figures.append(
                Figure(f"transcode with {name}, against the program (bar 1.05)", median(ours), "s", median(theirs), how)
            )
    return figures


def seams() -> list[Figure]:
    """How much VMAF steps at the borders of chunks, beyond what the one-pass encode does at the same frame."""
    if not program.MEDIA.is_dir():
        return []
    steps, count = [], 0
    with live_server() as server:
        for clip, times in SEAM_CLIPS.items():
            source = settled(program.loop(clip, server.folder / clip, times))
            borders, found = _steps(server, source)
            count += len(borders)
            steps += found
    how = f"VMAF, at the {len(steps)} of {count} borders where no scene begins"
    return [
        Figure("step of quality at a border, p95 (bar 1)", percentile(steps, 95), "", 1, how),
        Figure("the same, median", median(steps), "", None, how),
        Figure("the same, worst", max(steps), "", None, how),
    ]


def _steps(server: LiveServer, source: Path) -> tuple[list[int], list[float]]:
    """The borders of a film, and the steps at those that aren't scene cuts."""
    targets = [source.with_suffix(f".{name}.mp4") for name in ("chunks", "serial")]
    job = _job(server, source, targets[0], X264)
    _job(server, source, targets[1], {**X264, "chunk_s": 3600})
    chunked, serial = (program.vmaf(source, target, server.folder) for target in targets)
    cuts = program.scene_cuts(source)
    borders = job["result"]["seams"]["frames"]
    return borders, [
        abs(chunked[frame] - chunked[frame - 1]) - abs(serial[frame] - serial[frame - 1])
        for frame in borders
        if not any(abs(frame - each) <= 1 for each in cuts)
    ]


def _compared(
    clip: Path, params: Mapping[str, Any], settings: Sequence[str], suffix: str
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of ours, of the program, and of a decode of its output; the files lie beside ``clip``.

    The program runs before and after, without our server: an idle one takes a part of the machine.
    """
    ours, theirs, decodes = [], [], []

    def run_program() -> None:
        for _ in range(ROUNDS // 2):
            peer = clip.with_name(f"program-{len(theirs)}.{suffix}")
            theirs.append(program.encode(clip, peer, settings))
            decodes.append(program.decode(peer))

    run_program()
    roots = json.dumps([str(clip.parent)])
    with live_server(MEDIARAY_ROOTS=roots, MEDIARAY_OUTPUT_ROOTS=roots) as server:
        for number in range(ROUNDS):
            began = time.monotonic()
            _job(server, clip, clip.with_name(f"ours-{number}.{suffix}"), {**params, "fresh": True})
            ours.append(time.monotonic() - began)
    run_program()
    return ours, theirs, decodes


def _job(server: LiveServer, clip: Path, target: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    job = server.submit("transcode", clip, output=str(target), **params)
    with server.events(job["id"]) as socket:  # as a client watches it: polling would take CPU from the encoder
        for _ in socket:
            pass
    done = server.job(job["id"])
    assert done["state"] == "succeeded", done
    return done
