"""What is still to be done, what it costs, and when it is done: from plans, and from what such work has cost. Pure.

Plans estimate what each unit takes, and the dispatcher shares by that. What units took, and what plans had said of
them, is counted where they are done (``work_metrics``): the one divided by the other, for each operation, corrects the
estimates of what waits. A job that isn't planned yet counts as much as one of its operation has taken on average.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.jobs.models import State, Unit
from pipelines.jobs.states import JOIN
from pipelines.jobs.tracking import Tracked

Bound = Literal["nothing", "cpus", "memory", "longest_unit", "no_cpus"]


@dataclass(frozen=True)
class Waiting:
    """Units of an operation that wait, by what plans estimate.

    ``jobs`` of it want to go on; ``unplanned`` of them have no plan yet; ``open``: these ask for units as they go, so
    that what is known isn't all. ``seconds`` are wall time of all ``units`` one after the other; ``cpu_seconds`` count
    the CPUs that are claimed meanwhile, ``byte_seconds`` the memory. ``chain_s``: the longest unit of a job, and its
    join: that much comes one after the other, however many CPUs there are.
    """

    jobs: int = 0
    unplanned: int = 0
    open: int = 0
    units: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    byte_seconds: float = 0.0
    chain_s: float = 0.0


@dataclass(frozen=True)
class Flying:
    """A unit on its way: what its plan estimates, and for how long it is at it."""

    operation: str
    seconds: float
    elapsed_s: float
    claimed_cpus: int
    memory_bytes: int


@dataclass(frozen=True)
class Backlog:
    """All that is to be done, by operation; and the jobs that somebody has paused, which count for nothing else."""

    waiting: Mapping[str, Waiting]
    flying: tuple[Flying, ...]
    paused_jobs: int


@dataclass(frozen=True)
class Cost:
    """What an operation's work has taken: ``wall`` and ``cpu`` seconds for each that plans had estimated.

    ``job_cpu_s``: CPU time of a job, on average; None: none has come to its end.
    """

    wall: float
    cpu: float
    job_cpu_s: float | None


@dataclass(frozen=True)
class Needed:
    """What the rest of an operation's work needs, as far as it can be told. See ``Waiting``.

    ``cpu_s`` of CPU time, and ``held_s``: time that CPUs are claimed for it. ``measured``: by what its work has cost;
    else by the estimates alone. Of ``unknown_jobs`` it can't be told, or not all.
    """

    jobs: int
    units: int
    cpu_s: float
    held_s: float
    byte_s: float
    chain_s: float
    measured: bool
    unknown_jobs: int


@dataclass(frozen=True)
class Done:
    """When all is done, in seconds from now, and by what that is bound; None: it never is, with what there is."""

    eta_s: float | None
    bound: Bound


def backlog_of(jobs: Iterable[Tracked], monotonic_s: float) -> Backlog:
    """``monotonic_s`` is the clock of flights."""
    found: dict[str, list[Tracked]] = defaultdict(list)
    flying: list[Flying] = []
    paused = 0
    for tracked in jobs:
        flying += _flying(tracked, monotonic_s)
        if tracked.state == State.PAUSED or tracked.aim == "pause":
            paused += 1
        elif tracked.aim == "run" and tracked.failure is None and not tracked.ending:
            found[tracked.job.operation].append(tracked)
    return Backlog({operation: _waiting(of) for operation, of in found.items()}, tuple(flying), paused)


def needed(backlog: Backlog, costs: Mapping[str, Cost], largest_memory_bytes: int) -> dict[str, Needed]:
    """By operation. No unit claims more memory than ``largest_memory_bytes``, that of the largest node."""
    operations = backlog.waiting.keys() | {unit.operation for unit in backlog.flying}
    return {
        operation: _needed(
            backlog.waiting.get(operation, Waiting()),
            [unit for unit in backlog.flying if unit.operation == operation],
            costs.get(operation),
            largest_memory_bytes,
        )
        for operation in sorted(operations)
    }


def done_in(all_needed: Collection[Needed], cpus: int, memory_bytes: int) -> Done:
    """When it is done on so many CPUs and so much memory, if nothing else comes and all are used to the end.

    What is bound by none of them takes as long as its longest chain: more machines don't change that.
    """
    cpu_s = sum(max(each.cpu_s, each.held_s) for each in all_needed)
    byte_s = sum(each.byte_s for each in all_needed)
    chain_s = max((each.chain_s for each in all_needed), default=0.0)
    if not cpu_s and not chain_s:
        return Done(0.0, "nothing")
    if cpus < 1:
        return Done(None, "no_cpus")
    bounds: list[tuple[float, Bound]] = [(cpu_s / cpus, "cpus"), (chain_s, "longest_unit")]
    if memory_bytes:
        bounds.append((byte_s / memory_bytes, "memory"))
    return Done(*max(bounds, key=lambda bound: bound[0]))


def _flying(tracked: Tracked, monotonic_s: float) -> list[Flying]:
    return [
        Flying(
            tracked.job.operation,
            flight.estimate_s,
            max(0.0, monotonic_s - flight.began),
            flight.claimed_cpus,
            flight.memory_bytes,
        )
        for flight in tracked.flights.values()
        if not flight.drives
    ]


def _waiting(jobs: list[Tracked]) -> Waiting:
    units = open_jobs = 0
    seconds = cpu_seconds = byte_seconds = chain_s = 0.0
    for tracked in jobs:
        drives = any(flight.drives for flight in tracked.flights.values())
        longest_s = join_s = 0.0
        for unit in _units(tracked):
            needs = unit.needs
            if needs.drives:
                drives = True
                continue
            units += 1
            seconds += needs.seconds
            if not needs.interactive:
                cpu_seconds += needs.seconds * needs.cpus
                byte_seconds += needs.seconds * needs.memory_bytes
            if unit.name == JOIN:
                join_s = needs.seconds
            else:
                longest_s = max(longest_s, needs.seconds)
        open_jobs += drives
        chain_s = max(chain_s, longest_s + join_s)
    return Waiting(
        jobs=len(jobs),
        unplanned=sum(tracked.plan is None for tracked in jobs),
        open=open_jobs,
        units=units,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        byte_seconds=byte_seconds,
        chain_s=chain_s,
    )


def _units(tracked: Tracked) -> Iterator[Unit]:
    """What is to be done and isn't on its way, as far as it is known. There may be many thousands."""
    if tracked.plan is None:
        return
    flights, known = tracked.flights, tracked.units
    for unit in (*tracked.plan.units, Unit(name=JOIN, needs=tracked.plan.join)):
        status = known.get(unit.name)
        if unit.name not in flights and (status is None or status.state != "done"):
            yield unit
    yield from tracked.batches.waiting(known, flights)


