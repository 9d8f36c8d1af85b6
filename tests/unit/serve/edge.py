"""What the edge is built from in tests: a real store, a progress board in process, and a lane that only pretends."""

import asyncio
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from unit.pipelines.jobs.makers import pretend_catalogue

from cluster.cache import Cache
from cluster.checks import Check, Status
from cluster.home import Home
from cluster.metrics import pushed
from cluster.near_cache import NearCache
from cluster.node_classes import NodeClass
from cluster.settings import Settings
from pipelines.bulk.upkeep import identities
from pipelines.jobs.board import Event, ProgressBoard
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.media_service import MediaService
from pipelines.jobs.models import Artifact, JobError, Plan, Progress, State
from pipelines.jobs.outbox import Outbox
from pipelines.jobs.queue_facts import QueueFacts, facts_of
from pipelines.jobs.served_media import MediaText
from pipelines.jobs.served_pictures import ServedPicture
from pipelines.jobs.service import JobService
from pipelines.jobs.tracking import Tracked
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from serve.app import build_app
from serve.capacity import CapacityPage
from serve.feed import Feed
from serve.guard import accepted_hosts
from serve.metrics import MetricsPage
from serve.parts import PartAwayError
from serve.signing import Signer
from serve.views import BackupHealth, Health
from serve.webhook_routes import webhook_routes

with warnings.catch_warnings():  # Starlette asks for httpx2; what it does with httpx is all that's needed here
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

TOKEN, SCRAPE_TOKEN = "right-token", "scrape-token"
WEBHOOK, WEBHOOK_SECRET = "https://hooks.example.com:8443/secret-path", "whsec_" + "QUJD" * 8
BASE, WS_BASE = "http://127.0.0.1:8420", "ws://127.0.0.1:8420"
AT = 1_700_000_000_000
NODES = (NodeClass(1, 2, 0, None, 1.0, 0.0, 8 << 30, 4 << 30),)
NO_BACKUP = {"state": "waiting", "folder": "/b", "every_h": 6.0} | dict.fromkeys(
    ("last", "last_at", "last_size_bytes", "error")
)


@dataclass(frozen=True)
class Capacity:
    """Of a machine with two CPUs."""

    cpus: int = 2
    largest_cpus: int = 2
    memory_bytes: int = 8 << 30
    largest_memory_bytes: int = 8 << 30
    interactive_slots: int = 4
    nodes: int = 1


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
        self.asked: list[tuple[str, ThumbnailSpec]] = []

    async def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError:
        return self.answer

    async def media(self, source: str) -> MediaText | JobError:
        return self.answer

    async def picture(self, source: str, spec: ThumbnailSpec) -> ServedPicture | JobError:
        self.asked.append((source, spec))
        return self.answer

    async def clean_up(self, job_id: str) -> None: ...

    async def forget(self, tags: Collection[str]) -> None: ...


def service_of(settings: Settings, store: LeaderStore, lane: PretendLane) -> JobService:
    return JobService(settings, store, pretend_catalogue(), lane)


async def wait_until(true: Callable[[], Any], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.005)


