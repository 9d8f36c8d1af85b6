"""Where everything is wired together: the actors, the replicas of the edge, and what they are made of."""

import contextlib
import http.client
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import ray
import redis
from ray import serve as ray_serve
from ray.actor import ActorHandle
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import AutoscalingConfig
from ray.serve.context import _get_global_client  # nothing public tells where Serve listens
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp

from cluster.cache import Cache
from cluster.errors import StartupError
from cluster.home import Home
from cluster.logs import log_to
from cluster.metrics import push_to, pushed
from cluster.near_cache import NearCache
from cluster.node_classes import NodeClass, node_classes
from cluster.ray_nodes import other_drivers
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from cluster.tracing import trace_to
from pipelines.bulk.upkeep import identities
from pipelines.jobs.actors import (
    as_started,
    end_all,
    end_dispatcher,
    named_actors,
    start_dispatcher,
    start_registry,
    wait_ready,
)
from pipelines.jobs.media_service import MediaService
from pipelines.jobs.orders import DISPATCHER, NAMESPACE, ON_HEAD, WorkerConfig
from pipelines.jobs.outbox import Outbox
from pipelines.jobs.queue_facts import QueueFacts
from pipelines.jobs.service import JobService
from pipelines.jobs.store import JobStore
from pipelines.jobs.work_metrics import tell_at_zero
from serve.actors import LiveRegistry, RayInteractiveLane, actor
from serve.app import build_app
from serve.capacity import CapacityPage
from serve.catalogue import catalogue
from serve.deep_health import DeepHealth
from serve.feed import Feed
from serve.guard import accepted_hosts
from serve.home_holder import holds
from serve.metrics import MetricsPage
from serve.nodes import ask_nodes
from serve.parts import PartAwayError, answered
from serve.scheduled_backups import backup_health
from serve.signing import Signer
from serve.views import V1, Health
from serve.webhook_routes import webhook_routes

VERSION = version("mediaray")
APPLICATION = "mediaray"
_EDGE_TIMEOUT_S = 5.0  # disks were seen to keep Redis waiting for 2 s, and who is told 503 comes again
_EDGE_PATIENCE = 4  # tries while Redis is away, before a request is answered with 503
_NEXT_PROXY_LIMIT_S = 60.0
_DRIVER_ENDS_S = 30.0  # Ray has seen by then that a driver is gone, also with its whole node
_LOOK_BACK_S = 15.0  # the mean of so long counts; replicas tell what they have every 10 s, which has to be less
_SCALE_UP_S = 5.0
_SOCKETS_LEAVE_S = 30.0
# What goes on in the dispatcher's process.
_BESIDE = ("serve.watching", "serve.scheduled_backups", "serve.webhooks", "serve.alerts")
_RAYS_LOGS = "Ray's logs, in the logs folder or, of a Ray that was joined, on its nodes, tell more."
_log = logging.getLogger("mediaray.up")


@contextlib.contextmanager
def _told_in_words() -> Iterator[None]:
    """Raises StartupError in place of what Ray says."""
    try:
        yield
    except (ray.exceptions.RayError, TimeoutError) as error:
        _log.error("a part of the server doesn't start", exc_info=error)  # its text may be a traceback from elsewhere
        raise StartupError(
            f"A part of the server didn't get ready ({type(error).__name__}). Where the machine is very busy, start it "
            f"again when it is less so; otherwise look into up.log. {_RAYS_LOGS}"
        ) from error


@_told_in_words()
def make_way(settings: Settings, urls: RedisUrls) -> bool:
    """Take off a cluster what a server left there that was killed: all of it, unless it is what is to be started.

    Returns:
        Whether Serve, of which that is a part, listens already where the edge is to be.

    Raises:
        StartupError: a server that lives is on this cluster, or Serve listens elsewhere.
    """
    _refuse_beside_another()
    if not as_started(WorkerConfig(settings, urls.jobs, urls.cache), VERSION) and _is_left():
        leave()
    serving = _get_global_client(raise_if_no_controller_running=False)
    if serving is None:
        return False
    where = serving.http_config
    if (where.host, where.port) != (settings.host, settings.port):
        raise StartupError(
            f"Ray Serve already runs on this cluster, and listens at {where.host}:{where.port}, the only place it can. "
            "Give this server that port, or another Ray."
        )
    return True


def _is_left() -> bool:
    """Whether anything is there that is certainly ours; a Serve that idles may be another program's."""
    return bool(named_actors()) or APPLICATION in ray_serve.status().applications


