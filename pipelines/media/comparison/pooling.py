"""Pool the scores of frames: as libvmaf and ffmpeg do it, as a curve of bounded length, and the worst moments. Pure."""

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import (
    Canvas,
    CurvePoint,
    PsnrScores,
    SsimScores,
    VmafScores,
    XpsnrScores,
)
from pipelines.media.comparison.table import Table
from pipelines.media.comparison.xpsnr import psnr_db, xpsnr_db

_CURVE_POINTS = 300
_APART_S = 3.0  # at least, between two of the worst moments
_DECIMALS = 4


def vmaf_scores(table: Table) -> VmafScores | None:
    """The harmonic mean is libvmaf's: of scores that are one higher, less one."""
    scores = table.vmaf
    if not _measured(scores):
        return None
    return VmafScores(
        mean=_rounded(scores.mean()),
        harmonic_mean=_rounded(len(scores) / np.sum(1 / (scores + 1)) - 1),
        min=_rounded(scores.min()),
        p1=_rounded(np.percentile(scores, 1)),
        p5=_rounded(np.percentile(scores, 5)),
        max=_rounded(scores.max()),
    )


def ssim_scores(table: Table) -> SsimScores | None:
    if not _measured(table.ssim):
        return None
    return SsimScores(
        all=_rounded(table.ssim.mean(), 6),
        y=_rounded(table.ssim_y.mean(), 6),
        u=_rounded(table.ssim_u.mean(), 6),
        v=_rounded(table.ssim_v.mean(), 6),
        min=_rounded(table.ssim.min(), 6),
        p5=_rounded(np.percentile(table.ssim, 5), 6),
    )


def psnr_scores(table: Table, canvas: Canvas) -> PsnrScores:
    errors = average_mse(table, canvas)
    return PsnrScores(
        average_db=finite(psnr_db(float(errors.mean()), canvas.depth)),
        y_db=finite(psnr_db(float(table.mse_y.mean()), canvas.depth)),
        u_db=finite(psnr_db(float(table.mse_u.mean()), canvas.depth)),
        v_db=finite(psnr_db(float(table.mse_v.mean()), canvas.depth)),
        min_db=finite(psnr_db(float(errors.max()), canvas.depth)),
    )


def xpsnr_scores(table: Table, canvas: Canvas) -> XpsnrScores:
    luma, chroma = plane_pixels(canvas)
    return XpsnrScores(
        y_db=finite(xpsnr_db(float(table.root_y.mean()), luma, canvas.depth)),
        u_db=finite(xpsnr_db(float(table.root_u.mean()), chroma, canvas.depth)),
        v_db=finite(xpsnr_db(float(table.root_v.mean()), chroma, canvas.depth)),
        min_y_db=finite(xpsnr_db(float(table.root_y.max()), luma, canvas.depth)),
    )


def curve(table: Table, canvas: Canvas) -> tuple[CurvePoint, ...]:
    """At most 300 points, each of as many pairs."""
    luma, _ = plane_pixels(canvas)
    borders = np.unique(np.linspace(0, len(table), min(_CURVE_POINTS, len(table)) + 1).astype(int))
    points = []
    for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        vmaf, ssim = table.vmaf[begin:end], table.ssim[begin:end]
        points.append(
            CurvePoint(
                time_s=round(float(table.reference_s[begin]), 3),
                vmaf=finite(float(vmaf.mean()), 2),
                vmaf_min=finite(float(vmaf.min()), 2),
                ssim=finite(float(ssim.mean()), 5),
                psnr_y_db=finite(psnr_db(float(table.mse_y[begin:end].mean()), canvas.depth), 2),
                xpsnr_y_db=finite(xpsnr_db(float(table.root_y[begin:end].mean()), luma, canvas.depth), 2),
            )
        )
    return tuple(points)


def worst_rows(table: Table, count: int) -> list[int]:
    """The rows of the worst frames, seconds apart, the worst first: by VMAF, or by the error where there is none."""
    scores = table.vmaf if _measured(table.vmaf) else -table.mse_y
    chosen: list[int] = []
    left = np.ones(len(table), bool)
    while len(chosen) < count and left.any():
        row = int(np.where(left, scores, np.inf).argmin())
        chosen.append(row)
        left &= np.abs(table.reference_s - table.reference_s[row]) >= _APART_S
    return chosen


def average_mse(table: Table, canvas: Canvas) -> NDArray[np.float64]:
    """Of all planes, by their pixels."""
    luma, chroma = plane_pixels(canvas)
    sums = table.mse_y * luma + (table.mse_u + table.mse_v) * chroma
    return sums / (luma + 2 * chroma)


def plane_pixels(canvas: Canvas) -> tuple[int, int]:
    """Of luma, and of one plane of chroma."""
    halved_width = canvas.pixel_format.startswith(("yuv420", "yuv422"))
    width = -(-canvas.width // 2) if halved_width else canvas.width
    height = -(-canvas.height // 2) if canvas.pixel_format.startswith("yuv420") else canvas.height
    return canvas.width * canvas.height, width * height


def _measured(scores: NDArray[np.float64]) -> bool:
    return len(scores) > 0 and not bool(np.isnan(scores).any())


def _rounded(value: float, decimals: int = _DECIMALS) -> float:
    return round(float(value), decimals)


def finite(value: float, decimals: int = _DECIMALS) -> float | None:
    """Rounded; ``None`` where there is no error or no score."""
    return round(value, decimals) if math.isfinite(value) else None
