"""What units take and get through, counted where they are done; see ``cluster.metrics``. Never by job or by file."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from prometheus_client import Counter, Histogram, Metric

from cluster.child import MediaChild
from cluster.metrics import REGISTRY
from pipelines.jobs.backlog import Cost
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
PLANNED_SECONDS = Counter(
    "mediaray_unit_planned_seconds",
    "Wall time that plans had estimated for units of the stage unit that were done.",
    ["operation"],
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
def at_work(
    operation: str, stage: Stage | Literal["drive"], child: MediaChild, planned_s: float = 0.0
) -> Iterator[Work]:
    """Count what a unit takes, and how long it took if it is done; ``planned_s``: as its plan had estimated.

    One that drives is at it for as long as others do its batches, which says nothing of units: a stage of its own.
    """
    work = Work(operation, child)
    began = time.monotonic()
    try:
        yield work
        UNIT_SECONDS.labels(operation, stage).observe(time.monotonic() - began)
        if stage == "unit":
            PLANNED_SECONDS.labels(operation).inc(planned_s)
    finally:
        work.count()


def costs_of(families: Iterable[Metric]) -> Mapping[str, Cost]:
    """What the work of each operation has taken, by what all processes have counted (``cluster.metrics.pushed``)."""
    sums: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    operations = set()
    for family in families:
        for sample in family.samples:
            if "operation" in sample.labels:
                operations.add(sample.labels["operation"])
                sums[sample.name, sample.labels["operation"], sample.labels.get("stage", "")] += sample.value
    costs = {}
    for operation in sorted(operations):
        planned_s = sums["mediaray_unit_planned_seconds_total", operation, ""]
        if planned_s > 0:
            cpu_s = sums["mediaray_cpu_seconds_total", operation, ""]
            jobs = sums["mediaray_unit_seconds_count", operation, "join"]
            costs[operation] = Cost(
                wall=sums["mediaray_unit_seconds_sum", operation, "unit"] / planned_s,
                cpu=cpu_s / planned_s,
                job_cpu_s=cpu_s / jobs if jobs else None,
            )
    return costs
