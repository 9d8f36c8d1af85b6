"""Lanes that only pretend: the test says what becomes of each unit. The store is real."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Artifact, JobError, Joined, Needs, Plan, Unit
from pipelines.jobs.orders import UnitOrder, UnitReport
from pipelines.jobs.unit_store import UnitStore

HEAVY = Needs(cpus=1, max_cpus=1, seconds=30)


@dataclass
class Ticket:
    order: UnitOrder
    report: asyncio.Future[UnitReport]

    @property
    def name(self) -> str:
        return f"{self.order.job_id}/{self.order.unit.name}"


@dataclass
class PretendLanes:
    """Plans, joins and publishes at once; leaves other units to the test, unless ``works`` is set.

    ``ends``: what is abandoned ends, and is lost when the test says so.
    """

    units: UnitStore
    cpus: int = 2
    largest_cpus: int = 64
    memory_bytes: int = 16 << 30
    largest_memory_bytes: int = 16 << 30
    interactive_slots: int = 4
    nodes: int = 1
    plans: dict[str, Plan] = field(default_factory=dict)
    works: bool = False
    artifacts: tuple[Artifact, ...] = ()
    tickets: list[Ticket] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    cleaned: list[tuple[str, bool]] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    swept: int = 0
    by_hand: set[str] = field(default_factory=set)
    placed: bool = True
    ends: bool = False
    lease_s: float = 30.0
    wanted_cpus: int | None = None

    def __post_init__(self) -> None:
        self._news = asyncio.Event()

    async def start(self, active: set[str]) -> None: ...

    async def refresh(self) -> None: ...

    async def want(self, cpus: int) -> None:
        self.wanted_cpus = cpus
        self._tell()

    async def warm(self) -> None: ...

    def start_unit(self, order: UnitOrder) -> Ticket:
        ticket = Ticket(order, asyncio.get_running_loop().create_future())
        self.tickets.append(ticket)
        name = order.unit.name
        if order.cpus and self.placed:
            self.units.renew(order.job_id, name, order.fence, self.lease_s)
        if name not in self.by_hand and (self.works or name in ("plan", "join", "publish")):
            self.done(ticket)
        self._tell()
        return ticket

    async def result(self, ticket: Ticket) -> UnitReport:
        return await asyncio.shield(ticket.report)  # the unit goes on when its dispatcher ends

    def abandon(self, ticket: Ticket) -> bool:
        self.abandoned.append(ticket.name)
        self._tell()
        return self.ends

    async def sweep_kept(self) -> None:
        self.swept += 1
        self._tell()

    async def clean_up(self, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None:
        self.discarded += keys
        self.cleaned.append((job_id, artifacts))
        self._tell()

    # For the test

    def done(self, ticket: Ticket) -> None:
        """The worker does the unit and tries to commit it."""
        order = ticket.order
        manifest = self._manifest(order)
        held = self.units.commit(order.job_id, order.unit.name, order.fence, manifest)
        self.report(ticket, UnitReport("done" if held else "dropped"))

    def goes_through(self, ticket: Ticket, *names: str, lease_s: float = 60.0) -> int:
        """The worker commits the unit and takes each of these in turn; the last it has not done yet. Its fence."""
        order = ticket.order
        for name in names:
            manifest = self._manifest(order)
            _, fence = self.units.commit_and_take(order.job_id, order.unit.name, order.fence, manifest, name, lease_s)
            assert fence is not None
            order = replace(order, unit=Unit(name=name), fence=fence)
        ticket.order = order
        return order.fence

    def fails(self, ticket: Ticket, *, retryable: bool = True) -> None:
        error = JobError(code="encode_failed", message="No.", retryable=retryable, unit=ticket.order.unit.name)
        self.report(ticket, UnitReport("failed", error))

    def report(self, ticket: Ticket, report: UnitReport) -> None:
        if not ticket.report.done():
            ticket.report.set_result(report)

    def lost(self, ticket: Ticket) -> None:
        ticket.report.set_exception(ConnectionError("the worker is gone"))

    def started(self, unit: str | None = None) -> list[Ticket]:
        own = [each for each in self.tickets if each.order.unit.name not in ("plan", "join", "publish")]
        return own if unit is None else [each for each in self.tickets if each.order.unit.name == unit]

    async def until(self, true: Callable[[], Any], limit_s: float = 5.0) -> None:
        async with asyncio.timeout(limit_s):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def start_of(self, count: int, unit: str | None = None) -> Ticket:
        """The ``count``-th start of a unit (of any of the plan's without a name)."""
        await self.until(lambda: len(self.started(unit)) >= count)
        return self.started(unit)[count - 1]

    def _tell(self) -> None:
        self._news.set()

    def _manifest(self, order: UnitOrder) -> str:
        if order.unit.name == "plan":
            return self.plans.get(order.job_id, plan_of("a")).model_dump_json()
        if order.unit.name == "join":
            staged = tuple(f"{each.path}.part" for each in self.artifacts)
            return Joined(result={"text": "done"}, artifacts=self.artifacts, staged=staged).model_dump_json()
        return '{"folder": "a", "manifest": {}}'


def plan_of(*names: str, needs: Needs = HEAVY) -> Plan:
    return Plan(units=tuple(Unit(name=name, needs=needs) for name in names))


async def until_state(store: LeaderStore, job_id: str, *states: str, limit_s: float = 5.0) -> str:
    """Wait, on the store's log, until a job is in one of the states."""
    cursor = await store.log_end()
    async with asyncio.timeout(limit_s):
        while (state := (await store.get(job_id)).state) not in states:
            entries = await store.read_log(cursor, block_ms=1000)
            cursor = entries[-1].id if entries else cursor
    return state