@dataclass
class Edge:
    """A running edge and its client.

    ``seen``: what a deep look finds, ``waiting``: jobs that the dispatcher has, ``backups``: the last is told.
    """

    client: TestClient
    store: LeaderStore
    registry: BoardRegistry
    lane: PretendLane
    outbox: Outbox
    films: Path
    checks: dict[str, str]
    seen: dict[str, Status]
    waiting: list[Tracked]
    backups: list[BackupHealth]

    def submit(self, *, key: str | None = None, **changes: Any) -> Any:
        body = {"operation": "copy", "source": str(self.films / "film.mkv"), **changes}
        return self.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key} if key else {})

    def job(self, **changes: Any) -> str:
        answer = self.submit(**changes)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def do(self, function: Any, *arguments: Any) -> Any:
        """Call on the edge's own event loop."""
        assert self.client.portal is not None
        return self.client.portal.call(function, *arguments)

    def tell(self, job_id: str, state: str) -> None:
        self.do(self.registry.state, job_id, state)

    def end(self, job_id: str, state: State = State.FAILED, **fields: Any) -> None:
        async def end() -> None:
            epoch = await self.store.lead()
            if state == State.SUCCEEDED:
                await self.store.move(epoch, job_id, State.VERIFYING)
            assert await self.store.move(epoch, job_id, state, **fields)

        self.do(end)

    def done(self, content: bytes = b"0123456789", name: str = "film.mp4") -> str:
        """A job that succeeded with one artifact."""
        path = self.films / name
        path.write_bytes(content)
        job_id = self.job()
        artifact = Artifact(name=name, path=str(path), size_bytes=len(content), media_type="video/mp4")
        self.end(job_id, State.SUCCEEDED, artifacts=[artifact], result={"text": "done"})
        return job_id

    def watch(self, job_id: str, since: str = "") -> Any:
        return self.client.websocket_connect(f"{WS_BASE}/v1/jobs/{job_id}/events{since and f'?since={since}'}")


def make_edge(url: str, tmp_path: Path) -> Edge:
    films = tmp_path / "films"
    films.mkdir()
    (films / "film.mkv").write_bytes(b"film")
    home = Home.create(tmp_path / "home").path
    settings = Settings(
        home=home,
        roots=(str(films),),
        output_roots=(str(films),),
        webhook_urls=(SecretStr(WEBHOOK),),
        webhook_secret=SecretStr(WEBHOOK_SECRET),
        webhook_hosts=("hooks.example.com",),
    )
    store, registry, lane = LeaderStore(url, patience=1), BoardRegistry(), PretendLane()
    outbox = Outbox(url, patience=1)
    jobs = service_of(settings, store, lane)
    names = frozenset(pretend_catalogue().names())
    media = MediaService(settings, lane, NearCache(url), Cache(url), names, partial(identities, home))
    checks = {"store": "ok", "registry": "ok"}
    seen: dict[str, Status] = {"store": "ok"}
    waiting: list[Tracked] = []
    backups: list[BackupHealth] = []

    async def health() -> Health:
        return Health(status="ok", version="1", checks=checks, jobs=await jobs.count(), cache=await media.stats())

    async def queue() -> QueueFacts:
        if checks.get("dispatcher") == "away":
            raise PartAwayError
        if checks.get("dispatcher") == "silent":
            await asyncio.Event().wait()
        return facts_of(waiting, Capacity(), 0.0, 0.0)

    async def look() -> list[Check]:
        return [Check(name, status, "Found.", "" if status == "ok" else "Do it.") for name, status in seen.items()]

    page = MetricsPage(
        store,
        Cache(url),
        partial(pushed, url),
        queue,
        lambda: checks["registry"] == "ok",
        names,
        version="1",
        backup=lambda: backups[-1] if backups else None,
        classes=lambda: NODES,
    )
    capacity = CapacityPage(queue, partial(pushed, url), lambda: NODES)
    app = build_app(
        jobs=jobs,
        store=store,
        media=media,
        feed=Feed(registry, jobs),
        token=TOKEN,
        hosts=accepted_hosts("127.0.0.1", 8420, []),
        signer=Signer(lambda: ["new key", "old key"]),
        home=home,
        health=health,
        looks=look,
        capacity=capacity.view,
        metrics=page.text,
        webhooks=webhook_routes(settings, outbox),
        scrape_token=SCRAPE_TOKEN,
        version="1",
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = TestClient(app, base_url=BASE, headers=headers, raise_server_exceptions=False)
    return Edge(client, store, registry, lane, outbox, films, checks, seen, waiting, backups)


def problem(answer: Any) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "detail"} <= body.keys()
    return answer.status_code, body["code"]
