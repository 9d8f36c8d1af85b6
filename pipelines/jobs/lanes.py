"""Where units run: heavy ones as Ray tasks that claim CPUs, interactive ones in the runner actor of a node."""

import asyncio
import itertools
import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle
from ray.autoscaler.sdk import request_resources

from pipelines.jobs.orders import NAMESPACE, UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.runner import CONCURRENCY, CONTROL, RunnerActor, runner_name
from pipelines.jobs.starting import Capacity
from pipelines.jobs.worker import run_heavy, warm_heavy

_REST_S = 60.0
_MOST_CPUS = 1000  # to ask for: more than any cluster that this is for
_log = logging.getLogger("mediaray.lanes")
_heavy_task: Any = ray.remote(run_heavy)
_warm_task: Any = ray.remote(warm_heavy)
_remote: Any = ray.remote  # its types don't know concurrency groups
_runner_actor: Any = _remote(concurrency_groups={CONTROL: 4})(RunnerActor)


class Lanes(Capacity, Protocol):
    """What the dispatcher asks of the places that do the work."""

    async def start(self, active: set[str]) -> None: ...
    async def warm(self) -> None: ...
    async def refresh(self) -> None: ...
    async def want(self, cpus: int) -> None: ...
    def start_unit(self, order: UnitOrder) -> Any: ...
    async def result(self, ticket: Any) -> UnitReport: ...
    def abandon(self, ticket: Any) -> None: ...
    async def clean_up(self, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None: ...
    async def sweep_kept(self) -> None: ...


@dataclass(frozen=True)
class _Ticket:
    ref: Any
    heavy: bool
    lease_name: str


class RayLanes:
    """The lanes of a Ray cluster: all its CPUs, and a runner on each node that has any."""

    def __init__(self, config: WorkerConfig) -> None:
        self.cpus = 0
        self.largest_cpus = 0
        self.memory_bytes = 0
        self.largest_memory_bytes = 0
        self.interactive_slots = 0
        self.nodes = 0
        self._config = config
        self._runners: dict[str, ActorHandle[Any]] = {}
        self._turn = itertools.count()
        self._asked_cpus: int | None = None  # what another dispatcher asked for is unknown
        self._wanted_at = time.monotonic()

    async def start(self, active: set[str]) -> None:
        """Find the nodes, start their runners, and remove what finished jobs left in scratch. Waits for none of it."""
        await self.refresh()
        _control(self._one_runner().sweep).remote(active)

    async def warm(self) -> None:
        """Start the children that the first jobs will need."""
        await asyncio.gather(*(runner.warm.remote() for runner in self._runners.values()))
        warming = [_warm_task.options(num_cpus=1, max_retries=0).remote(self._config) for _ in range(self.cpus)]
        for task in warming:
            await task

    async def refresh(self) -> None:
        """Look which nodes there are."""
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        able = [node for node in nodes if node["Resources"].get("CPU", 0) >= 1]
        cpus = [int(node["Resources"]["CPU"]) for node in able]
        memory = [int(node["Resources"].get("memory", 0)) for node in able]
        self.cpus, self.largest_cpus = sum(cpus), max(cpus, default=0)
        self.memory_bytes, self.largest_memory_bytes = sum(memory), max(memory, default=0)
        working = {node["NodeID"] for node in able or nodes}
        if resting := time.monotonic() - self._wanted_at > _REST_S:
            working = {ray.get_runtime_context().get_node_id()}
        alive = {node["NodeID"] for node in nodes}
        for node_id in self._runners.keys() - working:
            runner = self._runners.pop(node_id)
            if resting or node_id not in alive:  # it would wait for its node, or keep it from being given back
                ray.kill(runner)
        for node_id in working - self._runners.keys():
            self._runners[node_id] = _runner_actor.options(
                name=runner_name(node_id),
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=CONCURRENCY,
                label_selector={"ray.io/node-id": node_id},
            ).remote(self._config)

        # Twice as many as there are children: the next is there when one is done.
        self.interactive_slots = 2 * len(self._runners) * self._config.settings.interactive_slots
        self.nodes = len(self._runners)

    async def want(self, cpus: int) -> None:
        """Tell how many CPUs all that is to do could use: an autoscaler, where there is one, brings as many.

        Where it has been 0 for a minute, only the runner of this node stays: a node that has one counts as in use.
        """
        if cpus:
            self._wanted_at = time.monotonic()
        cpus = min(cpus, _MOST_CPUS)
        if cpus != self._asked_cpus:
            await asyncio.to_thread(request_resources, num_cpus=cpus)
            self._asked_cpus = cpus

    def start_unit(self, order: UnitOrder) -> _Ticket:
        if order.unit.needs.interactive:
            return _Ticket(self._one_runner().run.remote(order), heavy=False, lease_name=order.lease_name)
        task = _heavy_task.options(
            num_cpus=order.claimed_cpus,
            memory=order.memory_bytes,
            # One that claims no CPU could be placed on a node that has none, too.
            label_selector={} if order.claimed_cpus else {"ray.io/node-id": f"in({','.join(self._runners)})"},
            max_retries=0,
            name=f"{order.module.rpartition('.')[2]}:{order.unit.name}",
        )
        return _Ticket(task.remote(self._config, order), heavy=True, lease_name=order.lease_name)

    async def result(self, ticket: _Ticket) -> UnitReport:
        """The unit's report. Raises what Ray says where the worker, the actor or the node is gone."""
        report: UnitReport = await ticket.ref
        return report

    def abandon(self, ticket: _Ticket) -> None:
        """End the worker of a unit that was taken away and that doesn't end it by itself.

        Ray asks the worker to exit, which one that is stopped or stuck can't; its node's runner kills it.
        """
        if ticket.heavy:
            ray.cancel(ticket.ref, force=True)
            for runner in self._runners.values():
                _control(runner.end_worker_of).remote(ticket.lease_name)

    async def clean_up(self, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None:
        """Remove a job's scratch and staged files, and kept pieces; tried until a runner has done it."""
        while True:
            try:
                await _control(self._one_runner().clean_up).remote(job_id, targets, keys, artifacts)
            except ray.exceptions.RayTaskError:
                _log.exception("cleaning up failed", extra={"job": job_id})
                return
            except ray.exceptions.RayError as error:
                _log.warning("cleaning up: %s; again", type(error).__name__, extra={"job": job_id})
                await asyncio.sleep(0.2)
            else:
                return

    async def sweep_kept(self) -> None:
        """Forget pieces that were kept long enough."""
        _control(self._one_runner().sweep_kept).remote()

    def _one_runner(self) -> ActorHandle[Any]:
        runners = list(self._runners.values())
        return runners[next(self._turn) % len(runners)]


def _control(method: Any) -> Any:
    """A call that waits for no call of the others."""
    return method.options(concurrency_group=CONTROL)
