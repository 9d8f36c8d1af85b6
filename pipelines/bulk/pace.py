"""How many rows make a batch of some seconds: first by an estimate, then by what batches have taken. Pure."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

BATCH_S = 3.0
LONG_S = 10.0  # what takes longer for one file isn't done in a batch, but unit by unit
MOST_ROWS = 256
SIZE = "size_bytes"  # of a row, where that tells how long it takes
_NEWEST = 0.5  # how much the newest batch counts: the first one of a process has to start a child
_LEAST_S = 1e-4
_AHEAD = 4  # a block of rows is as many batches of the estimate: so far batches may grow
_BLOCKS = 4  # for each batch at work, at least: the last ones are done side by side


def batch_size(each_s: float) -> int:
    """How many rows make a batch, where one takes ``each_s``."""
    return max(1, min(MOST_ROWS, int(BATCH_S / each_s)))


def block_size(size: int, rows: int, at_once: int) -> int:
    """How many of ``rows`` one thread cuts into batches, of which ``at_once`` are asked for; ``size`` is the estimate.

    What takes seconds for a row isn't gathered: films may be hours.
    """
    if size == 1:
        return 1
    return max(size, min(_AHEAD * size, MOST_ROWS, rows // (_BLOCKS * at_once)))


class Pace:
    """Seconds that a row takes, by the size of its file: each class has files up to twice as large as the one before.

    ``size`` is how many rows are estimated to make a batch. May be used by several threads.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._learned: dict[int, float] = {}
        self._lock = threading.Lock()

    def cut(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """How many of the first ``rows`` make the next batch: one at least."""
        with self._lock:
            if not self._learned:
                return min(self._size, len(rows))
            taken_s = 0.0
            for number, row in enumerate(rows[:MOST_ROWS]):
                taken_s += self._each_s(_class_of(row))
                if taken_s > BATCH_S:
                    return max(1, number)
            return min(MOST_ROWS, len(rows))

    def seconds_of(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """What these rows take; None while nothing was learned."""
        with self._lock:
            return sum(self._each_s(_class_of(row)) for row in rows) if self._learned else None

    def learn(self, rows: Sequence[Mapping[str, Any]], took_s: float) -> None:
        """A batch of these rows has taken so long. Of several classes each is off by the same factor."""
        with self._lock:
            classes = Counter(map(_class_of, rows))
            told = {each: self._each_s(each) for each in classes}
            expected_s = sum(told[each] * count for each, count in classes.items())
            factor = max(took_s, _LEAST_S) / expected_s
            for each, each_s in told.items():
                self._learned[each] = each_s * (1 - _NEWEST + _NEWEST * factor)

    def _each_s(self, size_class: int) -> float:
        """Of a class of which nothing is known as much as of the nearest one."""
        if not self._learned:
            return BATCH_S / self._size
        return self._learned[min(self._learned, key=lambda known: (abs(known - size_class), -known))]


def _class_of(row: Mapping[str, Any]) -> int:
    return int(row.get(SIZE) or 0).bit_length()
