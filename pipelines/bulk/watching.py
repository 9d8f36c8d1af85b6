"""Watched collections: what changes below the folders that one was imported from is imported, once it is quiet there.

A task of the dispatcher's process. Each collection has a thread that follows its folders, and one import at a time;
what changes meanwhile leads to one more.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cluster.errors import StorageError
from pipelines.bulk.collection import Collection
from pipelines.bulk.following import Follower, News, Pace, absent
from pipelines.bulk.watch_notes import (
    Imported,
    Watch,
    imported,
    note_watching,
    watch_of,
    watched,
    watching,
)
from pipelines.jobs.errors import InvalidError, UnknownError
from pipelines.jobs.models import Job, State
from pipelines.jobs.service import MAX_SOURCES, Request
from pipelines.jobs.states import TERMINAL

IMPORT = "collection-import"
_LOOK_S = 2.0
_AT_ONCE = 500
_MOST_AGAIN = 20  # times ``again_s``
_BUSY = "collection_busy"
_log = logging.getLogger("mediaray.watching")
_Follow = Callable[[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]], Pace], Any]
_PACE = Pace()


class Jobs(Protocol):
    """What it needs of the job service."""

    async def submit(self, request: Request, *, owner: str, idempotency_key: str | None) -> Job: ...
    async def get(self, job_id: str) -> Job: ...
    async def page(
        self, *, state: State | None, operation: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Job], str | None]: ...


@dataclass
class Pending:
    """Folders that wait for an import: of each since when, and when it changed last. Times are of one clock."""

    pace: Pace
    _times: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def folders(self) -> Set[str]:
        return self._times.keys()

    def note(self, folders: Set[str], now_s: float) -> None:
        for folder in folders:
            since_s, _ = self._times.get(folder, (now_s, now_s))
            self._times[folder] = (since_s, now_s)

    def begin_anew(self, folders: Set[str], at_s: float) -> None:
        """They wait since then: what they waited for before wasn't quiet, and hurries no other."""
        self._times |= dict.fromkeys(folders, (at_s, at_s))

    def due(self, folders: Set[str], now_s: float) -> bool:
        """Whether it is quiet in these, or was loud for so long that they are imported all the same."""
        waiting = [self._times[folder] for folder in folders & self.folders]
        return bool(waiting) and (
            now_s - max(changed_s for _, changed_s in waiting) >= self.pace.quiet_s
            or now_s - min(since_s for since_s, _ in waiting) >= self.pace.most_s
        )

    def drop(self, folders: Set[str]) -> None:
        for folder in folders:
            self._times.pop(folder, None)


