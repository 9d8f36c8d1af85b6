"""What units take and get through, counted where they are done; see ``cluster.metrics``. Never by job or by file."""

import contextlib
import time
from collections.abc import Iterable, Iterator

from prometheus_client import Counter, Histogram

from cluster.child import MediaChild
from cluster.metrics import REGISTRY
from pipelines.jobs.models import Stage

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 7200)
_EVERY_S = 5.0
UNIT_SECONDS = Histogram(
    "mediaray_unit_seconds",
    "Wall time of units that were done, without waiting.",
    ["operation", "stage"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
CPU_SECONDS = Counter(
    "mediaray_cpu_seconds",
    "CPU time of media processes and of what called them, also for units that weren't finished.",
    ["operation"],
    registry=REGISTRY,
)
MEDIA_SECONDS = Counter(
    "mediaray_media_seconds",
    "Playing time of films and sounds that jobs were done with, as their units are.",
    ["operation"],
    registry=REGISTRY,
)
PICTURES = Counter("mediaray_pictures", "Pictures that were done.", ["operation"], registry=REGISTRY)
RETURNED = Counter(
    "mediaray_units_returned",
    "Units that were taken back unfinished: their work failed, their place was lost, or they were dropped.",
    ["operation", "reason"],
    registry=REGISTRY,
)


def tell_at_zero(operations: Iterable[str]) -> None:
    """Have this process tell what may be seldom counted before it is: of a series that is new, no rate can be told."""
    for operation in operations:
        CPU_SECONDS.labels(operation)
        MEDIA_SECONDS.labels(operation)
        for reason in ("failed", "lost", "dropped"):
            RETURNED.labels(operation, reason)


class Work:
    """One unit at work in a child; by the thread that began it."""

    def __init__(self, operation: str, child: MediaChild) -> None:
        self._operation = operation
        self._child = child
        self._cpu_s = self._taken_s()
        self._counted_at = time.monotonic()

    def goes_on(self) -> None:
        """Count what it has taken, now and then: some go on for hours."""
        if time.monotonic() - self._counted_at > _EVERY_S:
            self.count()

    def count(self) -> None:
        """Count the CPU time since the last time."""
        taken_s = self._taken_s()
        CPU_SECONDS.labels(self._operation).inc(max(0.0, taken_s - self._cpu_s))
        self._cpu_s, self._counted_at = taken_s, time.monotonic()

    def _taken_s(self) -> float:
        return time.thread_time() + self._child.cpu_s


@contextlib.contextmanager
def at_work(operation: str, stage: Stage, child: MediaChild) -> Iterator[Work]:
    """Count what a unit takes, and how long it took if it is done."""
    work = Work(operation, child)
    began = time.monotonic()
    try:
        yield work
        UNIT_SECONDS.labels(operation, stage).observe(time.monotonic() - began)
    finally:
        work.count()
