"""Where units run: heavy ones as Ray tasks that claim CPUs, interactive ones in the runner actor of a node."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle

from cluster.machine import contradictions
from cluster.ray_nodes import Node, ask_for_cpus, drain, living_nodes, refused_cpus
from pipelines.jobs.cpu_request import CpuRequest
from pipelines.jobs.heavy_lane import run_heavy, warm_heavy
from pipelines.jobs.orders import NAMESPACE, UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.runner import CONCURRENCY, CONTROL, LOOK, RunnerActor, runner_name
from pipelines.jobs.starting import Capacity

_LOOK_EVERY_S = 10.0
_ANSWER_S = 60.0  # a machine that is very busy is late, and its units are lost with its runner
_CLEAN_UP_S, _CLEAN_UPS = 300.0, 3  # what is left then, the next start removes
_log = logging.getLogger("mediaray.lanes")
_heavy_task: Any = ray.remote(run_heavy)
_warm_task: Any = ray.remote(warm_heavy)
_remote: Any = ray.remote  # its types don't know concurrency groups
_runner_actor: Any = _remote(concurrency_groups={CONTROL: 4, LOOK: 1})(RunnerActor)


class Lanes(Capacity, Protocol):
    """What the dispatcher asks of the places that do the work."""

    async def start(self, active: set[str]) -> None: ...
    async def warm(self) -> None: ...
    async def refresh(self) -> None: ...
    async def want(self, cpus: int) -> None: ...
    def start_unit(self, order: UnitOrder) -> Any: ...
    async def result(self, ticket: Any) -> UnitReport: ...
    def abandon(self, ticket: Any) -> bool: ...
    async def clean_up(self, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None: ...
    async def sweep_kept(self) -> None: ...


@dataclass(frozen=True)
class _Ticket:
    ref: Any
    lease_name: str
    node_id: str | None = None  # of the runner that has it; None: it is heavy


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
        self._able: frozenset[str] = frozenset()  # nodes with CPUs that may have units
        self._unknown: frozenset[str] = frozenset()  # nodes with CPUs that are yet to be looked at
        self._sound: set[str] = set()  # nodes that were looked at, and are what they are said to be
        self._runners: dict[str, ActorHandle[Any]] = {}
        self._starting: dict[str, ActorHandle[Any]] = {}  # they get no units until they are ready
        self._leaving: dict[str, ActorHandle[Any]] = {}  # they get no more units, and end when theirs have
        self._calls: Counter[str] = Counter()  # units on their way, by the node of their runner
        self._checks: set[asyncio.Task[None]] = set()
        self._turn = itertools.count()
        self._request = CpuRequest()
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
        nodes = await asyncio.to_thread(living_nodes)  # while Ray's head is away, its answer takes long
        usable = [node for node in nodes if not node.draining] or nodes
        here = ray.get_runtime_context().get_node_id()
        self._sound.intersection_update(node.id for node in nodes)
        self._sound.add(here)
        with_cpus = [node for node in usable if node.cpus >= 1]
        able = [node for node in with_cpus if node.id in self._sound]
        self._able = frozenset(node.id for node in able)
        self._unknown = frozenset(node.id for node in with_cpus) - self._able
        self.cpus, self.largest_cpus = _sum_and_most([node.cpus for node in able])
        self.memory_bytes, self.largest_memory_bytes = _sum_and_most([node.memory_bytes for node in able])
        resting = time.monotonic() - self._wanted_at > self._config.settings.node_rest_s
        working = {here} if resting else {node.id for node in with_cpus or usable}
        if not working & self._runners.keys():
            working.add(here)  # as long as no other is ready
        known = self._runners | self._starting
        for node_id in known.keys() - working:
            self._runners.pop(node_id, None)
            self._starting.pop(node_id, None)
            # It would keep its node from being given back; that of a head that does no work is kept for the next time.
            if resting or node_id not in {node.id for node in usable}:
                self._leaving[node_id] = known[node_id]
        self._dismiss({node.id for node in nodes})
        for node in nodes:
            if node.id in working - known.keys():
                self._leaving.pop(node.id, None)
                runner = self._start_runner(node.id)
                if node.id == here:
                    self._take(here, runner)
                else:
                    self._starting[node.id] = runner
                    self._spawn(self._check(node, runner))

        # Twice as many as there are children: the next is there when one is done.
        self.interactive_slots = 2 * len(self._runners) * self._config.settings.interactive_slots
        self.nodes = len(self._runners)

    def _start_runner(self, node_id: str) -> ActorHandle[Any]:
        runner: ActorHandle[Any] = _runner_actor.options(
            name=runner_name(node_id),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=CONCURRENCY,
            label_selector={"ray.io/node-id": node_id},
        ).remote(self._config)
        return runner

    def _take(self, node_id: str, runner: ActorHandle[Any]) -> None:
        """Let a runner have units."""
        self._runners[node_id] = runner
        self._spawn(self._watch(node_id, runner))

    async def _watch(self, node_id: str, runner: ActorHandle[Any]) -> None:
        """Have Ray start a runner anew that answers nothing: each unit that is sent to it would wait for its lease."""
        while self._runners.get(node_id) is runner:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await asyncio.wait_for(runner.answer.options(concurrency_group=LOOK).remote(), _ANSWER_S)
            except TimeoutError:
                _log.error("the runner of node %s answers nothing for %d s: it is ended", node_id[:12], _ANSWER_S)
                ray.kill(runner, no_restart=False)
            except ray.exceptions.RayError:
                continue  # it ended, and comes back

    def _dismiss(self, alive: set[str]) -> None:
        """End runners that are to leave: of a node that is gone at once, since it would wait for its node."""
        for node_id in list(self._leaving):
            if node_id not in alive or not self._calls[node_id]:
                ray.kill(self._leaving.pop(node_id))

    def _spawn(self, check: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(check)
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check(self, node: Node, runner: ActorHandle[Any]) -> None:
        """Let a runner have units when it is ready; drain its node if the machine isn't what the node is said to be.

        Such a node would be given too much.
        """
        try:
            wrong = contradictions(await _control(runner.machine).remote(), node.resources, node.labels)
            if wrong:
                _log.error("node %s isn't what it is said to be, and is drained: %s", node.id[:12], "; ".join(wrong))
                await asyncio.to_thread(drain, node.id, "; ".join(wrong))
                return
            self._sound.add(node.id)
            if self._starting.pop(node.id, None) is not None:
                self._take(node.id, runner)
                runner.warm.remote()
        except ray.exceptions.RayError as error:
            _log.warning("node %s can't be looked at: %s", node.id[:12], type(error).__name__)
            self._starting.pop(node.id, None)

    async def want(self, cpus: int) -> None:
        """Tell how many CPUs all that is to do could use: an autoscaler, where there is one, brings as many.

        Where it has been 0 for a while, only the runner of this node stays: a node that has one counts as in use.
        """
        if cpus:
            self._wanted_at = time.monotonic()
        refused = await asyncio.to_thread(refused_cpus) if self._request.asked > self.cpus else None
        cpus = min(cpus, self._config.settings.most_cpus)
        cpus = self._request.next(cpus, self.cpus, refused, time.monotonic())
        if cpus != self._asked_cpus:
            await asyncio.to_thread(ask_for_cpus, cpus)
            self._asked_cpus = cpus

    def start_unit(self, order: UnitOrder) -> _Ticket:
        if order.unit.needs.interactive:
            node_id = self._next_node()
            self._calls[node_id] += 1
            return _Ticket(self._runners[node_id].run.remote(order), order.lease_name, node_id)
        task = _heavy_task.options(
            num_cpus=order.claimed_cpus,
            memory=order.memory_bytes,
            label_selector=self._places(order.claimed_cpus),
            max_retries=0,
            name=f"{order.module.rpartition('.')[2]}:{order.unit.name}",
        )
        return _Ticket(task.remote(self._config, order), order.lease_name)

    def _places(self, claimed_cpus: int) -> dict[str, str]:
        """Where a heavy unit may go: to no node yet to be looked at, and if it claims no CPU to one that has some."""
        if not claimed_cpus:
            return {"ray.io/node-id": f"in({','.join(self._able or self._runners)})"}
        return {"ray.io/node-id": f"!in({','.join(sorted(self._unknown))})"} if self._unknown else {}

    async def result(self, ticket: _Ticket) -> UnitReport:
        """The unit's report. Raises what Ray says where the worker, the actor or the node is gone."""
        try:
            report: UnitReport = await ticket.ref
        finally:
            if ticket.node_id is not None:
                self._calls[ticket.node_id] -= 1
        return report

    def abandon(self, ticket: _Ticket) -> bool:
        """End the worker of a unit that was taken away and that doesn't end it by itself, unless it does others, too.

        Whether it is ended: then there is a ``result``, an error, once it is gone. Ray asks the worker to exit, which
        one that is stopped or stuck can't; its node's runner kills it.
        """
        if ticket.node_id is not None:
            return False
        ray.cancel(ticket.ref, force=True)
        for runner in (*self._runners.values(), *self._leaving.values()):
            _control(runner.end_worker_of).remote(ticket.lease_name)
        return True

    async def clean_up(self, job_id: str, targets: list[str], keys: list[str], *, artifacts: bool) -> None:
        """Remove a job's scratch and staged files, and kept pieces; tried until a runner has done it.

        A runner may hang, as its disk does: then another is asked. The job's end doesn't wait for ever.
        """
        hung = 0
        while True:
            try:
                done = _control(self._one_runner().clean_up).remote(job_id, targets, keys, artifacts)
                await asyncio.wait_for(done, _CLEAN_UP_S)
            except TimeoutError:
                hung += 1
                _log.warning("cleaning up takes over %d s", _CLEAN_UP_S, extra={"job": job_id})
                if hung == _CLEAN_UPS:
                    return
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
        return self._runners[self._next_node()]

    def _next_node(self) -> str:
        return list(self._runners)[next(self._turn) % len(self._runners)]


def _sum_and_most(counts: list[int]) -> tuple[int, int]:
    return sum(counts), max(counts, default=0)


def _control(method: Any) -> Any:
    """A call that waits for no call of the others."""
    return method.options(concurrency_group=CONTROL)
