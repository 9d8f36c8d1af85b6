"""What the store says of units, and what a dispatcher holds of them, brought together: learned, or taken back."""

from cluster.settings import Settings
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import JobError
from pipelines.jobs.orders import UnitReport
from pipelines.jobs.shares import Shares
from pipelines.jobs.states import JOIN, PLAN, after_failure
from pipelines.jobs.tracking import Flight, Tracked
from pipelines.jobs.work_metrics import RETURNED

PLACE_LOST = JobError(code="place_lost", message="Its worker or node went away again and again.", retryable=True)


class UnitRecords:
    """Of the leader of ``epoch``: each change is refused when another leads, with StaleLeaderError."""

    def __init__(self, store: LeaderStore, shares: Shares, settings: Settings) -> None:
        self.epoch = 0
        self._store = store
        self._shares = shares
        self._settings = settings

    async def learn(self, tracked: Tracked) -> None:
        """Take what the store has for what is true."""
        loaded = await self._store.load(tracked.job.id)
        tracked.want(loaded.job.want)
        tracked.take_over(loaded)
        await self.take_back(tracked)

    async def take_back(self, tracked: Tracked) -> None:
        """Release the units that run with nobody here who waits for them."""
        for name, status in list(tracked.units.items()):
            if status.state == "running" and name not in tracked.flights:
                await self.release(tracked, name, status.fence, "lost", PLACE_LOST)

    async def catch_up(self, tracked: Tracked, name: str, fence: int) -> tuple[str, int]:
        """Learn how far a worker came that went through several units: the last one that it had, and its fence."""
        loaded = await self._store.load(tracked.job.id)
        tracked.take_over(loaded)
        for unit, status in loaded.units.items():
            if status.state == "running" and unit not in tracked.flights:
                return unit, status.fence
        return name, fence

    async def release(
        self,
        tracked: Tracked,
        name: str,
        fence: int,
        why: str,
        error: JobError | None = None,
        *,
        flight: Flight | None = None,
    ) -> None:
        """Take a unit back, and see what follows: it is done after all, it is tried again, or its job fails."""
        status = await self._store.release(self.epoch, tracked.job.id, name, fence, why)
        tracked.units[name] = status
        if status.state != "done":
            RETURNED.labels(tracked.job.operation, why).inc()
        if flight is not None and status.state != "done" and not status.began:  # a place that was lost costs nobody
            self._shares.give_back(tracked.job.owner, tracked.job.id, flight.charged_s)
            flight.charged_s = 0.0
        if status.state == "done" or name == JOIN:  # committed just before; or the join wants something else done
            await self.done(tracked, name)
        if status.state != "done" and error is not None:
            verdict = after_failure(
                status,
                retryable=error.retryable,
                max_attempts=self._settings.max_attempts,
                max_lost_places=self._settings.max_lost_places,
            )
            if verdict == "fail" and name in tracked.batches:
                tracked.batches.settle(name, UnitReport("failed", error))
            elif verdict == "fail":
                tracked.failure = error.model_copy(update={"unit": name})

    async def done(self, tracked: Tracked, name: str) -> None:
        """Learn what a unit has left in the store: a manifest, or, of the join, another plan or units to do again."""
        if name in (PLAN, JOIN):
            tracked.take_over(await self._store.load(tracked.job.id))
            self._shares.enter(tracked.job.owner, tracked.job.id)  # until now it had nothing that takes time
        else:
            tracked.units[name] = await self._store.unit(tracked.job.id, name)
