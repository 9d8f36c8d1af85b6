"""What is found beside the scores: films that differ in form, run apart or show other things. And a sentence of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import (
    DIFFERENT_FIT,
    SMALLEST_FOR_VMAF,
    Alignment,
    Canvas,
    CompareResult,
    CompareSpec,
    ComparisonPlan,
    ScoredPiece,
    Verdict,
)
from pipelines.media.comparison.table import Table
from pipelines.media.info import VideoInfo
from pipelines.media.wording import counted

_SHAPES_APART, _RATES_APART = 0.02, 0.02
_HD_PIXELS = 2560 * 1440
_UNLIKE = 0.5  # correlation below which two frames don't show the same
_BESIDE = 0.7  # of the error: a frame beside fits better
_VISIBLE_MSE = 1.0  # at 8 bits: less error than this tells nothing
_STRETCH_S = 0.5
_MOST = 0.5
_TOLD = 3


def form_findings(videos: tuple[VideoInfo, VideoInfo], canvas: Canvas, spec: CompareSpec) -> list[str]:
    reference, distorted = videos
    found = []
    shapes = [video.display_width / video.display_height for video in videos]
    if abs(shapes[1] / shapes[0] - 1) > _SHAPES_APART:
        found.append(
            f"The pictures differ in shape ({reference.display_width}x{reference.display_height} against "
            f"{distorted.display_width}x{distorted.display_height}): one may be cropped or have bars, which lowers all "
            "scores. Crop both alike."
        )
    if "vmaf" in spec.metrics and min(canvas.width, canvas.height) < SMALLEST_FOR_VMAF:
        found.append(f"Pictures of {canvas.width}x{canvas.height} pixels are too small for VMAF.")
    elif canvas.width * canvas.height > _HD_PIXELS and spec.model != "vmaf_4k_v0.6.1":
        found.append(f"{spec.model} was made for 1080p; for pictures this large choose vmaf_4k_v0.6.1.")
    if (reference.hdr == "sdr") != (distorted.hdr == "sdr"):
        found.append("One is HDR, the other SDR: they are compared as they are coded, so the scores mean little.")
    elif reference.hdr != "sdr":
        found.append("Both are HDR: VMAF's models were made with SDR, so compare its scores among HDR only.")
    interlaced = [name for name, video in zip(("reference", "distorted"), videos, strict=True) if video.interlaced]
    if interlaced:
        found.append(f"The {' and the '.join(interlaced)} film is interlaced: pictures are compared as they are coded.")
    return found


def rate_findings(steps_s: Sequence[float]) -> list[str]:
    """``steps_s``: the usual time from one frame to the next, of the reference and of the distorted film."""
    if abs(steps_s[1] / steps_s[0] - 1) <= _RATES_APART:
        return []
    rates = [round(1 / step_s, 3) for step_s in steps_s]
    return [f"They have different frame rates ({rates[0]:g} and {rates[1]:g}): only frames with a partner count."]


def offset_findings(alignment: Alignment, tolerance_s: float) -> list[str]:
    if alignment.verdict == "different":
        return []
    found = []
    apart = [place for place in alignment.places if abs(place.offset_s - alignment.offset_s) > tolerance_s]
    lost = [place for place in alignment.places if place.fit < DIFFERENT_FIT and place not in apart]
    if lost:
        told = ", ".join(f"{place.time_s:.1f} s" for place in lost)
        found.append(f"What the reference shows at {told} isn't there or near in the distorted film.")
    if apart:
        told = ", ".join(f"{place.offset_s:.3f} s at {place.time_s:.1f} s" for place in apart)
        found.append(f"The films don't keep one offset: they fit better at {told}, or farther.")
    if lost or apart:
        found.append("Something may have been cut or added, or times may jump.")
    return [" ".join(found)] if found else []


def judged(plan: ComparisonPlan, table: Table) -> Verdict:
    """The verdict of the plan, which looked at some places only, unless what was measured speaks against it."""
    odd = _unlike(table) | _shifted(table, plan)
    return (
        "doubtful" if plan.alignment.verdict == "same" and len(table) and odd.mean() > _MOST else plan.alignment.verdict
    )


def time_findings(plan: ComparisonPlan, pieces: Sequence[ScoredPiece], table: Table) -> list[str]:
    found = []
    if pieces and not len(table):
        found.append("No frame has a partner: the films don't overlap at this offset.")
    missing = sum(piece.pairs - piece.scores.pairs for piece in pieces if piece.pairs is not None)
    if missing > 0:
        found.append(f"{counted(missing, 'pair')} of frames couldn't be compared: one of them doesn't decode.")
    shifted = _shifted(table, plan)
    if unlike := _stretches(table, _unlike(table) & ~shifted):
        found.append(f"The films don't show the same {_listed(unlike)}: something was cut, added or put in its place.")
    if beside := _stretches(table, shifted):
        found.append(f"The film runs a frame or more beside its reference {_listed(beside)}: scores there are too low.")
    return found


def _unlike(table: Table) -> NDArray[np.bool_]:
    return table.likeness < _UNLIKE


def _shifted(table: Table, plan: ComparisonPlan) -> NDArray[np.bool_]:
    visible = _VISIBLE_MSE * 4.0 ** (plan.canvas.depth - 8)
    return (table.mse_y > visible) & (table.beside_mse < _BESIDE * table.mse_y)


def _stretches(table: Table, odd: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """From when to when most frames are ``odd``, for half a second or longer; gaps of that length don't part them."""
    times_s = table.reference_s[odd]
    if not len(times_s):
        return []
    parts = np.split(times_s, np.flatnonzero(np.diff(times_s) > _STRETCH_S) + 1)
    found = []
    for part in parts:
        begin_s, end_s = float(part[0]), float(part[-1])
        within = (table.reference_s >= begin_s) & (table.reference_s <= end_s)
        if end_s - begin_s >= _STRETCH_S and len(part) >= _MOST * int(within.sum()):
            found.append((begin_s, end_s))
    return found


