"""Where everything is wired together: the actors, the replicas of the edge, and what they are made of."""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import ray
import redis
from ray import serve as ray_serve
from ray.actor import ActorHandle
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from starlette.types import ASGIApp

from cluster.errors import StartupError
from cluster.home import Home
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from pipelines.jobs.actors import replace_other_version, start_dispatcher, start_registry
from pipelines.jobs.orders import DISPATCHER, NAMESPACE, WorkerConfig
from pipelines.jobs.service import JobService
from pipelines.jobs.store import JobStore
from serve.actors import LiveRegistry, RayInteractiveLane, actor
from serve.app import build_app
from serve.catalogue import catalogue
from serve.feed import Feed
from serve.guard import accepted_hosts
from serve.signing import Signer
from serve.views import Health

VERSION = version("mediaray")
APPLICATION = "mediaray"
_EDGE_TIMEOUT_S = 2.0
_EDGE_PATIENCE = 4  # tries while Redis is away, before a request is answered with 503


def start(settings: Settings, urls: RedisUrls, token: str) -> ActorHandle[Any]:
    """Start or find everything on the cluster, side by side; returns the dispatcher when all is ready."""
    config = WorkerConfig(settings, urls.jobs, urls.cache)
    modules = [catalogue().module_of(name) for name in catalogue().names()]
    with ThreadPoolExecutor(1) as pool:
        # Returns when the proxy listens, for which nothing else needs to wait.
        proxy = pool.submit(ray_serve.start, http_options={"host": settings.host, "port": settings.port})
        _wait_for_controller(proxy)
        registry = start_registry(urls.jobs, urls.cache)
        dispatcher = start_dispatcher(config, modules, VERSION)
        start_edge(settings, urls, token)
        proxy.result()
    ray.get(registry.ready.remote())
    return replace_other_version(dispatcher, config, modules, VERSION)


def leave() -> None:
    """Take all of ours off a cluster that goes on without this server: jobs wait in the store for the next one."""
    ray_serve.delete(APPLICATION)
    if not ray_serve.status().applications:
        ray_serve.shutdown()  # type: ignore[no-untyped-call]
    for named in ray.util.list_named_actors(all_namespaces=True):
        if named["namespace"] == NAMESPACE:
            with contextlib.suppress(ValueError):  # gone meanwhile
                ray.kill(actor(named["name"]))


def _wait_for_controller(starting: Future[None]) -> None:
    while not starting.done():
        with contextlib.suppress(ValueError):  # not there yet
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            return
        time.sleep(0.02)


def start_edge(settings: Settings, urls: RedisUrls, token: str) -> None:
    """Start the HTTP edge and wait until it answers.

    Raises:
        StartupError: a replica doesn't start.
    """
    deployment = ray_serve.deployment(
        name="edge",
        num_replicas=settings.api_replicas,
        # A socket is one ongoing request for all its life.
        max_ongoing_requests=4000,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=1,
        graceful_shutdown_wait_loop_s=0.1,
    )(ray_serve.ingress()(Edge))
    try:
        ray_serve.run(deployment.bind(settings, urls, token), name=APPLICATION, route_prefix="/", blocking=False)
    except RuntimeError as error:
        raise StartupError(f"The HTTP edge doesn't start: {error} Ray's logs are kept in the logs folder.") from error


class Edge:
    """One replica."""

    def __init__(self, settings: Settings, urls: RedisUrls, token: str) -> None:
        self._settings, self._urls, self._token = settings, urls, token

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        return replica_app(self._settings, self._urls, self._token)


def replica_app(settings: Settings, urls: RedisUrls, token: str) -> ASGIApp:
    """The application of one replica, with everything it needs."""
    store = JobStore(urls.jobs, patience=_EDGE_PATIENCE, timeout_s=_EDGE_TIMEOUT_S)
    jobs = JobService(settings, store, catalogue(), RayInteractiveLane())
    feed = Feed(LiveRegistry(urls.cache), jobs)
    return build_app(
        jobs=jobs,
        store=store,
        feed=feed,
        token=token,
        signer=Signer(Home(settings.home).picture_keys),
        hosts=accepted_hosts(settings.host, settings.port, settings.allowed_hosts),
        health=_health(store, jobs, feed),
        version=VERSION,
    )


def _health(store: JobStore, jobs: JobService, feed: Feed) -> Any:
    async def health() -> Health:
        checks = {"store": "ok", "registry": "ok" if feed.connected else "away", "dispatcher": "ok"}
        counted: dict[str, int] = {}
        try:
            await store.ping()
            counted = await jobs.count()
        except redis.RedisError:
            checks["store"] = "away"
        try:
            await actor(DISPATCHER).idle_s.remote()
        except (ValueError, ray.exceptions.RayError):
            checks["dispatcher"] = "away"
        # Limits are in force in every child; seccomp and Landlock are not yet.
        checks["sandbox"] = "degraded"
        status = "ok" if all(checks[name] == "ok" for name in ("store", "registry", "dispatcher")) else "degraded"
        return Health(status=status, version=VERSION, checks=checks, jobs=counted)

    return health
