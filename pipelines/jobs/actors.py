"""The two named actors that a server needs, started or found."""

import asyncio
import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

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

_AGAIN_S = 30.0
_log = logging.getLogger("mediaray.dispatcher")


class DispatcherActor:
    """Shell around the Dispatcher. ``beside`` are modules whose ``run`` goes on beside it, in the same process."""

    def __init__(self, config: WorkerConfig, modules: list[str], version: str, beside: Sequence[str] = ()) -> None:
        self._version = version
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

    async def ready(self) -> str:
        """Wait until it leads; its version."""
        await self._dispatcher.leading.wait()
        return self._version

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


def replace_other_version(
    found: ActorHandle[Any], config: WorkerConfig, modules: list[str], version: str, beside: Sequence[str] = ()
) -> ActorHandle[Any]:
    """Wait until the dispatcher leads; one of another version is replaced."""
    running: Any = ray.get(found.ready.remote())
    if running == version:
        return found
    ray.kill(found)
    fresh = start_dispatcher(config, modules, version, beside)
    ray.get(fresh.ready.remote())
    return fresh


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
