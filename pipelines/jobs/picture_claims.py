"""What jobs on many pictures claim, told by some that were looked at, and how they are cut into batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from pipelines.jobs.models import Needs
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.room import Room

T = TypeVar("T")

_LOOKED_AT = 6  # of many, to tell how long all take
_LARGEST = 3  # files that are looked at besides, to tell how much memory one may need
_BATCH, _BATCH_S = 48, 10.0  # fair turns, and little that is lost with one
_LEAST_BATCH = 8
_ROUNDS = 4  # batches a slot, where there are enough pictures
_MIN_HEAVY_S = 1.0
_INTERACTIVE_BYTES = 1 << 30  # for one picture in a child that claims nothing
_CHILD_BYTES = 256 << 20  # of a child, without pictures
MOST_THREADS, _SHARED_BYTES = 4, 3 << 29  # at most so many, and no more than what they need together


def typical(count: int) -> list[int]:
    """The numbers of some of so many pictures, evenly spread."""
    return sorted({count * part // _LOOKED_AT for part in range(_LOOKED_AT)})


def largest(sizes_bytes: Sequence[int]) -> list[int]:
    """The numbers of the largest files."""
    return sorted(range(len(sizes_bytes)), key=lambda number: -sizes_bytes[number])[:_LARGEST]


@dataclass(frozen=True)
class Claims:
    """``each_s``: on one core, on average; ``picture_bytes``: held for the largest picture that was looked at.

    ``threads`` is how many pictures a batch is worked on at once.
    """

    count: int
    each_s: float
    picture_bytes: int
    threads: int

    @property
    def seconds(self) -> float:
        return self.each_s * self.count

    @property
    def heavy(self) -> bool:
        return self.seconds >= _MIN_HEAVY_S or self.picture_bytes > _INTERACTIVE_BYTES

    def needs(self, pictures: int) -> Needs:
        """Of a batch of so many."""
        seconds = self.each_s * pictures
        if not self.heavy:
            return Needs(cpus=0, max_cpus=0, seconds=min(seconds, 0.99))
        memory_bytes = _CHILD_BYTES + self.threads * self.picture_bytes
        return Needs(cpus=1, max_cpus=self.threads, seconds=max(seconds, _MIN_HEAVY_S), memory_bytes=memory_bytes)

    def batches(self, entries: Sequence[T], slots: int) -> list[Sequence[T]]:
        """Fair turns of about ten seconds."""
        return batches(entries, slots, max(1, min(_BATCH, int(_BATCH_S / self.each_s))))


def claims_of(
    count: int,
    typical: Sequence[ImageInfo],
    large: Sequence[ImageInfo],
    estimate_s: Callable[[ImageInfo, Any], float],
    memory_bytes: Callable[[ImageInfo, Any], int],
    spec: Any,
) -> Claims:
    """Of ``count`` pictures, of which some were looked at: typical ones, and the largest files."""
    looked = [*typical, *large]
    timed = typical or large
    each_s = sum(estimate_s(info, spec) for info in timed) / len(timed) if timed else 0.1
    picture_bytes = max((memory_bytes(info, spec) for info in looked), default=1)
    # Pillow holds the interpreter while it decodes AVIF: threads would wait for each other.
    serial = any(info.format == "avif" for info in looked)
    threads = 1 if serial else max(1, min(MOST_THREADS, _SHARED_BYTES // max(1, picture_bytes)))
    return Claims(count, each_s, picture_bytes, threads)


def room_of(needs: Needs) -> Room:
    """What a batch's pictures may hold at once. One that needs more, since nobody looked at it, is worked on alone."""
    return Room(size_bytes=max(needs.memory_bytes - _CHILD_BYTES, 1) if needs.memory_bytes else _INTERACTIVE_BYTES)


def batches(entries: Sequence[T], slots: int, most: int) -> list[Sequence[T]]:
    """At most so many in each; as many for each slot, and as equal as can be: all slots are done at one time."""
    least = min(_LEAST_BATCH, most)
    rounds = max(-(-len(entries) // (slots * most)), min(_ROUNDS, len(entries) // (slots * least)), 1)
    count = min(len(entries), slots * rounds) if len(entries) > least else 1
    edges = [len(entries) * number // count for number in range(count + 1)]
    return [entries[start:end] for start, end in pairwise(edges)]
