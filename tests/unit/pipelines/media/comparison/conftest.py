"""Films to compare, and what comparing them comes to."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import (
    SCORES_FILE,
    CompareResult,
    CompareSpec,
    ComparisonPlan,
    ScoredPiece,
)
from pipelines.media.comparison.finish import finish_comparison
from pipelines.media.comparison.planning import plan_comparison
from pipelines.media.comparison.score import score_piece
from pipelines.media.comparison.table import Table, read_tables

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
COARSE = {"crf": "38", "preset": "veryfast"}  # visibly worse than what it was made of


@dataclass(frozen=True)
class Compared:
    plan: ComparisonPlan
    result: CompareResult
    table: Table
    folder: Path


Compare = Callable[..., Compared]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare a film with its reference."""
    count = 0

    def run(distorted: Path, reference: Path, **spec: object) -> Compared:
        nonlocal count
        count += 1
        wanted = CompareSpec.model_validate(spec)
        folder = tmp_path / f"compared-{count}"
        folder.mkdir()
        plan = plan_comparison(distorted, reference, wanted, 1)
        scored = []
        for piece in plan.pieces:
            own = folder / str(piece.number)
            own.mkdir()
            scores = score_piece(distorted, reference, own, plan, piece, lambda _: None)
            scored.append(ScoredPiece(table=own / SCORES_FILE, pairs=piece.pairs, scores=scores))
        result = finish_comparison(distorted, reference, folder, plan, tuple(scored), wanted, lambda _: None)
        return Compared(plan, result, read_tables([piece.table for piece in scored]), folder)

    return run


def scenes(frames: int, first: int = 0) -> list[NDArray[np.uint8]]:
    """A pattern of blocks under noise that wanders three pixels a frame, another every 20 frames. Frame ``i`` is as it
    is wherever it comes.
    """
    blocks = np.random.default_rng(11).integers(30, 220, (100, 16, 64))
    noise = np.random.default_rng(3).integers(0, 16, (factory.HEIGHT, 1024))
    pictures = []
    for index in range(first, first + frames):
        scene = np.kron(blocks[index // 20 % 100], np.ones((4, 4), int))
        moved = (
            np.roll(scene, 3 * index, axis=1)[:, : factory.WIDTH]
            + np.roll(noise, 3 * index, axis=1)[:, : factory.WIDTH]
        )
        picture = factory.grey(0)
        picture[: factory.HEIGHT] = moved
        picture[factory.HEIGHT :] = 128 + (index * 7) % 40
        pictures.append(picture)
    return pictures


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 frames, lossless."""
    return factory.write_video(tmp_path_factory.mktemp("films") / "reference.mkv", scenes(120), gop=24)


@pytest.fixture(scope="session")
def distorted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, encoded coarsely."""
    path = tmp_path_factory.mktemp("films") / "distorted.mp4"
    return factory.write_video(path, scenes(120), options=COARSE, gop=50)


def told_by_program(distorted: Path, reference: Path, graph: str) -> str:
    """What the ffmpeg program says of both films, put through ``graph``."""
    command = [FFMPEG, "-nostdin", "-hide_banner", "-i", distorted, "-i", reference, "-lavfi", graph, "-f", "null", "-"]
    return subprocess.run(command, check=True, capture_output=True).stderr.decode()


def vmaf_by_program(distorted: Path, reference: Path, folder: Path) -> Sequence[float]:
    """VMAF of each frame by one run of the ffmpeg program, frames paired by their number."""
    log = folder / "direct.csv"
    graph = f"[0:v]settb=1/25,setpts=N[d];[1:v]settb=1/25,setpts=N[r];[d][r]libvmaf=log_fmt=csv:log_path={log.name}"
    command = [FFMPEG, "-nostdin", "-v", "error", "-i", distorted, "-i", reference, "-lavfi", graph]
    subprocess.run([*command, "-fps_mode", "passthrough", "-f", "null", "-"], check=True, cwd=folder)
    head, *rows = log.read_text().splitlines()
    column = head.split(",").index("vmaf")
    return [float(row.split(",")[column]) for row in rows]
