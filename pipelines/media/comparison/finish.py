"""Put a comparison together: pool the scores of its pieces, list every frame, take stills of the worst moments."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.media.comparison.compare_spec import (
    FRAMES_FILE,
    CompareResult,
    CompareSpec,
    ComparisonPlan,
    FrameCounts,
    Moment,
    ScoredPiece,
)
from pipelines.media.comparison.film import open_film
from pipelines.media.comparison.judgement import judged, message_of, time_findings
from pipelines.media.comparison.pooling import (
    average_mse,
    curve,
    finite,
    plane_pixels,
    psnr_scores,
    ssim_scores,
    vmaf_scores,
    worst_rows,
    xpsnr_scores,
)
from pipelines.media.comparison.table import Column, Table, read_tables
from pipelines.media.comparison.xpsnr import psnr_db, xpsnr_db
from pipelines.media.frames import PictureMaker
from pipelines.media.images.info import EXTENSIONS
from pipelines.media.info import VideoInfo
from pipelines.media.mux import write_errors
from pipelines.media.progress import OnProgress, Progress
from pipelines.media.source import Source

_COLUMNS = {
    **dict.fromkeys(("reference_s", "distorted_s", "vmaf", "ssim", "ssim_y", "ssim_u", "ssim_v"), "%.6f"),
    **dict.fromkeys(("psnr_db", "psnr_y_db", "psnr_u_db", "psnr_v_db"), "%.4f"),
    **dict.fromkeys(("xpsnr_y_db", "xpsnr_u_db", "xpsnr_v_db"), "%.4f"),
}
_QUALITY = 95
_FAST_PNG = 1  # better compression of large stills takes seconds


def finish_comparison(
    source: Source,
    reference: Source,
    folder: Path,
    plan: ComparisonPlan,
    scored: tuple[ScoredPiece, ...],
    spec: CompareSpec,
    on_progress: OnProgress,
) -> CompareResult:
    """Pool what was measured; writes ``FRAMES_FILE`` and the stills into ``folder``, if there is anything.

    Raises:
        SourceUnreadableError: a film can't be read any more.
    """
    pieces = sorted(scored, key=lambda piece: piece.scores.number)
    table = read_tables([piece.table for piece in pieces])
    found = CompareResult(
        verdict=judged(plan, table),
        message="",
        alignment=plan.alignment,
        frames=_counts(plan, pieces, table),
        model=plan.model,
        width=plan.canvas.width,
        height=plan.canvas.height,
        pixel_format=plan.canvas.pixel_format,
        warnings=(*plan.warnings, *time_findings(plan, pieces, table)),
    )
    if len(table):
        _write_frames(folder / FRAMES_FILE, plan, table)
        found = found.model_copy(
            update={
                "vmaf": vmaf_scores(table),
                "ssim": ssim_scores(table),
                "psnr": psnr_scores(table, plan.canvas) if "psnr" in plan.metrics else None,
                "xpsnr": xpsnr_scores(table, plan.canvas) if "xpsnr" in plan.metrics else None,
                "curve": curve(table, plan.canvas),
                "worst": _worst(source, reference, folder, plan, table, spec, on_progress),
            }
        )
    return found.model_copy(update={"message": message_of(found)})


def _counts(plan: ComparisonPlan, pieces: Sequence[ScoredPiece], table: Table) -> FrameCounts | None:
    reference, distorted = plan.reference_frames, plan.distorted_frames
    if len(pieces) == 1:  # in one pass those were counted that the packets don't tell
        scores = pieces[0].scores
        reference = scores.reference_frames if reference is None else reference
        distorted = scores.distorted_frames if distorted is None else distorted
    if reference is None or distorted is None:
        return None
    return FrameCounts(
        reference=reference,
        distorted=distorted,
        compared=len(table),
        reference_alone=reference - len(table),
        distorted_alone=distorted - len(table),
        identical=int(((table.mse_y == 0) & (table.mse_u == 0) & (table.mse_v == 0)).sum()),
    )


def _write_frames(path: Path, plan: ComparisonPlan, table: Table) -> None:
    """A line of comma-separated scores for each pair: ``inf`` where there is no error, ``nan`` what isn't measured."""
    depth, (luma, chroma) = plan.canvas.depth, plane_pixels(plan.canvas)
    mse = (average_mse(table, plan.canvas), table.mse_y, table.mse_u, table.mse_v)
    roots = ((table.root_y, luma), (table.root_u, chroma), (table.root_v, chroma))
    columns: list[Column] = [
        *(table.reference_s, table.distorted_s, table.vmaf, table.ssim, table.ssim_y, table.ssim_u, table.ssim_v),
        *(np.array([psnr_db(error, depth) for error in errors.tolist()]) for errors in mse),
        *(np.array([xpsnr_db(root, pixels, depth) for root in own.tolist()]) for own, pixels in roots),
    ]
    with write_errors():
        np.savetxt(
            path,
            np.column_stack(columns),
            list(_COLUMNS.values()),
            delimiter=",",
            header=",".join(_COLUMNS),
            comments="",
        )


def _worst(
    source: Source,
    reference: Source,
    folder: Path,
    plan: ComparisonPlan,
    table: Table,
    spec: CompareSpec,
    on_progress: OnProgress,
) -> tuple[Moment, ...]:
    rows = worst_rows(table, spec.moments)
    names = [f"worst-{rank:02d}" for rank in range(1, len(rows) + 1)]
    size = (plan.reference.display_width, plan.reference.display_height)
    sides = (
        ("reference", reference, plan.reference, table.reference_pts),
        ("distorted", source, plan.distorted, table.distorted_pts),
    )
    stills: dict[tuple[str, int], str] = {}
    for side, film, video, times in sides:
        ranked = sorted(range(len(rows)), key=lambda rank: float(times[rows[rank]]))
        wanted = [
            (int(times[rows[rank]]), folder / f"{names[rank]}-{side}.{EXTENSIONS[spec.format]}") for rank in ranked
        ]
        for rank, path in zip(ranked, _stills(film, video, wanted, size), strict=True):
            stills[side, rank] = path.name
            on_progress(Progress(fraction=len(stills) / (2 * len(rows)), frames=len(stills), position_s=0.0))
    depth, (luma, _) = plan.canvas.depth, plane_pixels(plan.canvas)
    return tuple(
        Moment(
            time_s=round(float(table.reference_s[row]), 3),
            distorted_time_s=round(float(table.distorted_s[row]), 3),
            vmaf=finite(float(table.vmaf[row]), 2),
            ssim=finite(float(table.ssim[row]), 5),
            psnr_y_db=finite(psnr_db(float(table.mse_y[row]), depth), 2),
            xpsnr_y_db=finite(xpsnr_db(float(table.root_y[row]), luma, depth), 2),
            reference=stills["reference", rank],
            distorted=stills["distorted", rank],
        )
        for rank, row in enumerate(rows)
    )


def _stills(
    source: Source, video: VideoInfo, wanted: Sequence[tuple[int, Path]], size: tuple[int, int]
) -> Iterator[Path]:
    """Write the frames at some times, rising, as they are shown, both films in one size."""
    if not wanted:
        return
    with open_film(source, video) as film:
        maker = PictureMaker(video, film.time_base, largest=size, size=size)
        for pts, path in wanted:
            _save(maker.make(film.reader.at(pts)), path)
            yield path


def _save(picture: Image.Image, path: Path) -> None:
    with write_errors():
        if path.suffix == ".png":
            picture.save(path, "PNG", compress_level=_FAST_PNG)
        else:
            picture.save(path, "JPEG", quality=_QUALITY, subsampling="4:4:4")
