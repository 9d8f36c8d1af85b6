"""How the queue and the lanes stand, as a dispatcher sees them: numbers of few kinds, for metrics. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipelines.jobs.backlog import Backlog, backlog_of
from pipelines.jobs.models import Priority, State
from pipelines.jobs.starting import Capacity
from pipelines.jobs.tracking import Flight, Tracked

OVERDUE_S, OVERDUE_FACTOR = 600.0, 10.0


@dataclass(frozen=True)
class QueueFacts:
    """Unfinished jobs by state and operation; those that wait, and how long the first has, by priority.

    Units on their way by lane; those that take more than ten minutes and ten times their estimate, by operation.
    ``largest_memory_bytes`` is that of the node with most.
    """

    jobs: Mapping[tuple[str, str], int]
    waiting: Mapping[str, int]
    oldest_s: Mapping[str, float]
    units: Mapping[str, int]
    overdue: Mapping[str, int]
    cpus: int
    cpus_in_use: int
    memory_bytes: int
    memory_in_use_bytes: int
    interactive_slots: int
    nodes: int
    largest_memory_bytes: int
    backlog: Backlog


def facts_of(jobs: Collection[Tracked], capacity: Capacity, now_s: float, monotonic_s: float) -> QueueFacts:
    """``now_s`` is since the epoch, ``monotonic_s`` the clock of flights."""
    waiting = [tracked for tracked in jobs if _waits(tracked)]
    flights = [(tracked.job.operation, flight) for tracked in jobs for flight in tracked.flights.values()]
    ages = {str(priority): 0.0 for priority in Priority}
    for tracked in waiting:
        ages[tracked.priority] = max(ages[tracked.priority], tracked.waited_s(now_s))
    return QueueFacts(
        jobs=Counter((str(tracked.state), tracked.job.operation) for tracked in jobs),
        waiting={str(each): sum(tracked.priority == each for tracked in waiting) for each in Priority},
        oldest_s=ages,
        units={
            lane: sum(_lane_of(flight) == lane for _, flight in flights) for lane in ("heavy", "interactive", "driver")
        },
        overdue=Counter(operation for operation, flight in flights if _is_overdue(flight, monotonic_s)),
        cpus=capacity.cpus,
        cpus_in_use=min(capacity.cpus, sum(flight.cpus for _, flight in flights)),
        memory_bytes=capacity.memory_bytes,
        memory_in_use_bytes=sum(flight.memory_bytes for _, flight in flights),
        interactive_slots=capacity.interactive_slots,
        nodes=capacity.nodes,
        largest_memory_bytes=capacity.largest_memory_bytes,
        backlog=backlog_of(jobs, monotonic_s),
    )


def _waits(tracked: Tracked) -> bool:
    """Whether a job wants to go on, and nothing of it is on its way."""
    stands = tracked.state == State.PAUSED or tracked.failure is not None or tracked.ending
    return tracked.aim == "run" and not tracked.flights and not stands


def _lane_of(flight: Flight) -> str:
    if flight.drives:
        return "driver"
    return "heavy" if flight.cpus else "interactive"


def _is_overdue(flight: Flight, monotonic_s: float) -> bool:
    """One that drives takes as long as its batches do."""
    late_s = max(OVERDUE_S, OVERDUE_FACTOR * flight.estimate_s)
    return not flight.drives and monotonic_s - flight.began > late_s
