"""``GET /v1/metrics``, for Prometheus: how the server stands, and what all its processes have counted.

One answer is of the whole server, whichever replica gives it. What can't be had, since a part is away, isn't told.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import redis
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.cache import Cache, CacheStats
from cluster.metrics import REGISTRY
from cluster.node_classes import NodeClass
from pipelines.jobs.board import Event
from pipelines.jobs.models import State
from pipelines.jobs.queue_facts import QueueFacts
from pipelines.jobs.states import TERMINAL
from pipelines.jobs.store import JobStore
from pipelines.jobs.store_records import Totals
from serve.capacity import MORE_NODES, Capacity, capacity_of
from serve.parts import PartAwayError, answered
from serve.views import BackupHealth

T = TypeVar("T")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUESTS = Histogram(
    "mediaray_http_request_seconds",
    "From a request until its answer begins, by route and class of status.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
    registry=REGISTRY,
)
_SOCKETS = Gauge("mediaray_websockets", "WebSockets that are open.", registry=REGISTRY)
_PUSHED = Histogram(
    "mediaray_push_seconds",
    "From a worker's report, or a job's change of state, until a watcher was sent the event.",
    ["type"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
_pushed_by_type = {kind: _PUSHED.labels(kind) for kind in ("progress", "state")}
_requests: dict[tuple[str, str, int], Histogram] = {}  # to look one up here takes a tenth of what ``labels`` takes


class Timed:
    """ASGI middleware: times requests, and counts sockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._timed(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._counted(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, answered = time.perf_counter(), False

        async def tell(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                _note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except Exception:
            if not answered:  # the answer to that is made further out
                _note(scope, 500, time.perf_counter() - began)
            raise

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepted = False

        async def tell(message: Message) -> None:
            nonlocal accepted
            if message["type"] == "websocket.accept" and not accepted:
                accepted = True
                _SOCKETS.inc()
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if accepted:
                _SOCKETS.dec()


def _note(scope: Scope, status: int, seconds: float) -> None:
    key = (scope["method"], _route_of(scope), status // 100)
    histogram = _requests.get(key)
    if histogram is None:
        method = key[0] if key[0] in _METHODS else "other"
        histogram = _REQUESTS.labels(method, key[1], f"{key[2]}xx")
        if method != "other":  # anybody may make up others
            _requests[key] = histogram
    histogram.observe(seconds)


def _route_of(scope: Scope) -> str:
    """The template of a request's path, below the prefix; ``none`` of one that the guard or the router refused."""
    return getattr(scope.get("route"), "path_format", "none")


def note_push(event: Event) -> None:
    """Count how long an event that was sent just now took to come here, where it tells when it began."""
    histogram = _pushed_by_type.get(event["type"])
    began = event.get("reported_at") if event["type"] == "progress" else event.get("at")
    if histogram is not None and began is not None:
        histogram.observe(max(0.0, time.time() - datetime.fromisoformat(began).timestamp()))


class MetricsPage:
    """``queue`` asks the dispatcher; ``followed`` tells whether this replica hears the registry.

    ``backup`` tells how it goes with backups that the clock makes, where it makes any; ``classes`` the nodes.
    """

    def __init__(
        self,
        store: JobStore,
        cache: Cache,
        pushed: Callable[[], list[Metric] | None],
        queue: Callable[[], Awaitable[QueueFacts]],
        followed: Callable[[], bool],
        operations: Collection[str],
        version: str,
        backup: Callable[[], BackupHealth | None],
        classes: Callable[[], Sequence[NodeClass]],
    ) -> None:
        self._store, self._cache = store, cache
        self._pushed, self._queue, self._followed = pushed, queue, followed
        self._operations, self._version = sorted(operations), version
        self._backup, self._classes = backup, classes

    async def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        totals, queue, stats, counts, pushed, classes = await asyncio.gather(
            _had(self._store.totals()),
            _had(self._queue()),
            asyncio.to_thread(self._cache.stats),
            asyncio.to_thread(self._cache.counts),
            asyncio.to_thread(self._pushed),
            _had(asyncio.to_thread(self._classes)),
        )
        parts = {
            "store": totals is not None,
            "dispatcher": queue is not None,
            "registry": self._followed(),
            "cache": stats is not None,
        }
        families = [
            _gauge("mediaray_info", "The server that is scraped.", {(self._version,): 1}, ["version"]),
            _gauge("mediaray_up", "Whether a part of the server answers.", _single(parts), ["part"]),
            *(_of_store(totals, self._operations) if totals else ()),
            *(_of_queue(queue, self._operations) if queue else ()),
            *(_of_backlog(self._capacity(queue, pushed, classes), self._operations) if queue else ()),
            *_of_backups(self._backup()),
            *(_of_cache(stats, counts) if stats and counts is not None else ()),
            *(pushed or ()),
        ]
        return await asyncio.to_thread(generate_latest, _Families(families))

    def _capacity(
        self, queue: QueueFacts, pushed: list[Metric] | None, classes: Sequence[NodeClass] | None
    ) -> Capacity:
        return capacity_of(queue, pushed or (), classes or (), MORE_NODES, datetime.now(UTC))


def metrics_route(page: Callable[[], Awaitable[bytes]]) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics of the whole server, as Prometheus reads them. May be asked for with the scrape token, too."""
        return Response(await page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def _had(asked: Awaitable[T]) -> T | None:
    """What a part answers; None: it's away."""
    try:
        return await answered(asked)
    except (PartAwayError, redis.RedisError):
        return None


def _of_store(totals: Totals, operations: Collection[str]) -> Iterator[Metric]:
    submitted = dict.fromkeys(operations, 0) | dict(totals.submitted)
    finished = {(str(state), operation): 0 for state in sorted(TERMINAL) for operation in operations}
    yield _counter("mediaray_jobs_submitted", "Jobs that were accepted.", _single(submitted), ["operation"])
    yield _counter(
        "mediaray_jobs_finished",
        "Jobs that came to their end.",
        {**finished, **totals.finished},
        ["state", "operation"],
    )
    yield _gauge("mediaray_jobs_quarantined", "Jobs set aside, whose records don't load.", {(): totals.quarantined})
    yield _gauge("mediaray_redis_memory_bytes", "Memory of the job store's Redis.", {(): totals.memory_bytes})
    yield _gauge("mediaray_redis_memory_limit_bytes", "Its limit; 0: none.", {(): totals.memory_limit_bytes})
    yield _gauge("mediaray_redis_file_bytes", "Its append-only file.", {(): totals.file_bytes})
    yield _gauge("mediaray_redis_writes", "Whether its last write to the disk went well.", {(): totals.writes})


def _of_queue(queue: QueueFacts, operations: Collection[str]) -> Iterator[Metric]:
    none = {(str(state), operation): 0 for state in State if state not in TERMINAL for operation in operations}
    overdue = dict.fromkeys(operations, 0) | dict(queue.overdue)
    yield _gauge("mediaray_jobs", "Jobs that aren't finished.", {**none, **queue.jobs}, ["state", "operation"])
    yield _gauge(
        "mediaray_queue_jobs",
        "Jobs that want to go on and have no unit on its way.",
        _single(queue.waiting),
        ["priority"],
    )
    yield _gauge(
        "mediaray_queue_oldest_seconds", "How long the first of them has waited.", _single(queue.oldest_s), ["priority"]
    )
    yield _gauge("mediaray_units", "Units on their way.", _single(queue.units), ["lane"])
    yield _gauge(
        "mediaray_units_overdue",
        "Those that take more than ten minutes, and ten times their estimate.",
        _single(overdue),
        ["operation"],
    )
    yield _gauge("mediaray_nodes", "Nodes that work.", {(): queue.nodes})
    yield _gauge("mediaray_cpus", "CPUs for heavy units.", {(): queue.cpus})
    yield _gauge("mediaray_cpus_in_use", "CPUs that heavy units may use now.", {(): queue.cpus_in_use})
    yield _gauge(
        "mediaray_interactive_slots", "Interactive units that may be on their way.", {(): queue.interactive_slots}
    )
    yield _gauge("mediaray_claimable_memory_bytes", "Memory for heavy units.", {(): queue.memory_bytes})
    yield _gauge("mediaray_claimed_memory_bytes", "Memory that they claim now.", {(): queue.memory_in_use_bytes})


def _of_backlog(capacity: Capacity, operations: Collection[str]) -> Iterator[Metric]:
    backlog = capacity.backlog
    cpu_s = dict.fromkeys(operations, 0.0) | {each.operation: each.cpu_s for each in backlog.operations}
    yield _gauge(
        "mediaray_backlog_cpu_seconds", "CPU time that unfinished jobs still need.", _single(cpu_s), ["operation"]
    )
    yield _gauge(
        "mediaray_backlog_unknown_jobs", "Jobs of which that can't be told, or not all.", {(): backlog.unknown_jobs}
    )
    done_s = {0: backlog.eta_s, **{each.nodes: each.eta_s for each in capacity.more_nodes}}
    yield _gauge(
        "mediaray_backlog_done_seconds",
        "How long all of it takes, on what there is and on so many more nodes.",
        {(str(nodes),): seconds for nodes, seconds in done_s.items() if seconds is not None},
        ["more_nodes"],
    )


def _of_backups(backup: BackupHealth | None) -> Iterator[Metric]:
    if backup is None:
        return
    last = datetime.fromisoformat(backup.last_at).timestamp() if backup.last_at else 0.0
    yield _gauge("mediaray_backup_last_timestamp_seconds", "When the last backup was made; 0: none yet.", {(): last})
    yield _gauge("mediaray_backup_interval_seconds", "How often one is wanted.", {(): backup.every_h * 3600})


def _of_cache(stats: CacheStats, counts: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    uses = ("metadata", "picture", "result")
    known = {(outcome, use): 0 for outcome in ("hits", "misses", "made") for use in uses}
    yield _counter(
        "mediaray_cache_looks",
        "Looks into the cache by outcome, and by what was asked for; made: of the misses, those worked on.",
        {**known, **{key: count for key, count in counts.items() if key in known}},
        ["outcome", "use"],
    )
    yield _counter("mediaray_cache_evicted", "Entries that made room for others.", {(): stats.evicted})
    yield _gauge("mediaray_cache_entries", "What the cache's Redis holds.", {(): stats.keys})
    yield _gauge("mediaray_cache_memory_bytes", "Memory of the cache's Redis.", {(): stats.size_bytes})
    yield _gauge("mediaray_cache_memory_limit_bytes", "Its limit; 0: none.", {(): stats.limit_bytes})


def _single(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(label,): value for label, value in values.items()}


def _gauge(name: str, text: str, values: Mapping[Any, float], labels: Iterable[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=list(labels)), values)


def _counter(name: str, text: str, values: Mapping[Any, float], labels: Iterable[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=list(labels)), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    filled: Metric = family
    return filled