def _listed(stretches: Sequence[tuple[float, float]]) -> str:
    told = ", ".join(f"from {begin_s:.1f} to {end_s:.1f} s" for begin_s, end_s in stretches[:_TOLD])
    more = len(stretches) - _TOLD
    return f"{told} and in {more} more places" if more > 0 else told


def message_of(result: CompareResult) -> str:
    """One sentence or a few: what this comparison comes to."""
    alignment, frames = result.alignment, result.frames
    if result.verdict == "different":
        return (
            f"These don't show the same film: where their times say they should, and within the offsets searched, the "
            f"pictures have little in common (fit {alignment.fit:.2f} of 1). Nothing was measured. If they do belong "
            "together, give the offset."
        )
    if frames is None or not frames.compared:
        return "No frame has a partner in the other film: nothing was measured."
    told = []
    if result.verdict == "doubtful":
        told.append(f"It's doubtful that these show the same film (fit {alignment.fit:.2f} of 1): look at the stills.")
    if frames.identical == frames.compared:
        told.append(f"Of {counted(frames.compared, 'compared frame')} all are identical.")
        if result.vmaf is not None and result.vmaf.mean < 100:
            told.append(f"VMAF gives them {result.vmaf.mean:.2f}: its model has 100 only for pictures that move much.")
    elif result.vmaf is not None:
        worst = f", at {result.worst[0].time_s:.1f} s" if result.worst else ""
        told.append(f"VMAF {result.vmaf.mean:.2f} over {counted(frames.compared, 'frame')},")
        told.append(f"{result.vmaf.min:.2f} at worst{worst}.")
    else:
        told.append(f"{counted(frames.compared, 'frame')} compared.")
    if alignment.offset_s:
        told.append(
            f"The distorted film is {abs(alignment.offset_s):.3f} s {'late' if alignment.offset_s > 0 else 'early'}."
        )
    if frames.reference_alone or frames.distorted_alone:
        told.append(
            f"Without a partner: {counted(frames.reference_alone, 'frame')} of the reference, "
            f"{frames.distorted_alone:,} of the distorted film."
        )
    return " ".join(told)
