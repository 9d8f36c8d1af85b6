"""Whether something grows: the slope of a line through samples, and how steep it may be at most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, linear_regression

BLOCKS = 10
_STUDENT = 1.8595  # the 95 % quantile of Student's t with BLOCKS - 2 degrees of freedom


@dataclass(frozen=True)
class Trend:
    """In units of y for one of x. With a probability of 95 % the true slope is at ``most`` that."""

    slope: float
    most: float


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    """The least-squares line through samples ``(x, y)`` in order of x, with the one-sided 95 % bound of its slope.

    Samples that follow each other aren't independent: what an allocator or the garbage collector holds at one of them
    it mostly holds at the next, and a bound that counts each would be too tight. So the line goes through the means of
    ten blocks of consecutive samples, of about the same length, and Student's t has eight degrees of freedom. A
    block is to be longer than such things last: what lasts longer is growth, as far as a run of that length can tell.

    Raises:
        ValueError: fewer than ten samples, or all at one x.
    """
    if len(samples) < BLOCKS:
        raise ValueError(f"{len(samples)} samples; at least {BLOCKS}")
    bounds = [number * len(samples) // BLOCKS for number in range(BLOCKS + 1)]
    blocks = [samples[begin:end] for begin, end in pairwise(bounds)]
    xs, ys = ([fmean(sample[axis] for sample in block) for block in blocks] for axis in (0, 1))
    slope, intercept = linear_regression(xs, ys)
    variance = sum((y - slope * x - intercept) ** 2 for x, y in zip(xs, ys, strict=True)) / (BLOCKS - 2)
    spread = sum((x - fmean(xs)) ** 2 for x in xs)
    return Trend(slope, slope + _STUDENT * math.sqrt(variance / spread))