class Watchers:
    """Watches the collections that are to be, and no others, until it is cancelled."""

    def __init__(self, jobs: Jobs, home: Path, pace: Pace = _PACE, follow: _Follow = Follower) -> None:
        self._jobs, self._home, self._pace, self._follow = jobs, home, pace, follow
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}

    @property
    def names(self) -> set[str]:
        """The collections that are watched now."""
        return {*self._tasks}

    async def run(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(_LOOK_S)
        finally:
            await self._end({*self._tasks})

    async def look(self) -> None:
        """Begin to watch what is to be watched by now, and end the rest."""
        wanted = watched(self._home)
        await self._end({name for name, (what, _) in self._tasks.items() if wanted.get(name) != what})
        for name, what in wanted.items():
            if name not in self._tasks:
                keeping = self._keep(Collection(self._home / "collections" / name))
                self._tasks[name] = (what, asyncio.get_running_loop().create_task(keeping))

    async def _end(self, names: set[str]) -> None:
        ending = [self._tasks.pop(name)[1] for name in names]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _keep(self, collection: Collection) -> None:
        """Watch one; begin anew when that fails."""
        failures = 0
        while (wanted := watch_of(collection)) is not None:
            watcher = Watcher(self._jobs, collection, wanted, imported(collection), self._pace, self._follow)
            began_s = time.monotonic()
            try:
                await watcher.run()
            except Exception as error:  # noqa: BLE001 whatever it is, the other collections and jobs go on
                _log.warning("watching %s failed", collection.name, exc_info=error)
                with contextlib.suppress(OSError):
                    watcher.tell_error(error)
            failures = 1 if time.monotonic() - began_s > self._pace.most_s else failures + 1
            await asyncio.sleep(self._pace.again_s * min(failures, _MOST_AGAIN))


class Watcher:
    """Watches one collection."""

    def __init__(
        self, jobs: Jobs, collection: Collection, wanted: Watch, sources: Imported, pace: Pace, follow: _Follow
    ) -> None:
        self._jobs, self._collection, self._wanted, self._pace = jobs, collection, wanted, pace
        self._kinds = sources.folders
        self._now = watching(collection)
        self._follower = follow(self._kinds, self._now.mounts, pace)
        self._pending = Pending(pace)
        self._failed: dict[str, tuple[int, float]] = {}  # folders: how often their import did, and until when they wait
        self._importing: tuple[str, frozenset[str]] | None = None  # a job, and the folders that it is of if it's ours

    async def run(self) -> None:
        """Watch until it fails, or is cancelled."""
        stop = threading.Event()
        heard: asyncio.Queue[News | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(news: News | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(heard.put_nowait, news)

        name = f"watching {self._collection.name}"
        threading.Thread(target=_follow, args=(self._follower, stop, tell), name=name, daemon=True).start()
        try:
            while True:
                await self._hear(heard)
                await self._bring_in()
        finally:
            stop.set()

    def tell_error(self, error: Exception | str) -> None:
        told = error if isinstance(error, str) else _told(error)
        self._tell(error=told, error_at=datetime.now(UTC))

    def _tell(self, **changes: Any) -> None:
        now = self._now.model_copy(update=changes)
        if now != self._now:
            self._now = now
            note_watching(self._collection, now)

    async def _hear(self, heard: "asyncio.Queue[News | Exception]") -> None:
        """Wait for news, or, where there is something to do, a moment."""
        busy = bool(self._pending.folders) or self._importing is not None
        try:
            async with asyncio.timeout(min(_LOOK_S, self._pace.quiet_s) if busy else None):
                news = await heard.get()
        except TimeoutError:
            return
        if isinstance(news, Exception):
            raise news
        self._pending.note(news.changed, time.monotonic())
        for folder, why in news.away.items():
            if folder not in self._now.away:
                _log.warning("collection %s: %s", self._collection.name, why)
        if news.polled != self._now.polled and news.polled:
            _log.warning("collection %s: %s", self._collection.name, news.polled)
        self._tell(away=dict(news.away), polled=news.polled, mounts=dict(news.mounts))

    async def _bring_in(self) -> None:
        """Submit an import of what changed, if it's quiet and none is under way."""
        if self._importing is not None and not await self._is_over(*self._importing):
            return
        self._importing = None
        now_s = time.monotonic()
        ready = self._pending.folders - {each for each, (_, until_s) in self._failed.items() if now_s < until_s}
        if not self._pending.due(ready, now_s):
            return
        away = await asyncio.to_thread(absent, self._kinds, self._now.mounts)
        self._tell(away=away)
        self._pending.begin_anew(ready & away.keys(), now_s)
        here = sorted(ready - away.keys(), key=lambda folder: (folder in self._failed, folder))
        if not here:
            return
        if (other := await self._import_of_others()) is not None:
            self._importing = (other, frozenset())
            return
        kinds = self._kinds[here[0]]
        alike = [each for each in here if self._kinds[each] == kinds and each not in self._failed]
        alike = alike[:MAX_SOURCES] or here[:1]  # one whose import failed holds up no other
        wanted = Request(IMPORT, tuple(alike), {"into": self._collection.name, "kinds": list(kinds)})
        try:
            job = await self._jobs.submit(wanted, owner=self._wanted.owner, idempotency_key=None)
        except (InvalidError, StorageError) as error:
            self._put_off({*alike}, _told(error))
            return
        _log.info("collection %s changed: job %s", self._collection.name, job.id)
        self._pending.drop({*alike})
        self._importing = (job.id, frozenset(alike))
        self._tell(job=job.id)

    async def _is_over(self, job_id: str, folders: frozenset[str]) -> bool:
        """Whether an import has ended. One of ours that another was in the way of is done again."""
        try:
            job = await self._jobs.get(job_id)
        except UnknownError:  # removed since
            return True
        if job.state not in TERMINAL:
            return False
        if folders and job.state == State.SUCCEEDED:
            for folder in folders:
                self._failed.pop(folder, None)
            if not self._failed:
                self._tell(error=None, error_at=None)
        elif folders and job.error is not None:
            told = f"Job {job_id} failed: {job.error.message}"
            if job.error.code == _BUSY:
                self.tell_error(told)
                self._pending.note(folders, time.monotonic())
            else:
                self._put_off(folders, told)
        return True

    def _put_off(self, folders: Set[str], told: str) -> None:
        """Import these folders again, each by itself; the later, the more often that failed."""
        self.tell_error(told)
        now_s = time.monotonic()
        for folder in folders:
            failures = self._failed.get(folder, (0, 0.0))[0] + 1
            until_s = now_s + self._pace.again_s * min(failures, _MOST_AGAIN)
            self._failed[folder] = (failures, until_s)
            self._pending.begin_anew({folder}, until_s)

    async def _import_of_others(self) -> str | None:
        """An import into the collection that hasn't ended."""
        for state in sorted({*State} - TERMINAL):
            cursor: str | None = None
            while True:
                found, cursor = await self._jobs.page(state=state, operation=IMPORT, limit=_AT_ONCE, cursor=cursor)
                for job in found:
                    if job.params.get("into") == self._collection.name:
                        return job.id
                if cursor is None:
                    break
        return None


def _follow(follower: Any, stop: threading.Event, tell: Callable[[News | Exception], None]) -> None:
    try:
        news: Iterator[News] = follower.news(stop)
        for each in news:
            tell(each)
    except Exception as error:  # noqa: BLE001 whoever listens begins anew
        tell(error)


def _told(error: Exception) -> str:
    """What is wrong, for people."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else f"{type(error).__name__}: {error}"
