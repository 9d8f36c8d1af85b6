"""Which unit starts next, and with what of the cluster: turns, room and plans ahead. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.jobs.models import Needs, State, Unit
from pipelines.jobs.orders import UnitOrder
from pipelines.jobs.schedule import class_of, effective_class, grant_cpus, in_order, share_of_cpus
from pipelines.jobs.shares import Shares
from pipelines.jobs.states import PLAN, next_units
from pipelines.jobs.tracking import Tracked

_PLANNED_JOBS = 64  # heavy ones that are planned and not done: they are worked on in turns
_DRIVERS = 8  # at once: each is a process of its own, and has most of its batches wait


class Capacity(Protocol):
    """What all lanes have together, in use or not."""

    cpus: int
    largest_cpus: int  # of one node
    memory_bytes: int
    largest_memory_bytes: int  # of one node
    interactive_slots: int
    nodes: int


@dataclass(frozen=True)
class Start:
    """A unit to start.

    ``cpus`` it may use, 0: it is interactive, or drives; ``claimed_cpus`` are kept free of others.
    """

    tracked: Tracked
    unit: Unit
    cpus: int
    claimed_cpus: int
    memory_bytes: int


def order_of(start: Start, module: str, fence: int, *, slots: int, through: bool) -> UnitOrder:
    """What a worker is told: ``module`` is the operation's, ``fence`` that of the unit's lease."""
    job, plan = start.tracked.job, start.tracked.plan
    return UnitOrder(
        job_id=job.id,
        module=module,
        sources=job.sources,
        params=job.params,
        unit=start.unit,
        fence=fence,
        cpus=start.cpus,
        claimed_cpus=start.claimed_cpus,
        slots=slots,
        memory_bytes=start.memory_bytes,
        shared=plan.shared if plan else {},
        through=through,
        trace=job.trace,
    )


def next_start(
    jobs: Mapping[str, Tracked], shares: Shares, capacity: Capacity, lift_s: float, now_s: float
) -> Start | None:
    """The first unit there is room for; None where there is none. ``now_s`` is since the epoch."""
    waiting = {job_id: units for job_id, tracked in jobs.items() if (units := _startable(tracked))}
    # All jobs are put in order, also those with nothing to start: what they hold counts for their key's share.
    order = in_order((tracked.candidate(now_s, shares) for tracked in jobs.values()), lift_s=lift_s)
    flights = [flight for tracked in jobs.values() for flight in tracked.flights.values()]
    heavy = [flight for flight in flights if flight.cpus]
    free = capacity.cpus - sum(flight.claimed_cpus for flight in heavy)
    free_bytes = capacity.memory_bytes - sum(flight.memory_bytes for flight in heavy)
    # Those that claim no CPU take long: nobody holds memory back for one that needs theirs, too.
    soon_free_bytes = capacity.memory_bytes - sum(each.memory_bytes for each in heavy if not each.claimed_cpus)
    drivers = sum(flight.drives for flight in flights)
    room = capacity.interactive_slots - (len(flights) - len(heavy) - drivers)
    share = share_of_cpus(
        capacity.cpus,
        granted=sum(flight.cpus for flight in heavy),
        at_work=len(heavy),
        waiting=_heavy_waiting(waiting.values(), jobs.values()),
    )
    for candidate in order:
        tracked = jobs[candidate.job_id]
        for unit in waiting.get(candidate.job_id, ()):
            if unit.needs.drives:
                if drivers < _DRIVERS:
                    return Start(tracked, unit, 0, 0, 0)
            elif not unit.needs.interactive:
                claimed_cpus = min(unit.needs.cpus, max(1, capacity.largest_cpus))
                if claimed_cpus > free or (not claimed_cpus and _beside(tracked, jobs.values()) >= capacity.cpus):
                    continue
                memory_bytes = _memory_of(unit.needs, capacity)
                if memory_bytes <= free_bytes:
                    cpus = grant_cpus(unit.needs, share=share, most=capacity.largest_cpus)
                    return Start(tracked, unit, cpus, claimed_cpus, memory_bytes)
                if memory_bytes <= soon_free_bytes:
                    free_bytes = 0  # what comes free is its own: smaller units mustn't overtake it for ever
            elif room > 0 and (unit.name != PLAN or _plans_now(tracked, jobs.values(), capacity, lift_s, now_s)):
                return Start(tracked, unit, 0, 0, 0)
    return None


def wanted_cpus(jobs: Iterable[Tracked]) -> int:
    """CPUs with which all that may be at work would be; a job that needs none of its own counts as one."""
    return sum(_wanted_by(tracked) for tracked in jobs)


def _wanted_by(tracked: Tracked) -> int:
    waiting = _startable(tracked)
    heavy = [unit for unit in waiting if not (unit.needs.interactive or unit.needs.drives)]
    cpus = sum(flight.claimed_cpus for flight in tracked.flights.values()) + sum(unit.needs.cpus for unit in heavy)
    return max(cpus, 1) if waiting or tracked.flights else 0


def _startable(tracked: Tracked) -> list[Unit]:
    if tracked.aim != "run" or tracked.failure or tracked.ending or tracked.state == State.PAUSED:
        return []
    units = next_units(tracked.plan, tracked.units, publishes=tracked.publishes) or []
    units = [unit for unit in units if unit.name not in tracked.flights]
    return units + tracked.batches.waiting(tracked.units, tracked.flights)


def _heavy_waiting(waiting: Iterable[Sequence[Unit]], jobs: Iterable[Tracked]) -> int:
    units = sum(not (unit.needs.interactive or unit.needs.drives) for units in waiting for unit in units)
    # Jobs about to be planned want their share too: the first of several mustn't take every CPU.
    return units + sum(job.plan is None and job.wanted == "run" and job.heavy for job in jobs)


def _beside(tracked: Tracked, jobs: Iterable[Tracked]) -> int:
    """Units at work that claim no CPU, of jobs that nobody asked to come behind this one.

    They take long, so at most as many run as there are CPUs; but a job of a higher priority waits for none below.
    """
    mine = class_of(tracked.priority)
    return sum(job.unclaimed for job in jobs if class_of(job.priority) >= mine)


def _memory_of(needs: Needs, capacity: Capacity) -> int:
    """What a heavy unit claims. One that wants more than any node has gets all of a node: it may do with less."""
    return min(needs.memory_bytes, capacity.largest_memory_bytes)


def _plans_now(tracked: Tracked, jobs: Iterable[Tracked], capacity: Capacity, lift_s: float, now_s: float) -> bool:
    """Whether a job may be planned now.

    To plan a heavy one takes an interactive child for long: one a node at once, and a queue of thousands is planned
    as it is worked off.
    """
    if not tracked.heavy:
        return True
    others = [other for other in jobs if other is not tracked and other.heavy]
    if sum(PLAN in other.flights for other in others) >= capacity.nodes:
        return False
    ahead = (other for other in others if other.plan and other.wanted == "run")
    mine = _class_of(tracked, lift_s, now_s)
    return sum(_class_of(other, lift_s, now_s) >= mine for other in ahead) < _PLANNED_JOBS


def _class_of(tracked: Tracked, lift_s: float, now_s: float) -> int:
    return effective_class(tracked.priority, tracked.waited_s(now_s), lift_s)
