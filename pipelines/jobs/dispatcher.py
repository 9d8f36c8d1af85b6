"""The dispatcher: a named actor that hands units of all running jobs to the cluster, and rebuilds itself from Redis.

It does one thing at a time: everything that happens (a line of the log, a unit that came back, a tick) is put on one
queue, and after some the next units are started. So no state needs a lock, and Redis has every change before Ray does.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import redis

from cluster.settings import Settings
from cluster.tracing import trace_id
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.cleaning import clean_up_after, forget_old
from pipelines.jobs.driver import Driver
from pipelines.jobs.ending import end_of
from pipelines.jobs.errors import StaleLeaderError, UnknownError
from pipelines.jobs.inbox import Inbox
from pipelines.jobs.lanes import Lanes
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Priority, State, Unit
from pipelines.jobs.orders import UnitReport
from pipelines.jobs.queue_facts import QueueFacts, facts_of
from pipelines.jobs.shares import Shares
from pipelines.jobs.starting import Start, next_start, order_of, wanted_cpus
from pipelines.jobs.states import PLAN, PUBLISH, next_units, state_for
from pipelines.jobs.store_records import LogEntry, UnreadableRecordError
from pipelines.jobs.tracking import Flight, Tracked
from pipelines.jobs.unit_records import PLACE_LOST, UnitRecords
from pipelines.jobs.work_metrics import MEDIA_SECONDS

_TICK_S = 1.0
_RETENTION_EVERY_S = 60.0
_SILENT_S = 2.0
_UNPLACED_S = 120.0  # Ray looks for room, or starts a process on a machine that is busy
_FORCE_AFTER_S = 1.2  # a worker that doesn't end its unit by itself is ended: a cancel is done in under 2 s
_GONE_WITHIN_S = 5.0  # then its process is waited for, which may still write: unless its node can't be reached
_PATIENCE = 1_000_000  # Redis away: wait, the running units go on
_log = logging.getLogger("mediaray.dispatcher")


class Dispatcher:
    """Hands out units. ``lanes`` are where they run; tests give lanes that only pretend."""

    def __init__(self, settings: Settings, redis_url: str, catalogue: Catalogue, lanes: Lanes) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._lanes = lanes
        self._store = LeaderStore(redis_url, patience=_PATIENCE)
        self._jobs: dict[str, Tracked] = {}
        self._inbox = Inbox()
        self._served = 0
        self._shares = Shares()
        self._records = UnitRecords(self._store, self._shares, settings)
        self._cursor = "0-0"
        self._busy_at = time.monotonic()
        self._retained_at = float("-inf")
        self._silent: dict[tuple[str, str], float] = {}
        self.draining = False
        self.leading = asyncio.Event()
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Lead until another dispatcher does. Raises what goes wrong in it: a fresh one rebuilds everything."""
        try:
            await self._begin()
            self._inbox.spawn(self._follow())
            self._inbox.spawn(self._tick())
            await self._inbox.deal_with(self._do, then=self._pump)
        except StaleLeaderError:
            _log.warning("another dispatcher leads now")
        finally:
            self._inbox.close()
            self.ended.set()

    async def drain(self, grace_s: float) -> None:
        """Start nothing more for as long as it lives; give running units ``grace_s`` to finish, then take them back."""
        self.draining = True
        deadline = time.monotonic() + grace_s
        while self._flights() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for tracked in list(self._jobs.values()):
            for name in list(tracked.flights):
                self._inbox.put(self._drop(tracked, name))
        while self._flights() and time.monotonic() < deadline + _FORCE_AFTER_S + _GONE_WITHIN_S:
            await asyncio.sleep(0.05)

    async def do_batch(self, driver: Driver, batch: Unit) -> UnitReport:
        """Do a unit that a running one asks for, in its turn; how it went."""
        answer: asyncio.Future[UnitReport] = asyncio.get_running_loop().create_future()
        self._inbox.put(self._ask(driver, batch, answer))
        return await answer

    async def forget_batches(self, driver: Driver, names: Sequence[str]) -> None:
        """Forget batches that were done, and that their driver needs no more."""
        self._inbox.put(self._forget_batches(driver, names))

    async def warm(self) -> None:
        """Get the lanes ready for the first jobs."""
        await self._lanes.warm()

    def idle_s(self) -> float:
        """How long there has been nothing to do."""
        return 0.0 if self._jobs else time.monotonic() - self._busy_at

    def facts(self) -> QueueFacts:
        """How it stands, for metrics and for capacity."""
        return facts_of(self._jobs.values(), self._lanes, time.time(), time.monotonic())

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Deal with one thing that happened; a job whose record turns out to be damaged is set aside."""
        try:
            await work
        except UnreadableRecordError as error:
            await self._set_aside(error.job_id, str(error))

    async def _set_aside(self, job_id: str, reason: str) -> None:
        _log.error("a job is set aside: %s", reason, extra={"job": job_id})
        if tracked := self._forget(job_id):
            for flight in tracked.flights.values():
                self._lanes.abandon(flight.ticket)
            tracked.flights.clear()
        await self._store.quarantine(self._records.epoch, job_id, reason)

    # What happens

    async def _begin(self) -> None:
        self._records.epoch = await self._store.lead()
        self._cursor = await self._store.log_end()
        active = await self._store.active()
        await self._lanes.start(set(active))
        for job_id in active:
            await self._do(self._adopt(job_id))
        self.leading.set()
        self._inbox.put(self._pump())

    async def _follow(self) -> None:
        while not self.ended.is_set():  # the Redis client may swallow a cancel that comes while it talks
            try:
                entries = await self._store.read_log(self._cursor, block_ms=5000)
            except redis.RedisError as error:
                _log.warning("the log can't be read: %s", type(error).__name__)
                await asyncio.sleep(0.2)
                continue
            for entry in entries:
                self._cursor = entry.id
                if _concerns(entry):
                    self._inbox.put(self._take(entry))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            looked = asyncio.Event()  # one at a time: while Redis is away they would pile up
            self._inbox.put(self._look(looked))
            await looked.wait()

    async def _look(self, looked: asyncio.Event) -> None:
        try:
            await self._look_around()
        finally:
            looked.set()

    async def _take(self, entry: LogEntry) -> None:
        tracked = self._jobs.get(entry.job_id)
        if entry.type == "state" and tracked is None:
            await self._adopt(entry.job_id)
        elif entry.type == "want" and tracked is not None:
            tracked.want(entry.body)
            await self._advance(tracked)
        elif entry.type == "want":
            await self._adopt(entry.job_id)
        elif entry.type == "priority" and tracked is not None:
            tracked.give_priority(Priority(entry.body))

    async def _adopt(self, job_id: str) -> None:
        """Take on a job from the store. Nobody waits for units that an earlier dispatcher started: they are lost."""
        try:
            loaded = await self._store.load(job_id)
            tracked = Tracked.of(loaded, heavy=self._is_heavy(loaded.job.operation))
        except UnknownError:
            return
        if loaded.job.operation not in self._catalogue:
            await self._set_aside(job_id, f"no operation {loaded.job.operation}")
            return
        if job_id in self._jobs or loaded.job.finished_at is not None:
            return
        self._jobs[job_id] = tracked
        if tracked.plan and tracked.state != State.PAUSED:
            self._shares.enter(tracked.job.owner, job_id)
        await self._records.take_back(tracked)
        await self._advance(tracked)

    def _forget(self, job_id: str) -> Tracked | None:
        """Take a job off; it, where it was there."""
        if tracked := self._jobs.pop(job_id, None):
            self._shares.leave(tracked.job.owner, job_id)
        return tracked

    async def _ask(self, driver: Driver, batch: Unit, answer: asyncio.Future[UnitReport]) -> None:
        tracked = self._jobs.get(driver.job_id)
        flight = tracked.flights.get(driver.unit) if tracked else None
        if tracked is None or flight is None or flight.fence != driver.fence or flight.dropped_at is not None:
            answer.set_result(UnitReport("dropped"))
        elif tracked.status(batch.name).state == "done":
            answer.set_result(UnitReport("done"))
        else:
            tracked.batches.ask(batch, answer)

    async def _forget_batches(self, driver: Driver, names: Sequence[str]) -> None:
        tracked = self._jobs.get(driver.job_id)
        if tracked is None or tracked.status(driver.unit).fence != driver.fence:
            return
        names = [name for name in names if name not in tracked.flights]
        await self._store.forget_units(self._records.epoch, driver.job_id, names)
        for name in names:
            tracked.units.pop(name, None)

    async def _landed(self, tracked: Tracked, name: str, fence: int, report: UnitReport | Exception) -> None:
        flight = tracked.flights.get(name)
        if flight is None or flight.fence != fence:
            return
        tracked.land(name)
        if isinstance(report, Exception) and flight.dropped_at is not None:
            report = UnitReport("dropped")
        if isinstance(report, Exception):
            of = {"job": tracked.job.id, "unit": name, "operation": tracked.job.operation}
            extra = {**of, **trace_id(tracked.job.trace)}
            _log.warning("a unit lost its place: %s", type(report).__name__, extra=extra)
        if flight.through:
            name, fence = await self._records.catch_up(tracked, name, fence)
            tracked.cleaned_up = isinstance(report, UnitReport) and report.cleaned_up
        if isinstance(report, Exception):
            await self._records.release(tracked, name, fence, "lost", PLACE_LOST, flight=flight)
        elif report.outcome == "failed":
            await self._records.release(tracked, name, fence, "failed", report.error, flight=flight)
        elif report.outcome == "dropped" or (flight.through and tracked.status(name).state == "running"):
            await self._records.release(tracked, name, fence, "dropped", flight=flight)
        elif not flight.through:
            await self._records.done(tracked, name)
        if name in tracked.batches and tracked.status(name).state == "done":
            took_s = report.took_s if isinstance(report, UnitReport) else None
            tracked.batches.settle(name, UnitReport("done", took_s=took_s))
        if flight.drives:
            await self._drop_batches(tracked)
        self._count_media(tracked)
        await self._advance(tracked)

    def _count_media(self, tracked: Tracked) -> None:
        done_s = tracked.media_done_s
        if done_s > tracked.counted_s:  # it is less after another plan has replaced the first
            MEDIA_SECONDS.labels(tracked.job.operation).inc(done_s - tracked.counted_s)
            tracked.counted_s = done_s

    async def _look_around(self) -> None:
        await self._lanes.want(wanted_cpus(self._jobs.values()))
        await self._lanes.refresh()
        expired = await self._store.expired_leases()
        now = time.monotonic()
        # Twice in a row: after Redis was away, leases have run out whose workers are well and about to renew them.
        self._silent = {key: self._silent.get(key, now) for key in expired}
        for job_id, name in expired:
            tracked = self._jobs.get(job_id)
            at = tracked.flight_of(name) if tracked else None
            if tracked is None or at is None or now - self._silent[(job_id, name)] < _SILENT_S:
                continue
            flight = tracked.flights[at]
            silent: UnitReport | Exception = TimeoutError("its worker is silent")
            if flight.cpus and not (await self._store.unit(job_id, name)).began:  # it has no worker yet: nobody's fault
                if now - self._silent[(job_id, name)] < _UNPLACED_S:
                    continue
                silent = UnitReport("dropped")
            self._lanes.abandon(flight.ticket)
            await self._landed(tracked, at, flight.fence, silent)
        for tracked in list(self._jobs.values()):
            await self._advance(tracked)
        if time.monotonic() - self._retained_at > _RETENTION_EVERY_S:
            self._retained_at = time.monotonic()
            self._inbox.spawn(forget_old(self._store, self._lanes, self._settings))

    # What follows from it

    async def _advance(self, tracked: Tracked) -> None:
        """Bring a job on: end it, stop it, or let it wait for its units."""
        aim = tracked.aim
        stopping = tracked.failure is not None or aim != "run"
        if stopping:
            grace_s = self._settings.pause_grace_s if aim == "pause" and not tracked.failure else 0.0
            if tracked.only_drives or time.monotonic() - tracked.stopping_since >= grace_s:
                for name in list(tracked.flights):
                    await self._drop(tracked, name)
        if tracked.flights or tracked.ending:
            return
        finished = next_units(tracked.plan, tracked.units, publishes=tracked.publishes) is None
        if finished and not tracked.failure:
            self._end(tracked, State.SUCCEEDED)
        elif aim == "cancel":
            self._end(tracked, State.CANCELLED)
        elif tracked.failure:
            self._end(tracked, State.FAILED)
        elif aim == "pause" and tracked.state != State.PAUSED:
            await self._store.move(self._records.epoch, tracked.job.id, State.PAUSED)
            tracked.state = State.PAUSED
            self._shares.leave(tracked.job.owner, tracked.job.id)
        elif aim == "run" and tracked.state == State.PAUSED:
            await self._store.move(self._records.epoch, tracked.job.id, State.QUEUED)
            tracked.state = State.QUEUED
            self._shares.enter(tracked.job.owner, tracked.job.id)

    async def _drop(self, tracked: Tracked, name: str) -> None:
        """Take a running unit away. Its worker sees that its fence moved on; if it doesn't, it is ended."""
        flight = tracked.flights.get(name)
        if flight is None:
            return
        if flight.dropped_at is None:
            at = await self._records.catch_up(tracked, name, flight.fence) if flight.through else (name, flight.fence)
            if at[0] == PUBLISH:  # some of it may be seen already: it is done to its end
                return
            flight.dropped_at = time.monotonic()
            await self._records.release(tracked, *at, "dropped", flight=flight)
            if flight.drives:
                await self._drop_batches(tracked)
            self._inbox.spawn(self._force(tracked, name, flight))

    async def _drop_batches(self, tracked: Tracked) -> None:
        """Tell a driver that what it waits for doesn't come any more, and take it away."""
        for batch in tracked.batches.forget():
            await self._drop(tracked, batch)

    async def _force(self, tracked: Tracked, name: str, flight: Flight) -> None:
        await asyncio.sleep(_FORCE_AFTER_S)
        if tracked.flights.get(name) is flight:
            if self._lanes.abandon(flight.ticket):
                await asyncio.sleep(_GONE_WITHIN_S)
            self._inbox.put(self._landed(tracked, name, flight.fence, UnitReport("dropped")))

    def _end(self, tracked: Tracked, state: State) -> None:
        tracked.ending = True
        self._inbox.spawn(self._finish(tracked, state))

    async def _finish(self, tracked: Tracked, state: State) -> None:
        """Clean up first, then say the end: whoever hears of it finds nothing left behind that could be removed."""
        await clean_up_after(tracked, self._lanes, succeeded=state == State.SUCCEEDED)
        self._inbox.put(self._say_end(tracked, state))

    async def _say_end(self, tracked: Tracked, state: State) -> None:
        end = end_of(self._settings, tracked, state)
        await self._store.move(self._records.epoch, tracked.job.id, state, owed=end.owed, **end.fields)
        of = {"job": tracked.job.id, "operation": tracked.job.operation, **trace_id(tracked.job.trace)}
        code = {"code": end.failure.code} if end.failure else {}
        _log.info("a job %s", "was cancelled" if state == State.CANCELLED else state, extra={**of, **code})
        self._forget(tracked.job.id)
        self._busy_at = time.monotonic()

    async def _pump(self) -> None:
        """Start what may start, in order."""
        while not self.draining:
            start = next_start(self._jobs, self._shares, self._lanes, self._settings.priority_lift_s, time.time())
            if start is None or not await self._launch(start):
                return

    async def _launch(self, start: Start) -> bool:
        tracked, unit = start.tracked, start.unit
        job, state = tracked.job, state_for(unit.name)
        fence = await self._store.lease(self._records.epoch, job.id, unit.name, self._settings.lease_s, state)
        if fence is None:  # a control that is on its way through the log, or a worker that went on meanwhile
            await self._records.learn(tracked)
            self._inbox.put(self._advance(tracked))
            return False
        self._served += 1
        cost_s = start.cpus * unit.needs.seconds
        self._shares.begin(job.owner, job.id, cost_s)
        tracked.last_served, tracked.launched, tracked.state = self._served, True, state
        tracked.units[unit.name] = tracked.status(unit.name).model_copy(update={"state": "running", "fence": fence})
        module = self._catalogue.module_of(job.operation)
        through = unit.name == PLAN and not tracked.heavy
        order = order_of(start, module, fence, slots=self._slots(unit), through=through)
        ticket = self._lanes.start_unit(order)
        tracked.flights[unit.name] = Flight.of(order, ticket, charged_s=cost_s)
        self._inbox.spawn(self._await(tracked, unit.name, fence, ticket))
        return True

    def _slots(self, unit: Unit) -> int:
        """CPUs that a plan reckons with; one that drives outlives the cluster's size, and so with those to come."""
        may_come = self._settings.most_cpus if "most_cpus" in self._settings.model_fields_set else 1
        return max(self._lanes.cpus, may_come if unit.needs.drives else 1)

    async def _await(self, tracked: Tracked, name: str, fence: int, ticket: Any) -> None:
        try:
            report: UnitReport | Exception = await self._lanes.result(ticket)
        except Exception as error:  # noqa: BLE001 whatever Ray says, the place is gone
            report = error
        self._inbox.put(self._landed(tracked, name, fence, report))

    def _is_heavy(self, operation: str) -> bool:
        return operation in self._catalogue and not self._catalogue[operation].interactive

    def _flights(self) -> int:
        return sum(len(tracked.flights) for tracked in self._jobs.values())


def _concerns(entry: LogEntry) -> bool:
    """Whether it is news to a dispatcher: most of the log is what it wrote itself."""
    return entry.type in ("want", "priority") or (entry.type == "state" and entry.state == State.QUEUED)
