"""The two named actors that a server needs: started, found again, or ended with all that they have started."""

import asyncio
import contextlib
import importlib
import json
import logging
import os
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import ray
from pydantic import SecretStr
from ray.actor import ActorHandle

from cluster.child import BEHIND_THE_API_NICE
from cluster.home import Home
from cluster.logs import log_to
from cluster.metrics import push_to
from cluster.tracing import trace_to
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.dispatcher import Dispatcher
from pipelines.jobs.driver import Driver
from pipelines.jobs.lanes import RayLanes
from pipelines.jobs.models import Unit
from pipelines.jobs.orders import DISPATCHER, NAMESPACE, ON_HEAD, REGISTRY, UnitReport, WorkerConfig
from pipelines.jobs.queue_facts import QueueFacts
from pipelines.jobs.registry import ProgressRegistry
from pipelines.jobs.runner import RUNNERS

_AGAIN_S = 30.0
_ANSWER_LIMIT_S = 30.0
_READY_LIMIT_S = 600.0  # a large store is read meanwhile, and the lease of a dead dispatcher runs out
_END_LIMIT_S = 60.0
_log = logging.getLogger("mediaray.dispatcher")


class DispatcherActor:
    """Shell around the Dispatcher. ``beside`` are modules whose ``run`` goes on beside it, in the same process."""

    def __init__(self, config: WorkerConfig, modules: list[str], version: str, beside: Sequence[str] = ()) -> None:
        os.nice(BEHIND_THE_API_NICE)  # of this thread, on which the loop runs, and of those that it starts
        self._identity = identity_of(config, version)
        log_to(Home(config.settings.home).log, config.settings.log_format)
        push_to(config.cache_url)
        trace_to(config.settings.otlp_endpoint, "dispatcher")
        lanes, catalogue = RayLanes(config), Catalogue.load(modules)
        self._dispatcher = Dispatcher(config.settings, config.redis_url, catalogue, lanes)
        loop = asyncio.get_running_loop()
        self._life = loop.create_task(self._live())
        self._beside = [loop.create_task(self._keep_up(module, config, catalogue)) for module in beside]

    async def _live(self) -> None:
        try:
            await self._dispatcher.run()
        except Exception:  # noqa: BLE001 whatever it is, the log must have it before this life ends
            _log.exception("the dispatcher failed")
        finally:
            # Ended without being asked to: a fresh life rebuilds everything from the store. Ray gives one to an actor
            # that crashed, not to one that left by exit_actor().
            os._exit(1)

    async def _keep_up(self, module: str, config: WorkerConfig, catalogue: Catalogue) -> None:
        await self._dispatcher.leading.wait()
        await keep_up(module, config, catalogue)

    async def identity(self) -> str | None:
        """Of what it was started with; see ``identity_of``. None: it drains, and starts nothing any more."""
        return None if self._dispatcher.draining else self._identity

    async def ready(self) -> None:
        """Wait until it leads."""
        await self._dispatcher.leading.wait()

    async def drain(self, grace_s: float) -> None:
        await self._dispatcher.drain(grace_s)

    async def warm(self) -> None:
        await self._dispatcher.warm()

    async def do_batch(self, driver: Driver, batch: Unit) -> UnitReport:
        return await self._dispatcher.do_batch(driver, batch)

    async def forget_batches(self, driver: Driver, names: Sequence[str]) -> None:
        await self._dispatcher.forget_batches(driver, names)

    async def idle_s(self) -> float:
        return self._dispatcher.idle_s()

    async def facts(self) -> QueueFacts:
        return self._dispatcher.facts()


async def keep_up(module: str, config: WorkerConfig, catalogue: Catalogue, again_s: float = _AGAIN_S) -> None:
    """Have a module's ``run`` go on; begin it anew whenever it ends."""
    while True:
        try:
            await importlib.import_module(module).run(config, catalogue)
        except Exception as error:  # noqa: BLE001 whatever it is, units go on being handed out
            _log.warning("%s failed; it begins anew in %.0f s", module, again_s, exc_info=error)
        await asyncio.sleep(again_s)


def start_registry(config: WorkerConfig) -> ActorHandle[Any]:
    """Start the progress registry, or find the one that runs."""
    return _named(ProgressRegistry, REGISTRY, config)


def start_dispatcher(
    config: WorkerConfig, modules: list[str], version: str, beside: Sequence[str] = ()
) -> ActorHandle[Any]:
    """Start the dispatcher, or find the one that runs."""
    return _named(DispatcherActor, DISPATCHER, config, modules, version, beside)


def wait_ready(*actors: ActorHandle[Any], limit_s: float = _READY_LIMIT_S) -> None:
    """Wait until all of them are ready. Raises RayError: one isn't in time, or is gone."""
    ray.get([each.ready.remote() for each in actors], timeout=limit_s)


def identity_of(config: WorkerConfig, version: str) -> str:
    """A digest of all that the actors are started with, secrets too: only to be compared, so never log or show it."""
    facts = [version, config.redis_url, config.cache_url, config.settings.model_dump()]
    return blake2b(json.dumps(facts, default=_plain).encode(), digest_size=32).hexdigest()


def _plain(value: Any) -> str:
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)


def as_started(config: WorkerConfig, version: str, limit_s: float = _ANSWER_LIMIT_S) -> bool:
    """Whether both actors are there, answer, and are of this identity, and the dispatcher doesn't drain."""
    try:
        told: Any = ray.get(_found(DISPATCHER).identity.remote(), timeout=limit_s)
        if told != identity_of(config, version):
            return False
        wait_ready(_found(REGISTRY), limit_s=limit_s)
    except (ValueError, AttributeError, ray.exceptions.RayError):  # not there; of an early version; doesn't answer
        return False
    return True


def named_actors() -> list[str]:
    """The names of both actors and the runners, of those that are there; the dispatcher, which starts others, first."""
    named = ray.util.list_named_actors(all_namespaces=True)
    ours = [each["name"] for each in named if each["namespace"] == NAMESPACE]
    found = [name for name in ours if name in (DISPATCHER, REGISTRY) or name.startswith(RUNNERS)]
    return sorted(found, key=lambda name: name != DISPATCHER)


def end_dispatcher() -> None:
    """End the dispatcher, which stays away."""
    with contextlib.suppress(ValueError):  # not there
        ray.kill(_found(DISPATCHER))


def end_all() -> None:
    """End both actors and the runners; returns when their names are free.

    Raises:
        TimeoutError: they aren't in time.
    """
    deadline = time.monotonic() + _END_LIMIT_S
    while there := named_actors():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still there: {', '.join(there)}")
        for name in there:
            with contextlib.suppress(ValueError):  # gone meanwhile
                ray.kill(_found(name))
        time.sleep(0.05)


def _found(name: str) -> ActorHandle[Any]:
    return ray.get_actor(name, namespace=NAMESPACE)


def _named(actor: Any, name: str, *arguments: Any) -> ActorHandle[Any]:
    handle: ActorHandle[Any] = ray.remote(actor).options(**_options(name)).remote(*arguments)
    return handle


def _options(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": ON_HEAD,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": 10_000,
    }
