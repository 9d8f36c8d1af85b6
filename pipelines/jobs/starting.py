"""Which unit starts next, and with what of the cluster: turns, room and plans ahead. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.jobs.models import Needs, Priority, State, Unit
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
    free = _Free(jobs.values(), capacity, lift_s, now_s)
    # Before they are put in order: of a long queue nearly none fits.
    fitting = {job_id: [unit for unit in units if free.fits(jobs[job_id], unit)] for job_id, units in waiting.items()}
    if not any(fitting.values()):
        return None
    # Those at work are put in order, too: what they hold counts for their key's share.
    active = (tracked for job_id, tracked in jobs.items() if tracked.flights or fitting.get(job_id))
    candidates = (tracked.candidate(now_s, shares) for tracked in active)
    for candidate in in_order(candidates, lift_s=lift_s, owners_served=_owners_served(jobs.values())):
        tracked = jobs[candidate.job_id]
        for unit in fitting.get(candidate.job_id, ()):
            if unit.needs.drives or unit.needs.interactive:
                return Start(tracked, unit, 0, 0, 0)
            if (memory_bytes := free.memory_for(unit.needs)) is not None:
                share = share_of_cpus(
                    capacity.cpus,
                    granted=sum(flight.cpus for flight in free.heavy),
                    at_work=len(free.heavy),
                    waiting=_heavy_waiting(waiting.values(), jobs.values()),
                )
                cpus = grant_cpus(unit.needs, share=share, most=capacity.largest_cpus)
                return Start(tracked, unit, cpus, free.claimed_cpus(unit.needs), memory_bytes)
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


def _owners_served(jobs: Iterable[Tracked]) -> Mapping[str, int]:
    """The last turn of each owner, also by jobs of which nothing fits now."""
    served: dict[str, int] = {}
    for tracked in jobs:
        owner = tracked.job.owner
        served[owner] = max(served.get(owner, 0), tracked.last_served)
    return served


class _Free:
    """What isn't in use, and what of it a unit would take. ``heavy``: the units at work that hold, or use, CPUs."""

    def __init__(self, jobs: Collection[Tracked], capacity: Capacity, lift_s: float, now_s: float) -> None:
        flights = [flight for tracked in jobs for flight in tracked.flights.values()]
        self.heavy = [flight for flight in flights if flight.cpus]
        self._capacity = capacity
        self._cpus = capacity.cpus - sum(flight.claimed_cpus for flight in self.heavy)
        self._drivers = sum(flight.drives for flight in flights)
        self._children = capacity.interactive_slots - (len(flights) - len(self.heavy) - self._drivers)
        self._bytes = capacity.memory_bytes - sum(flight.memory_bytes for flight in self.heavy)
        # Those that claim no CPU take long: nobody holds memory back for one that needs theirs, too.
        lasting = (flight for flight in self.heavy if not flight.claimed_cpus)
        self._soon_bytes = capacity.memory_bytes - sum(flight.memory_bytes for flight in lasting)
        self._beside = _beside(jobs)
        self._plans = _Plans(jobs, capacity.nodes, lift_s, now_s)

    def fits(self, tracked: Tracked, unit: Unit) -> bool:
        """Whether there is room for it, but for memory, which goes by whose turn it is."""
        if unit.needs.drives:
            return self._drivers < _DRIVERS
        if unit.needs.interactive:
            return self._children > 0 and (unit.name != PLAN or self._plans.have_room_for(tracked))
        claimed = self.claimed_cpus(unit.needs)
        return claimed <= self._cpus if claimed else self._beside[class_of(tracked.priority)] < self._capacity.cpus

    def claimed_cpus(self, needs: Needs) -> int:
        return min(needs.cpus, max(1, self._capacity.largest_cpus))

    def memory_for(self, needs: Needs) -> int | None:
        """What a heavy unit claims, all of a node at most, where it may do with less; None: it isn't free.

        To be asked in order: what comes free soon is kept for who can't have it yet.
        """
        claimed_bytes = min(needs.memory_bytes, self._capacity.largest_memory_bytes)
        if claimed_bytes <= self._bytes:
            return claimed_bytes
        if claimed_bytes <= self._soon_bytes:
            self._bytes = 0  # smaller units mustn't overtake it for ever
        return None


def _beside(jobs: Iterable[Tracked]) -> Sequence[int]:
    """Units at work that claim no CPU, of jobs that nobody asked to come behind one of a class: by class.

    They take long, so at most as many run as there are CPUs; but a job of a higher priority waits for none below.
    """
    by_class = [0] * len(Priority)
    for job in jobs:
        for mine in range(class_of(job.priority) + 1) if job.flights else ():
            by_class[mine] += job.unclaimed
    return by_class


class _Plans:
    """Which jobs may be planned now.

    To plan a heavy one takes an interactive child for long: one a node at once, and a queue of thousands is planned
    as it is worked off.
    """

    def __init__(self, jobs: Iterable[Tracked], nodes: int, lift_s: float, now_s: float) -> None:
        heavy = [job for job in jobs if job.heavy]
        self._lift_s, self._now_s = lift_s, now_s
        self._under_way = sum(PLAN in job.flights for job in heavy) >= nodes
        ahead = [_class_of(job, lift_s, now_s) for job in heavy if job.plan and job.wanted == "run"]
        self._full = [sum(each >= mine for each in ahead) >= _PLANNED_JOBS for mine in range(len(Priority))]

    def have_room_for(self, tracked: Tracked) -> bool:
        if not tracked.heavy:
            return True
        return not self._under_way and not self._full[_class_of(tracked, self._lift_s, self._now_s)]


def _class_of(tracked: Tracked, lift_s: float, now_s: float) -> int:
    return effective_class(tracked.priority, tracked.waited_s(now_s), lift_s)