def _refuse_beside_another() -> None:
    if holds():
        raise StartupError("Another server is on this Ray: one that Serve runs. Use that one, or another Ray.")
    deadline = time.monotonic() + _DRIVER_ENDS_S
    while named_actors() and other_drivers(NAMESPACE):
        if time.monotonic() > deadline:
            raise StartupError("Another server is on this Ray, which has room for one. Stop that one first.")
        time.sleep(0.1)


@_told_in_words()
def start(settings: Settings, urls: RedisUrls, token: str) -> ActorHandle[Any]:
    """Start or find everything on the cluster, side by side; returns the dispatcher when all is ready.

    Raises:
        StartupError: a part of it doesn't get ready.
    """
    config = WorkerConfig(settings, urls.jobs, urls.cache)
    modules = [catalogue().module_of(name) for name in catalogue().names()]
    with ThreadPoolExecutor(1) as pool:
        # Returns when the proxy listens, for which nothing else needs to wait.
        proxy = pool.submit(ray_serve.start, http_options={"host": settings.host, "port": settings.port})
        _wait_for_controller(proxy)
        registry = start_registry(config)
        dispatcher = start_dispatcher(config, modules, VERSION, _BESIDE)
        start_edge(settings, urls, token)
        _wait_for_proxy(proxy, settings)
    wait_ready(registry, dispatcher)
    return dispatcher


def start_actors(settings: Settings, urls: RedisUrls) -> None:
    """Start or find the registry and the dispatcher, where something else starts the edge; returns when both are ready.

    Those of other settings or another version are ended first.
    """
    config = WorkerConfig(settings, urls.jobs, urls.cache)
    modules = [catalogue().module_of(name) for name in catalogue().names()]
    if not as_started(config, VERSION):
        end_all()
    registry = start_registry(config)
    dispatcher = start_dispatcher(config, modules, VERSION, _BESIDE)
    wait_ready(registry, dispatcher)


def leave() -> None:
    """Take all of ours off a cluster that goes on without this server: jobs wait in the store for the next one.

    Raises:
        RayError, TimeoutError: an actor doesn't end.
    """
    try:
        end_dispatcher()  # one that drained is nothing for the next server, should this one be killed half-way
        _leave_serve()
    finally:
        end_all()


def _leave_serve() -> None:
    try:
        if APPLICATION in ray_serve.status().applications:
            ray_serve.delete(APPLICATION)
        if not ray_serve.status().applications:
            ray_serve.shutdown()  # type: ignore[no-untyped-call]
    except (ray.exceptions.RayError, RayServeException, TimeoutError) as error:
        _log.warning("Serve doesn't let go of the API", exc_info=error)


def _wait_for_controller(starting: Future[None]) -> None:
    while not starting.done():
        with contextlib.suppress(ValueError):  # not there yet
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            return
        time.sleep(0.02)


def _wait_for_proxy(starting: Future[None], settings: Settings) -> None:
    """Wait until the edge is reached; where Serve ends its first proxy, which was too slow for it, through the next."""
    try:
        starting.result()
    except (ray.exceptions.RayError, TimeoutError) as error:
        _log.warning("the proxy was ended while it started (%s); waiting for the next", type(error).__name__)
        deadline = time.monotonic() + _NEXT_PROXY_LIMIT_S
        while not _answers(settings):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _answers(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=_EDGE_TIMEOUT_S)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"{V1}/health/live")
        return connection.getresponse().status == 200
    return False


def start_edge(settings: Settings, urls: RedisUrls, token: str) -> None:
    """Start the HTTP edge and wait until it answers.

    Raises:
        StartupError: a replica doesn't start.
    """
    try:
        application = edge_application(settings, urls, token)
        ray_serve.run(application, name=APPLICATION, route_prefix="/", blocking=False)
    except (RuntimeError, RayServeException) as error:
        what = getattr(error, "cause", None) or error  # without the traceback of Serve's process
        raise StartupError(f"The HTTP edge doesn't start: {what} {_RAYS_LOGS}") from error


def edge_application(settings: Settings, urls: RedisUrls, token: str) -> ray_serve.Application:
    """The HTTP edge, to be run."""
    deployment = ray_serve.deployment(
        name="edge",
        # A socket is one ongoing request for all its life.
        max_ongoing_requests=4000,
        ray_actor_options={"num_cpus": 0, "resources": ON_HEAD},
        health_check_period_s=2,
        health_check_timeout_s=30,  # one that is busy answers late: started anew it would lose all its sockets
        graceful_shutdown_wait_loop_s=0.1,
        **_replicas(settings),
    )(ray_serve.ingress()(Edge))
    return deployment.bind(settings, urls, token)


