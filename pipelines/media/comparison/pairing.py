"""Which frame of one film is held against which of the other: the nearest in time, each at most once. Pure."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

R = TypeVar("R")
D = TypeVar("D")


def pair_up(
    reference: Iterable[tuple[float, R]], distorted: Iterable[tuple[float, D]], tolerance_s: float
) -> Iterator[tuple[R, D]]:
    """Pairs of what is given with rising times on one clock; two make a pair if neither has a nearer one.

    What has no partner is left out. It looks one ahead, so that frames can be paired as they are decoded.
    """
    references, distorteds = iter(reference), iter(distorted)
    r, d = next(references, None), next(distorteds, None)
    next_r, next_d = next(references, None), next(distorteds, None)
    while r is not None and d is not None:
        gap = d[0] - r[0]
        nearer_d = next_d is not None and abs(next_d[0] - r[0]) < abs(gap)
        nearer_r = next_r is not None and abs(d[0] - next_r[0]) < abs(gap)
        paired = not nearer_d and not nearer_r and abs(gap) <= tolerance_s
        if paired:
            yield r[1], d[1]
        if paired or (not nearer_d and (nearer_r or gap > 0)):
            r, next_r = next_r, next(references, None)
        if paired or nearer_d or (not nearer_r and gap <= 0):
            d, next_d = next_d, next(distorteds, None)
