"""A replica's feed of progress: it follows the registry, for all the clients of this replica.

An event is encoded once, however many clients watch the job. A client that lags loses events, not memory: its queue
is emptied and a snapshot stands for what it missed.
"""

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from pipelines.jobs.board import Event
from pipelines.jobs.models import State
from pipelines.jobs.service import JobService
from pipelines.jobs.states import TERMINAL
from serve.views import event_of

QUEUE = 64
LOOK_S = 15.0  # how often a silent job is looked up in the store: the truth, should an event be lost
LATEST = 10_000
LATEST_DONE = 500  # of jobs that succeeded, for who has just read them: after that the store tells all of them
_log = logging.getLogger("mediaray.feed")


class Registry(Protocol):
    """The registry as a replica sees it. Any exception means: away, try again."""

    async def follow(self, epoch: int, cursor: int) -> tuple[int, int, list[Event] | None]:
        """``(epoch, cursor, events)`` after a cursor, at news or after a while. Events None: some are lost."""

    async def attach(self, job_id: str, epoch: int, seq: int) -> list[Event] | None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Encoded:
    """An event and its JSON."""

    event: Event
    text: str

    @classmethod
    def of(cls, event: Event) -> "Encoded":
        return cls(event, json.dumps(event))

    @property
    def terminal(self) -> bool:
        return self.event["state"] in TERMINAL


class Subscription:
    """What a client has to be told. ``None`` in the queue: events were lost, attach anew."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Encoded | None] = asyncio.Queue()

    def put(self, event: Encoded | None) -> None:
        if event is None or self.queue.qsize() >= QUEUE:
            while not self.queue.empty():
                self.queue.get_nowait()
            event = None
        self.queue.put_nowait(event)


class Feed:
    """Follows the registry for as long as the replica lives."""

    def __init__(self, registry: Registry, jobs: JobService) -> None:
        self._registry = registry
        self._jobs = jobs
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._latest: OrderedDict[str, Event] = OrderedDict()
        self._done: deque[str] = deque()  # those of them that succeeded, in order of their ends
        self._task: asyncio.Task[None] | None = None
        self.epoch = 0
        self.connected = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._registry.close()

    def latest(self, job_id: str) -> Event | None:
        """The newest event of a job that this replica has seen."""
        return self._latest.get(job_id)

    async def events(self, job_id: str, epoch: int, seq: int) -> AsyncIterator[Encoded]:
        """A job's events after ``epoch:seq``, until its end.

        Raises:
            UnknownError: no such job.
        """
        subscription = Subscription()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            subscription.put(None)
            while True:
                try:
                    async with asyncio.timeout(LOOK_S):  # wait_for makes a task of each event
                        found = await subscription.queue.get()
                except TimeoutError:
                    found = None
                gap = found is not None and (found.event["epoch"] != epoch or found.event["seq"] > seq + 1)
                batch = await self._attach(job_id, epoch, seq) if found is None or gap else [found]
                for each in batch:
                    if each.event["type"] != "snapshot" and each.event["epoch"] == epoch and each.event["seq"] <= seq:
                        continue
                    epoch, seq = each.event["epoch"], each.event["seq"]
                    yield each
                    if each.terminal:
                        return
        finally:
            watching = self._subscriptions.get(job_id, set())
            watching.discard(subscription)
            if not watching:
                self._subscriptions.pop(job_id, None)

    async def _attach(self, job_id: str, epoch: int, seq: int) -> list[Encoded]:
        """What a client at ``epoch:seq`` is missing; from the store where the registry doesn't know the job."""
        events: list[Event] | None = None
        with contextlib.suppress(Exception):  # away: its successor resets all subscriptions
            events = await asyncio.wait_for(self._registry.attach(job_id, epoch, seq), 2.0)
        job = await self._jobs.get(job_id)
        told_end = any(event["state"] in TERMINAL for event in events or ())
        if events is None or (job.state in TERMINAL and not told_end):
            behind = [] if events is None else events
            seq = behind[-1]["seq"] if behind else seq
            events = [*behind, event_of(job, epoch or self.epoch, seq)]
        return [Encoded.of(event) for event in events]

    async def _follow(self) -> None:
        cursor = 0
        while True:
            try:
                epoch, cursor, events = await self._registry.follow(self.epoch, cursor)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 whatever Ray says, the registry is away; it will be back
                if self.connected:
                    _log.warning("the progress registry is away: %s", type(error).__name__)
                self.connected = False
                await asyncio.sleep(0.1)
                continue
            self.connected = True
            self.epoch = epoch
            if events is None:
                self._latest.clear()
                for watching in self._subscriptions.values():
                    for subscription in watching:
                        subscription.put(None)
                continue
            for event in events:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        job_id = event["job_id"]
        self._latest[job_id] = event
        self._latest.move_to_end(job_id)
        if event["state"] == State.SUCCEEDED:
            self._done.append(job_id)
            if len(self._done) > LATEST_DONE:
                self._latest.pop(self._done.popleft(), None)
        if len(self._latest) > LATEST:
            self._latest.popitem(last=False)
        watching = self._subscriptions.get(job_id)
        if watching:
            encoded = Encoded.of(event)
            for subscription in watching:
                subscription.put(encoded)


def parse_since(text: str | None) -> tuple[int, int]:
    """``EPOCH:SEQ`` as numbers; ``(0, 0)`` stands for: from now, with a snapshot first."""
    try:
        epoch, seq = (int(part) for part in (text or "").split(":"))
    except ValueError:
        return 0, 0
    return epoch, seq
