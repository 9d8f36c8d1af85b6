"""Which of many pictures or films are alike, told by their perceptual hashes. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def hash_bits(text: str | None) -> int:
    """A hash of 16 hex digits as a number."""
    return int(text or "0", 16)


def distance_between(one: str | None, other: str | None) -> int:
    """How many bits differ."""
    return (hash_bits(one) ^ hash_bits(other)).bit_count()


def nearer_than(hashes: Sequence[str | None], distance: int) -> Callable[[int], Iterable[int]]:
    """Of one's place, the places behind it whose hashes differ by ``distance`` bits at most.

    All of them are compared: 20,000 take some 40 millionths of a second. An index of parts of the hashes (Norouzi et
    al., "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012) is of use up to 3 bits; forms of one
    picture differ by up to about 10.
    """
    numbers: NDArray[np.uint64] = np.array([hash_bits(each) for each in hashes], np.uint64)

    def near(place: int) -> Iterable[int]:
        differ = np.bitwise_count(numbers[place + 1 :] ^ numbers[place])
        found: list[int] = (np.flatnonzero(differ <= distance) + place + 1).tolist()
        return found

    return near


def film_distance(one: Sequence[str | None], other: Sequence[str | None], least: int) -> float | None:
    """The median of how many bits differ at the same parts of two films; ``None`` where fewer than ``least`` compare.

    The median, not the mean: near a cut the same time may show another shot.
    """
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if len(pairs) < least:
        return None
    return float(np.median([distance_between(a, b) for a, b in pairs]))


def stars(
    count: int, near: Callable[[int], Iterable[int]], distance: Callable[[int, int], float | None]
) -> Mapping[int, Mapping[int, float]]:
    """Groups of ``count`` things in order of their worth: of each one's best, the others and their distances to it.

    So nobody is in a group only because something in between is like both. ``near`` are those behind one that may be
    alike, ``distance`` tells how much they are: ``None``, not.
    """
    taken: set[int] = set()
    groups: dict[int, dict[int, float]] = {}
    for best in range(count):
        if best in taken:
            continue
        between = ((other, distance(best, other)) for other in near(best) if other not in taken)
        others = {other: told for other, told in between if told is not None}
        if others:
            taken.update(others)
            groups[best] = others
    return groups
