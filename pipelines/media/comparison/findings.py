"""What the scores tell beside themselves: where films run apart or show other things, and one sentence of it all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import CompareResult, ComparisonPlan, ScoredPiece, Verdict
from pipelines.media.comparison.table import Table

_UNLIKE = 0.5  # correlation below which two frames don't show the same
_BESIDE = 0.7  # of the error: a frame beside fits better
_VISIBLE_MSE = 1.0  # at 8 bits: less error than this tells nothing
_STRETCH_S = 0.5
_MOST = 0.5
_TOLD = 3


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
        if result.vmaf is not None:
            told.append(f"VMAF's model gives {result.vmaf.mean:.2f} to that, not 100, since it isn't told what moves.")
    elif result.vmaf is not None:
        told.append(
            f"VMAF {result.vmaf.mean:.2f} over {counted(frames.compared, 'frame')}, {result.vmaf.min:.2f} at worst."
        )
    else:
        told.append(f"{counted(frames.compared, 'frame')} compared.")
    if alignment.offset_s:
        told.append(
            f"The distorted film is {abs(alignment.offset_s):.3f} s {'late' if alignment.offset_s > 0 else 'early'}."
        )
    if frames.reference_alone or frames.distorted_alone:
        told.append(
            f"Without a partner: {counted(frames.reference_alone, 'frame')} of the reference, "
            f"{frames.distorted_alone} of the distorted film."
        )
    return " ".join(told)


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
