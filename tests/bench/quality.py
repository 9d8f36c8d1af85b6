"""The score without an original against VMAF, over ladders of encodes of one film; and how fast a film is scored."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from pipelines.media.probing.probe import probe
from pipelines.media.quality.quality import quality_of
from pipelines.media.quality.quality_spec import QualitySpec
from tests.bench import program
from tests.bench.figures import Figure

_FRAMES = 48
_HEIGHTS = (1080, 720, 480, 360, 240)
_VMAF_EACH = 3  # frames


@dataclass(frozen=True)
class Film:
    """A stretch of a clip of the shared media. ``fitted``: the curve was fitted on it, among others."""

    clip: str
    begin_s: float
    fitted: bool = False


@dataclass(frozen=True)
class Ladder:
    """How a codec encodes a ladder, and the qualities that it has."""

    settings: tuple[str, ...]
    qualities: tuple[int, ...]
    extension: str


FILMS = {
    "night": Film("h264_pcm_1080p50.mov", 0.2, fitted=True),
    "slides": Film("mpeg2_mp2_1080p.ts", 0.2, fitted=True),
    "valley": Film("av1_10bit_hdr10_1080p60.mp4", 0.1, fitted=True),
    "bunny": Film("h264_aac51_720p_bbb.mp4", 1.0, fitted=True),
    "cars": Film("h264_aac_768x432_30s_cars.mp4", 8.0, fitted=True),
    "flowers": Film("vp8_vorbis_720p_30s_bbb.webm", 12.5),
    "bird": Film("vp8_vorbis_720p_30s_bbb.webm", 18.0),
    "phone": Film("h264_aac_vfr_rotated180.mp4", 0.0),
    "geese": Film("mpeg4_mp3_960x400.avi", 1.6),
    "late": Film("h264_first_pts_10s.mp4", 0.0),
}
_H264 = Ladder(("-c:v", "libx264", "-preset", "veryfast", "-crf"), (18, 23, 28, 33, 38, 43, 48), "mp4")
_OTHERS = {
    "HEVC": Ladder(
        ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=error", "-crf"),
        (18, 26, 34, 42, 48),
        "mkv",
    ),
    "AV1": Ladder(("-c:v", "libsvtav1", "-preset", "10", "-crf"), (20, 32, 44, 54, 63), "mkv"),
    "VP9": Ladder(
        ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-b:v", "0", "-crf"),
        (15, 28, 40, 52, 62),
        "webm",
    ),
}
_FILMS_OF_OTHERS = ("valley", "bunny", "cars", "phone")
_LOOPS = 30
_LEAST_SPEED = 10.0


def quality() -> list[Figure]:
    """Spearman's correlation within each film and over all films together."""
    if not program.MEDIA.is_dir():
        return []
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        references = {film: reference_of(FILMS[film], folder / f"{film}.mkv") for film in FILMS}
        figures += _of_ladder("H.264", _H264, references, folder)
        for codec, ladder in _OTHERS.items():
            chosen = {film: references[film] for film in _FILMS_OF_OTHERS}
            figures += _of_ladder(codec, ladder, chosen, folder)
        figures.append(_speed(folder))
    return figures


def _of_ladder(codec: str, ladder: Ladder, references: dict[str, Path], folder: Path) -> list[Figure]:
    scored = {film: _ladder(reference, ladder, folder) for film, reference in references.items()}
    within = {film: _spearman(*zip(*pairs, strict=True)) for film, pairs in scored.items()}
    all_pairs = [pair for pairs in scored.values() for pair in pairs]
    worst = min(within, key=lambda film: within[film])
    new = [value for film, value in within.items() if not FILMS[film].fitted]
    how = ", ".join(f"{film} {value:.3f}" for film, value in within.items())
    bar = 0.9 if codec == "H.264" else None
    return [
        Figure(f"score by VMAF, {codec}: the least of {len(within)} films ({worst})", within[worst], "", bar, how),
        Figure("the same, mean of the films", mean(within.values()), ""),
        Figure("the same, least of the films that its curve was not fitted on", min(new), ""),
        Figure("the same, all films pooled", _spearman(*zip(*all_pairs, strict=True)), "", None, "no bar"),
    ]


def _ladder(reference: Path, ladder: Ladder, folder: Path) -> list[tuple[float, float]]:
    """Score and VMAF of each encode, which goes when it's measured."""
    video = probe(reference).video
    assert video is not None
    heights = [height for height in _HEIGHTS if height <= video.height]
    pairs = []
    for height in heights if heights[0] == video.height else [video.height, *heights]:
        width = round(video.width * height / video.height / 2) * 2
        for crf in ladder.qualities:
            encode = folder / f"encode.{ladder.extension}"
            size = ("-vf", f"scale={width}:{height}:flags=bicubic", "-fps_mode", "passthrough")
            run("-i", reference, *size, *ladder.settings, str(crf), "-pix_fmt", "yuv420p", encode)
            score = quality_of(encode, QualitySpec(), 1, lambda _: None).score
            assert score is not None
            pairs.append((score, _vmaf(reference, encode, video.width, video.height, folder)))
    return pairs


def reference_of(film: Film, target: Path) -> Path:
    """Frames of a clip, without loss, of an even size, with 8 bits."""
    even = ("-vf", "scale=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough")
    source = ("-noautorotate", "-ss", str(film.begin_s), "-i", program.MEDIA / film.clip, "-map", "0:v:0")
    run(*source, *even, "-frames:v", str(_FRAMES), "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", target)
    return target


def _vmaf(reference: Path, distorted: Path, width: int, height: int, folder: Path) -> float:
    log = folder / "vmaf.json"
    graph = (
        f"[0:v]settb=1/25,setpts=N,scale={width}:{height}:flags=bicubic[d];[1:v]settb=1/25,setpts=N[r];"
        f"[d][r]libvmaf=n_threads=2:n_subsample={_VMAF_EACH}:log_fmt=json:log_path={log.name}"
    )
    run("-i", distorted, "-i", reference, "-lavfi", graph, "-f", "null", "-", cwd=folder)
    return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


def run(*arguments: str | Path, cwd: Path | None = None) -> None:
    subprocess.run([*program.FFMPEG, *arguments], check=True, cwd=cwd, stderr=subprocess.DEVNULL)


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Those that are alike share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _speed(folder: Path) -> Figure:
    film = program.loop("h264_pcm_1080p50.mov", folder / "film.mov", _LOOPS)
    length_s = probe(film).duration_s or 0.0
    times_s = []
    for _ in range(2):  # once for what is loaded and compiled only once
        began = time.monotonic()
        quality_of(film, QualitySpec(), 1, lambda _: None)
        times_s.append(time.monotonic() - began)
    took_s = times_s[-1]
    how = f"{length_s:.0f} s of 1080p at 50 a second in {took_s:.1f} s, on one thread (more is better)"
    return Figure("windows of 1080p, speed by real time", length_s / took_s, "", _LEAST_SPEED, how)
