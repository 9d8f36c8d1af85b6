"""What the edge is built from in tests: a real store, a progress board in process, and a lane that only pretends."""

import asyncio
from collections.abc import Callable
from typing import Any

from unit.pipelines.jobs.makers import pretend_catalogue

from cluster.settings import Settings
from pipelines.jobs.board import Event, ProgressBoard
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import JobError, Plan, Progress
from pipelines.jobs.service import JobService
from pipelines.media.info import MediaInfo

AT = 1_700_000_000_000


class BoardRegistry:
    """The registry's answers without its actor.

    ``away``: it is being restarted. ``flowing``: cleared, followers hear nothing for now. ``lose_next``: an event is
    lost on the way to them.
    """

    def __init__(self, epoch: int = 5) -> None:
        self.board = ProgressBoard(epoch)
        self.away = False
        self.now = 0.0
        self.lose_next = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._news = asyncio.Event()

    async def follow(self, epoch: int, cursor: int) -> tuple[int, int, list[Event] | None]:
        if self.away:
            raise ConnectionError("away")
        if epoch == self.board.epoch and cursor == self.board.cursor:
            await self._news.wait()
        if self.away:
            raise ConnectionError("away")
        await self.flowing.wait()
        board = self.board
        found = board.after(cursor) if epoch == board.epoch else None
        if found is None:
            return board.epoch, board.cursor, None
        cursor, events = found
        if self.lose_next and events:
            self.lose_next, events = False, events[1:]
        return board.epoch, cursor, events

    async def attach(self, job_id: str, epoch: int, seq: int) -> list[Event] | None:
        if self.away:
            raise ConnectionError("away")
        events = self.board.since(job_id, epoch, seq)
        snapshot = self.board.snapshot(job_id)
        return events if events is not None else None if snapshot is None else [snapshot]

    async def close(self) -> None:
        pass

    # For the test

    def state(self, job_id: str, state: str) -> None:
        self.now += 1
        self.board.state(job_id, state, AT, self.now)
        if state == "running":
            self.board.planned(job_id, {"a": 1.0}, [])
        self.tell()

    def progress(self, job_id: str, fraction: float) -> None:
        self.now += 1
        self.board.report(Progress(job_id=job_id, unit="a", fence=1, fraction=fraction), AT, self.now)
        self.tell()

    def restart(self, epoch: int) -> None:
        """A new life: nothing is known of what was."""
        self.board = ProgressBoard(epoch)
        self.away = False
        self.tell()

    def go_away(self) -> None:
        self.away = True
        self.tell()

    def tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class PretendLane:
    def __init__(self) -> None:
        self.answer: Any = Plan(units=(), explain={"why": "because"})

    async def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError:
        return self.answer

    async def media(self, source: str) -> MediaInfo | JobError:
        return self.answer

    async def clean_up(self, job_id: str) -> None: ...


def service_of(settings: Settings, store: LeaderStore, lane: PretendLane) -> JobService:
    return JobService(settings, store, pretend_catalogue(), lane)


async def wait_until(true: Callable[[], Any], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.005)
