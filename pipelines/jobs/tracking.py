"""What the dispatcher holds in memory of each active job. All of it can be read again from the store."""

import time
from dataclasses import dataclass, field
from typing import Any, Self, cast

from pipelines.jobs.batches import Batches
from pipelines.jobs.models import Job, JobError, Joined, Plan, Priority, State, UnitStatus, Want
from pipelines.jobs.orders import UnitOrder
from pipelines.jobs.schedule import Candidate
from pipelines.jobs.shares import Shares
from pipelines.jobs.states import PUBLISH
from pipelines.jobs.store_records import LoadedJob

_UNKNOWN = UnitStatus()


@dataclass
class Flight:
    """A unit on its way: its fence, the CPUs it may use, the CPUs and the memory it holds, the lane's ticket for it.

    0 CPUs: it is interactive, or ``drives``. ``through``: its worker goes on with what follows. ``began`` by the
    monotonic clock. ``charged_s`` is what its job has been given with it, in CPU-seconds.
    """

    fence: int
    cpus: int
    claimed_cpus: int
    memory_bytes: int
    ticket: Any
    through: bool = False
    drives: bool = False
    dropped_at: float | None = None
    estimate_s: float = 0.0
    charged_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, order: UnitOrder, ticket: Any, charged_s: float) -> Self:
        """The flight of what was ordered just now."""
        needs = order.unit.needs
        return cls(
            *(order.fence, order.cpus, order.claimed_cpus, order.memory_bytes, ticket),
            through=order.through,
            drives=needs.drives,
            estimate_s=needs.seconds,
            charged_s=charged_s,
        )


@dataclass
class Tracked:
    """An active job. ``waiting_since_s``, since the epoch, counts while none of its units is on its way."""

    job: Job
    state: State
    priority: Priority
    wanted: Want
    units: dict[str, UnitStatus]
    plan: Plan | None
    joined: Joined | None
    heavy: bool  # its operation isn't planned at once, even behind a long queue
    waiting_since_s: float
    flights: dict[str, Flight] = field(default_factory=dict)
    batches: Batches = field(default_factory=Batches)
    last_served: int = 0
    launched: bool = False
    counted_s: float = 0.0  # of ``media_done_s``, for metrics
    ending: bool = False
    cleaned_up: bool = False
    failure: JobError | None = None
    stopping_since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, loaded: LoadedJob, *, heavy: bool) -> "Tracked":
        job = loaded.job
        # When one that was served already was served last, the store doesn't tell.
        since_s = job.created_at / 1000 if job.started_at is None else time.time()
        tracked = cls(
            job,
            job.state,
            job.priority,
            job.want,
            units={},
            plan=None,
            joined=None,
            heavy=heavy,
            waiting_since_s=since_s,
        )
        tracked.take_over(loaded)
        tracked.counted_s = tracked.media_done_s  # by an earlier dispatcher
        return tracked

    def take_over(self, loaded: LoadedJob) -> None:
        """Take what the store has of its units, plan and result."""
        self.state = loaded.job.state
        self.units = dict(loaded.units)
        self.plan, self.joined = loaded.plan, loaded.joined

    def flight_of(self, unit: str) -> str | None:
        """The flight that a unit is on: one of its own, or one that goes through."""
        if unit in self.flights:
            return unit
        return next((name for name, flight in self.flights.items() if flight.through), None)

    @property
    def only_drives(self) -> bool:
        """Whether nothing of it is at work but a driver, which waits for batches."""
        return all(flight.drives for flight in self.flights.values())

    def status(self, unit: str) -> UnitStatus:
        return self.units.get(unit, _UNKNOWN)

    def want(self, want: str) -> None:
        if want != self.wanted:
            self.wanted = cast("Want", want)
            self.stopping_since = time.monotonic()
            self.waiting_since_s = time.time()  # a paused job doesn't wait

    def give_priority(self, priority: Priority) -> None:
        """Its waiting begins anew: what is asked for now counts, not what the old one was lifted to."""
        self.priority = priority
        self.waiting_since_s = time.time()

    def land(self, name: str) -> None:
        """A unit isn't on its way any more."""
        del self.flights[name]
        self.waiting_since_s = time.time()

    def waited_s(self, now_s: float) -> float:
        """How long it has waited; ``now_s`` is since the epoch."""
        return 0.0 if self.flights else now_s - self.waiting_since_s

    @property
    def aim(self) -> Want:
        """What is wanted of it. But what has begun to be published may be seen in part: it is published to its end."""
        return "run" if self.status(PUBLISH).fence else self.wanted

    @property
    def publishes(self) -> bool:
        return bool(self.joined and self.joined.artifacts)

    @property
    def media_done_s(self) -> float:
        """How much playing time its finished units stand for, by their shares of what all were to take."""
        if self.plan is None or self.plan.media_s is None:
            return 0.0
        shares = {unit.name: unit.needs.seconds for unit in self.plan.units}
        done = sum(seconds for name, seconds in shares.items() if self.status(name).state == "done")
        return self.plan.media_s * done / (sum(shares.values()) or 1.0)

    @property
    def cpus_in_use(self) -> int:
        return sum(flight.cpus for flight in self.flights.values())

    @property
    def unclaimed(self) -> int:
        """Heavy units on their way that hold no CPU."""
        return sum(flight.cpus > 0 and flight.claimed_cpus == 0 for flight in self.flights.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        planned = self.plan.warnings if self.plan else ()
        joined = self.joined.warnings if self.joined else ()
        return tuple(dict.fromkeys((*planned, *joined)))

    def candidate(self, now_s: float, shares: Shares) -> Candidate:
        return Candidate(
            self.job.id,
            self.job.owner,
            self.priority,
            self.job.created_at,
            self.waited_s(now_s),
            self.cpus_in_use,
            self.last_served,
            shares.of_job(self.job.owner, self.job.id),
            shares.of_owner(self.job.owner),
        )
