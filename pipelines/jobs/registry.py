"""The progress registry: a named actor that numbers events and announces them to the replicas that follow it."""

import asyncio
import json
import logging
import os
import time

import redis

from cluster.home import Home
from cluster.logs import log_to
from pipelines.jobs.board import Event, ProgressBoard
from pipelines.jobs.errors import UnknownError
from pipelines.jobs.live import Announcer, Batch, ReportChannel
from pipelines.jobs.models import Plan
from pipelines.jobs.orders import WorkerConfig
from pipelines.jobs.states import JOIN
from pipelines.jobs.store import JobStore
from pipelines.jobs.store_records import LogEntry, UnreadableRecordError

_PATIENCE = 1_000_000
_SILENCE_S = 5.0
_GAP_S = 0.003  # between announcements: what came meanwhile goes in one
_log = logging.getLogger("mediaray.registry")


class ProgressRegistry:
    """Shell around the ProgressBoard: one event loop, so that no lock is needed.

    States come from the store's log, which survives this actor; progress comes from the workers and doesn't.
    """

    def __init__(self, config: WorkerConfig) -> None:
        log_to(Home(config.settings.home).log, config.settings.log_format)
        self._store = JobStore(config.redis_url, patience=_PATIENCE)
        self._reports = ReportChannel(config.cache_url)
        self._announcer = Announcer(config.cache_url)
        self._board: ProgressBoard | None = None
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self._live_or_die())

    async def ready(self) -> int:
        """Wait until it follows the log; its epoch."""
        await self._ready.wait()
        return self._live_board().epoch

    async def after(self, epoch: int, cursor: int) -> tuple[int, int, list[Event] | None]:
        """``(epoch, cursor, events)`` after a cursor. Events None: some are lost."""
        await self._ready.wait()
        board = self._live_board()
        found = board.after(cursor) if epoch == board.epoch else None
        return (board.epoch, board.cursor, None) if found is None else (board.epoch, *found)

    async def attach(self, job_id: str, epoch: int, seq: int) -> list[Event] | None:
        """A job's events after ``epoch:seq``, or a snapshot that stands for them; None: not a job of this board."""
        await self._ready.wait()
        board = self._live_board()
        events = board.since(job_id, epoch, seq)
        if events is not None:
            return events
        snapshot = board.snapshot(job_id)
        return None if snapshot is None else [snapshot]

    async def _live_or_die(self) -> None:
        try:
            await self._live()
        except Exception:  # noqa: BLE001 whatever it is, the log must have it before this life ends
            _log.exception("the progress registry failed")
        os._exit(1)  # Ray gives a fresh life to an actor that crashed

    async def _live(self) -> None:
        cursor = await self._store.log_end()
        board = ProgressBoard(await self._store.new_registry_epoch())
        for job_id in await self._store.active():
            await self._learn(board, job_id)
        self._board = board
        self._ready.set()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(body(board)) for body in (self._hear, self._announce, self._flush)]
        await asyncio.gather(self._read_log(board, cursor), *tasks)

    async def _read_log(self, board: ProgressBoard, cursor: str) -> None:
        while True:
            try:
                for entry in await self._store.read_log(cursor, block_ms=5000):
                    cursor = entry.id
                    await self._take(board, entry)
                self._news.set()
            except redis.RedisError as error:
                _log.warning("the log can't be read: %s", type(error).__name__)
                await asyncio.sleep(0.2)

    async def _take(self, board: ProgressBoard, entry: LogEntry) -> None:
        _, now = _now()
        if entry.type == "state":
            error = json.loads(entry.body) if entry.body else None
            board.state(entry.job_id, entry.state, entry.at, now, error)
        elif entry.type == "unit" and entry.body == "plan":
            await self._learn(board, entry.job_id)
        elif entry.type == "unit":
            board.unit_done(entry.job_id, entry.body, entry.at, now)

    async def _learn(self, board: ProgressBoard, job_id: str) -> None:
        try:
            loaded = await self._store.load(job_id)
        except (UnknownError, UnreadableRecordError):
            return
        if not board.knows(job_id):
            board.state(job_id, loaded.job.state, loaded.job.created_at, time.monotonic())
        if plan := loaded.plan:
            done = [name for name, status in loaded.units.items() if status.state == "done"]
            weights = weights_of(plan)
            board.planned(job_id, weights, [name for name in done if name in weights])

    async def _hear(self, board: ProgressBoard) -> None:
        while True:
            report = await self._reports.next(_SILENCE_S)
            if report is not None:
                board.report(report, *_now())
                self._news.set()

    async def _announce(self, board: ProgressBoard) -> None:
        told, announced_at = board.cursor, float("-inf")
        await self._announcer.announce(Batch(board.epoch, told, []))  # a new life: followers come at once
        while True:
            await self._news.wait()
            await asyncio.sleep(announced_at + _GAP_S - time.monotonic())
            self._news.clear()
            announced_at = time.monotonic()
            found = board.after(told)
            told = board.cursor
            if found is None:  # more than the board keeps
                await self._announcer.announce(Batch(board.epoch, told, []))
            elif found[1]:
                await self._announcer.announce(Batch(board.epoch, told - len(found[1]), found[1]))

    async def _flush(self, board: ProgressBoard) -> None:
        while True:
            due_at = board.due(*_now())
            self._news.set()
            await asyncio.sleep(max(0.01, min(0.25, (due_at or float("inf")) - time.monotonic())))

    def _live_board(self) -> ProgressBoard:
        assert self._board is not None
        return self._board


def weights_of(plan: Plan) -> dict[str, float]:
    """The shares of a plan's units, and of its join where that takes its time."""
    weights = {unit.name: unit.needs.seconds for unit in plan.units}
    return weights if plan.join.interactive else {**weights, JOIN: plan.join.seconds}


def _now() -> tuple[int, float]:
    return int(time.time() * 1000), time.monotonic()
