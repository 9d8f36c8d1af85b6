"""The scores of all pairs of frames, in columns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.media.mux import write_errors

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A row for each pair, in order of showing; NaN where a metric doesn't take pictures so small.

    ``mse_``: mean squared error of a plane. ``root_``: root of its weighted error, see ``xpsnr``. ``beside_mse``: the
    luma's error against the reference's frame before or after, whichever is less. ``likeness``: the correlation of the
    luma, from -1 to 1.
    """

    reference_pts: Column
    distorted_pts: Column
    reference_s: Column
    distorted_s: Column
    vmaf: Column
    ssim_y: Column
    ssim_u: Column
    ssim_v: Column
    ssim: Column
    mse_y: Column
    mse_u: Column
    mse_v: Column
    root_y: Column
    root_u: Column
    root_v: Column
    beside_mse: Column
    likeness: Column

    def __len__(self) -> int:
        return len(self.reference_pts)


def write_table(path: Path, rows: Sequence[Sequence[float]]) -> None:
    """``rows`` have the columns of ``Table``, in its order."""
    with write_errors():
        np.save(path, np.array(rows, np.float64).reshape(-1, len(fields(Table))), allow_pickle=False)


def read_tables(paths: Sequence[Path]) -> Table:
    """The rows of all, one after the other."""
    parts = [np.load(path, allow_pickle=False) for path in paths] or [np.empty((0, len(fields(Table))))]
    return Table(*np.concatenate(parts).T)
