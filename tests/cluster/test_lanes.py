import asyncio
import contextlib
import os
import signal
import threading

import ray
from ray.autoscaler.v2.sdk import get_cluster_status

from cluster.ray_nodes import Node, living_nodes
from cluster.settings import Settings
from pipelines.jobs import lanes as lanes_module
from pipelines.jobs.lanes import RayLanes
from pipelines.jobs.orders import WorkerConfig


def asked_for() -> int:
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    found = status.resource_demands.cluster_constraint_demand
    return sum(bundle.count for demand in found for bundle in demand.bundles_by_count)


def test_the_autoscaler_is_told_what_is_wanted_and_that_nothing_is(cluster, monkeypatch):
    # As where one runs: ray up and KubeRay start the second version.
    monkeypatch.setattr("ray.autoscaler.v2.utils.cached_is_autoscaler_v2", True)
    config = WorkerConfig(Settings(home=cluster.home.path), cluster.url, cluster.url)
    lanes = RayLanes(config)

    async def want() -> list[int]:
        found = []
        for cpus in (7, 0):
            await lanes.want(cpus)
            found.append(await asyncio.to_thread(asked_for))
        return found

    assert asyncio.run(want()) == [7, 0]


def test_nodes_are_asked_for_while_the_dispatcher_goes_on(cluster, monkeypatch):
    went_on, seen = threading.Event(), []

    def living() -> list[Node]:
        seen.append(went_on.wait(5))
        return living_nodes()

    monkeypatch.setattr("pipelines.jobs.lanes.living_nodes", living)
    lanes = RayLanes(WorkerConfig(Settings(home=cluster.home.path), cluster.url, cluster.url))

    async def body() -> None:
        looking = asyncio.create_task(lanes.refresh())
        await asyncio.sleep(0)
        went_on.set()
        await looking

    asyncio.run(body())
    assert seen == [True]


def test_a_runner_that_answers_nothing_is_started_anew(cluster, monkeypatch):
    monkeypatch.setattr(lanes_module, "_LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(lanes_module, "_ANSWER_S", 2.0)
    lanes = RayLanes(WorkerConfig(Settings(home=cluster.home.path), cluster.url, cluster.url))

    async def body() -> None:
        await lanes.refresh()
        (runner,) = lanes._runners.values()
        await runner.answer.remote()
        stopped = cluster.actor_pid("RunnerActor")
        os.kill(stopped, signal.SIGSTOP)
        try:
            while not cluster.is_gone(stopped):
                await asyncio.sleep(0.1)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)
        while True:
            with contextlib.suppress(ray.exceptions.RayError):
                return await runner.answer.remote()
            await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(body(), 60))