def _needed(waiting: Waiting, flying: list[Flying], cost: Cost | None, largest_memory_bytes: int) -> Needed:
    wall = cost.wall if cost else 1.0
    left = [(max(0.0, unit.seconds * wall - unit.elapsed_s), unit) for unit in flying]
    held_s = waiting.cpu_seconds * wall + sum(seconds * unit.claimed_cpus for seconds, unit in left)
    left_s = waiting.seconds * wall + sum(seconds for seconds, _ in left)
    # Of what isn't measured: a CPU each, as long as it takes.
    cpu_s = left_s * cost.cpu / wall if cost and wall else max(left_s, held_s)
    unplanned_s = waiting.unplanned * cost.job_cpu_s if cost and cost.job_cpu_s is not None else None
    byte_s = waiting.byte_seconds * wall + sum(seconds * unit.memory_bytes for seconds, unit in left)
    most_s = left_s * largest_memory_bytes
    return Needed(
        jobs=waiting.jobs,
        units=waiting.units + len(flying),
        cpu_s=cpu_s + (unplanned_s or 0.0),
        held_s=held_s + (unplanned_s or 0.0),
        byte_s=min(byte_s, most_s),
        chain_s=max([waiting.chain_s * wall, *(seconds for seconds, _ in left)]),
        measured=cost is not None,
        unknown_jobs=waiting.open + (waiting.unplanned if unplanned_s is None else 0),
    )