def _replicas(settings: Settings) -> dict[str, Any]:
    """How many replicas there are, and how long one that goes waits for its sockets, which never end by themselves.

    Before HAProxy Serve gives it 30 s in any case, then closes what is left with 1012 (service restart).
    """
    if settings.most_api_replicas == settings.api_replicas:
        return {"num_replicas": settings.api_replicas, "graceful_shutdown_timeout_s": 1}
    scaling = AutoscalingConfig(
        min_replicas=settings.api_replicas,
        max_replicas=settings.most_api_replicas,
        target_ongoing_requests=settings.api_target_requests,
        look_back_period_s=_LOOK_BACK_S,
        upscale_delay_s=_SCALE_UP_S,
        downscale_delay_s=settings.api_rest_s,
    )
    return {"autoscaling_config": scaling, "graceful_shutdown_timeout_s": _SOCKETS_LEAVE_S}


class Edge:
    """One replica."""

    def __init__(self, settings: Settings, urls: RedisUrls, token: str) -> None:
        self._settings, self._urls, self._token = settings, urls, token

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        return replica_app(self._settings, self._urls, self._token)


def replica_app(settings: Settings, urls: RedisUrls, token: str) -> ASGIApp:
    """The application of one replica, with everything it needs."""
    log_to(Home(settings.home).log, settings.log_format)
    push_to(urls.cache)
    trace_to(settings.otlp_endpoint, "edge")
    tell_at_zero(catalogue().names())
    store = JobStore(urls.jobs, patience=_EDGE_PATIENCE, timeout_s=_EDGE_TIMEOUT_S)
    cache = Cache(urls.cache)
    lane = RayInteractiveLane()
    jobs = JobService(settings, store, catalogue(), lane)
    media = MediaService(
        settings,
        lane,
        NearCache(urls.cache),
        cache,
        frozenset(catalogue().names()),
        partial(identities, settings.home),
    )
    feed = Feed(LiveRegistry(urls.cache), jobs)
    page = MetricsPage(
        store,
        cache,
        partial(pushed, urls.cache),
        _queue_facts,
        lambda: feed.connected,
        catalogue().names(),
        VERSION,
        lambda: backup_health(settings, datetime.now(UTC)),
        _node_classes,
    )
    capacity = CapacityPage(_queue_facts, partial(pushed, urls.cache), _node_classes)
    scrape_token = settings.scrape_token
    return build_app(
        jobs=jobs,
        store=store,
        media=media,
        feed=feed,
        token=token,
        signer=Signer(Home(settings.home).picture_keys),
        home=settings.home,
        hosts=accepted_hosts(settings.host, settings.port, settings.allowed_hosts),
        health=_health(settings, store, jobs, media, feed),
        looks=DeepHealth(settings, urls, partial(ask_nodes, settings.home)).checks,
        capacity=capacity.view,
        metrics=page.text,
        webhooks=webhook_routes(settings, Outbox(urls.jobs, patience=_EDGE_PATIENCE, timeout_s=_EDGE_TIMEOUT_S)),
        scrape_token=scrape_token.get_secret_value() if scrape_token else None,
        version=VERSION,
    )


async def _queue_facts() -> QueueFacts:
    try:
        facts: QueueFacts = await actor(DISPATCHER).facts.remote()
    except (ValueError, ray.exceptions.RayError) as error:
        raise PartAwayError from error
    return facts


def _node_classes() -> Sequence[NodeClass]:
    try:
        return node_classes()
    except ray.exceptions.RayError as error:
        raise PartAwayError from error


def _health(settings: Settings, store: JobStore, jobs: JobService, media: MediaService, feed: Feed) -> Any:
    async def health() -> Health:
        cache = await media.stats()
        checks = {"store": "ok", "registry": "ok" if feed.connected else "away", "dispatcher": "ok"}
        checks["cache"] = "away" if cache is None else "ok"
        counted: dict[str, int] = {}
        try:
            await store.ping()
            counted = await jobs.count()
        except redis.RedisError:
            checks["store"] = "away"
        try:
            await answered(actor(DISPATCHER).idle_s.remote())
        except (ValueError, ray.exceptions.RayError, PartAwayError):
            checks["dispatcher"] = "away"
        backup = backup_health(settings, datetime.now(UTC))
        if backup is not None and backup.state != "waiting":
            checks["backup"] = backup.state
        status = "ok" if set(checks.values()) == {"ok"} else "degraded"
        return Health(status=status, version=VERSION, checks=checks, jobs=counted, cache=cache, backup=backup)

    return health
