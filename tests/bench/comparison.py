"""A comparison through the running server, against one run of libvmaf in the ffmpeg program, as people start it."""

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from pipelines.media.comparison.compare_spec import CompareSpec
from pipelines.media.comparison.planning import plan_comparison
from pipelines.media.comparison.score import score_piece
from tests.bench import program
from tests.bench.figures import Figure, median
from tests.live_server import LiveServer, live_server, settled

CLIP = "vp8_vorbis_720p_30s_bbb.webm"
TIMES = 4
ROUNDS = 2


def compare() -> list[Figure]:
    """Wall of all four metrics, what the scores differ by, and the memory of a piece."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder:
        reference = settled(program.loop(CLIP, Path(folder, "reference.mkv"), TIMES))
        distorted = Path(folder, "distorted.mp4")
        program.encode(reference, distorted, program.X264)
        settled(distorted)
        # Around ours and without our server, which takes a part of the machine when it idles.
        theirs = [_libvmaf_s(distorted, reference)]
        roots = json.dumps([folder])
        with live_server(MEDIARAY_ROOTS=roots, MEDIARAY_OUTPUT_ROOTS=roots) as server:
            _compare_s(server, distorted, reference, Path(folder, "warm"), metrics=["psnr"])  # starts all there is
            ours = [_compare_s(server, distorted, reference, Path(folder, f"ours-{n}")) for n in range(ROUNDS)]
            alone = _compare_s(server, distorted, reference, Path(folder, "alone"), metrics=["vmaf"])
        theirs.append(_libvmaf_s(distorted, reference))
        scores = _scores(Path(folder, "ours-0", "frames.csv"))
        expected = program.vmaf(reference, distorted, Path(folder))
        peak_mib, told_mib = _memory_mib(distorted, reference, Path(folder))
    how = f"{30 * TIMES} s of 720p; the program took {' and '.join(f'{each:.1f}' for each in theirs)} s, around ours"
    apart = max(abs(one - other) for one, other in zip(scores, expected, strict=True))
    return [
        Figure("compare, against one run of libvmaf (bar 0.70)", median(ours), "s", median(theirs), how),
        Figure("the same, VMAF alone", alone, "s", median(theirs)),
        Figure("VMAF of all frames (bar ± 0.01)", mean(scores), "", mean(expected), "frames paired by their number"),
        Figure("the frame whose VMAF differs most", apart, "", None, f"of {len(scores)}"),
        Figure("peak memory of a piece, of both processes, against what it claims", peak_mib, "MiB", told_mib),
    ]


def _libvmaf_s(distorted: Path, reference: Path) -> float:
    began = time.monotonic()
    command = [*program.FFMPEG, "-i", distorted, "-i", reference, "-lavfi", "libvmaf", "-f", "null", "-"]
    subprocess.run(command, check=True)
    return time.monotonic() - began


def _compare_s(server: LiveServer, distorted: Path, reference: Path, output: Path, **params: object) -> float:
    began = time.monotonic()
    sources = [str(distorted), str(reference)]
    params = {"output": str(output), "fresh": True, **params}
    job = server.post("/v1/jobs", {"operation": "compare", "sources": sources, "params": params}).json()
    with server.events(job["id"]) as socket:  # as a client watches it: polling would take CPU
        for _ in socket:
            pass
    took_s = time.monotonic() - began
    done = server.job(job["id"])
    assert done["state"] == "succeeded", done
    return took_s


def _scores(frames: Path) -> list[float]:
    with frames.open() as lines:
        return [float(row["vmaf"]) for row in csv.DictReader(lines)]


def _memory_mib(distorted: Path, reference: Path, folder: Path) -> tuple[float, float]:
    """The peak of a process that measures one piece and of the program beside it, and what the plan claims for both."""
    command = [sys.executable, "-m", "tests.bench.comparison", distorted, reference, folder]
    peak, told = subprocess.run(command, check=True, capture_output=True).stdout.split()
    return int(peak) / 2**20, int(told) / 2**20


def _measure_piece(distorted: Path, reference: Path, folder: Path) -> None:
    plan = plan_comparison(distorted, reference, CompareSpec(), slots=8)
    score_piece(distorted, reference, folder, plan, plan.pieces[0], lambda _: None)
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(peak * 1024, plan.memory_bytes)


if __name__ == "__main__":
    _measure_piece(*map(Path, sys.argv[1:]))
