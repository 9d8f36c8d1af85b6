"""``GET /v1/capacity``: what runs, what is free, what the backlog needs, when it is done, and what more nodes change.

All of it is known elsewhere: the dispatcher's ledger and plans, the nodes as Ray tells them, and what units have cost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from prometheus_client import Metric
from pydantic import BaseModel, Field

from cluster.node_classes import NodeClass
from pipelines.jobs.backlog import Bound, Done, Needed, done_in, needed
from pipelines.jobs.models import rfc3339
from pipelines.jobs.queue_facts import QueueFacts
from pipelines.jobs.work_metrics import costs_of
from serve.parts import answered

MORE_NODES = (1, 2, 4)  # what is told without being asked
MOST_NODES = 1000


class Share(BaseModel):
    """Of something countable: what there is, what is in use, what is free."""

    total: int = Field(description="CPUs, slots, or bytes.")
    in_use: int
    free: int


class NodeClassView(BaseModel):
    """Nodes that have the same. What is free is free with Ray: claimed by nobody, whoever else uses the cluster."""

    nodes: int = Field(description="How many are alive.")
    cpus_each: int = Field(description="CPUs for work, of one node.")
    gpus_each: int = Field(description="GPUs of one node. No operation uses one yet.")
    gpu_type: str | None = Field(description="As Ray names it.")
    memory_each_bytes: int = Field(description="What Ray has to give of one node's memory, on average.")
    free_cpus: float = Field(description="CPUs that nobody claims, of all nodes of this class.")
    free_gpus: float = Field(description="GPUs that nobody claims, of all nodes of this class.")
    free_memory_bytes: int = Field(description="Memory that nobody claims, of all nodes of this class.")


class Running(BaseModel):
    """What is on its way."""

    heavy_units: int = Field(description="Units that use CPUs of their own.")
    interactive_units: int = Field(description="Units of the interactive lane, which claims none.")
    drivers: int = Field(description="Units that ask for others, as runs over collections do.")


class OperationBacklog(BaseModel):
    """What the unfinished jobs of an operation still need, with what is left of units on their way."""

    operation: str
    jobs: int = Field(description="Jobs that want to go on.")
    units: int = Field(description="Units that wait or are on their way, as far as jobs are planned.")
    cpu_s: float = Field(description="CPU time, in seconds of one CPU.")
    measured: bool = Field(description="Reckoned by what such work has cost here; else by the plans' estimates alone.")
    unknown_jobs: int = Field(
        description="Jobs of which that can't be told, or not all: not planned yet while none has ended here, or a run "
        "over a collection."
    )


class BacklogView(BaseModel):
    """What is to be done. Paused jobs aren't part of it."""

    jobs: int
    paused_jobs: int
    unknown_jobs: int = Field(description="With any of these, ``cpu_s`` and ``eta_s`` are what it takes at least.")
    cpu_s: float = Field(description="CPU time, in seconds of one CPU.")
    operations: list[OperationBacklog] = Field(description="Those that need most first.")
    eta_s: float | None = Field(
        description="Seconds until all of it is done, if nothing else comes; null: never, without a CPU for work."
    )
    done_at: str | None = Field(description="The same as a time (RFC 3339).")
    bound: Bound = Field(
        description="What that time hangs on: cpus, memory, or longest_unit, which no further node makes shorter."
    )


class MoreNodes(BaseModel):
    """What so many more nodes of the class that most are of would change."""

    nodes: int = Field(description="How many more.")
    cpus: int = Field(description="CPUs for work there would be then.")
    memory_bytes: int = Field(description="Memory for heavy units there would be then.")
    eta_s: float | None = Field(description="Seconds until the backlog would be done.")
    saved_s: float | None = Field(description="How much sooner that is; null: without them it never is.")
    bound: Bound = Field(description="As of the backlog.")


class Capacity(BaseModel):
    """How much work there is, and what there is to do it with."""

    at: str = Field(description="When this was so (RFC 3339).")
    cpus: Share = Field(description="CPUs for heavy units, of all nodes.")
    memory: Share = Field(description="Bytes of memory that heavy units may claim, of all nodes.")
    interactive: Share = Field(description="Units that may be in the interactive lane at once.")
    running: Running
    nodes: list[NodeClassView] = Field(description="By class, the one with most nodes first.")
    backlog: BacklogView
    more_nodes: list[MoreNodes] = Field(description="Empty while there is no node to go by.")


class CapacityPage:
    """``queue`` asks the dispatcher, ``pushed`` the cache for what was counted, ``classes`` Ray for its nodes."""

    def __init__(
        self,
        queue: Callable[[], Awaitable[QueueFacts]],
        pushed: Callable[[], list[Metric] | None],
        classes: Callable[[], Sequence[NodeClass]],
    ) -> None:
        self._queue, self._pushed, self._classes = queue, pushed, classes

    async def view(self, more: Sequence[int]) -> Capacity:
        """``more``: for so many more nodes. Raises PartAwayError where the dispatcher or Ray doesn't answer in 2 s."""
        queue, counted, classes = await asyncio.gather(
            answered(self._queue()), asyncio.to_thread(self._pushed), answered(asyncio.to_thread(self._classes))
        )
        return capacity_of(queue, counted or (), classes, more, datetime.now(UTC))


def capacity_of(
    queue: QueueFacts, counted: Collection[Metric], classes: Sequence[NodeClass], more: Sequence[int], now: datetime
) -> Capacity:
    """``counted``: what all processes have counted; without it, plans' estimates count as they are."""
    rest = needed(queue.backlog, costs_of(counted), queue.largest_memory_bytes)
    done = done_in(rest.values(), queue.cpus, queue.memory_bytes)
    return Capacity(
        at=_time(now),
        cpus=_share(queue.cpus, queue.cpus_in_use),
        memory=_share(queue.memory_bytes, queue.memory_in_use_bytes),
        interactive=_share(queue.interactive_slots, queue.units["interactive"]),
        running=Running(
            heavy_units=queue.units["heavy"],
            interactive_units=queue.units["interactive"],
            drivers=queue.units["driver"],
        ),
        nodes=[_class_view(each) for each in classes],
        backlog=_backlog(queue, rest, done, now),
        more_nodes=[_with_more(queue, rest.values(), done, classes[0], nodes) for nodes in more] if classes else [],
    )


def capacity_route(view: Callable[[Sequence[int]], Awaitable[Capacity]]) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["health"])

    @router.get("/capacity")
    async def capacity(
        nodes: Annotated[
            int | None,
            Query(
                ge=1,
                le=MOST_NODES,
                description="Tell what so many more nodes would change, of the class that most are of. Default: a row "
                f"each for {', '.join(map(str, MORE_NODES))}.",
            ),
        ] = None,
    ) -> Capacity:
        """What runs, what is free, what the backlog needs, when it is done, and what more nodes would change."""
        return await view(MORE_NODES if nodes is None else (nodes,))

    return router


def _backlog(queue: QueueFacts, rest: dict[str, Needed], done: Done, now: datetime) -> BacklogView:
    rows = [
        OperationBacklog(
            operation=operation,
            jobs=each.jobs,
            units=each.units,
            cpu_s=round(each.cpu_s, 1),
            measured=each.measured,
            unknown_jobs=each.unknown_jobs,
        )
        for operation, each in rest.items()
    ]
    return BacklogView(
        jobs=sum(each.jobs for each in rest.values()),
        paused_jobs=queue.backlog.paused_jobs,
        unknown_jobs=sum(each.unknown_jobs for each in rest.values()),
        cpu_s=round(sum(each.cpu_s for each in rest.values()), 1),
        operations=sorted(rows, key=lambda row: (-row.cpu_s, row.operation)),
        eta_s=_rounded(done.eta_s),
        done_at=None if done.eta_s is None else _time(now + timedelta(seconds=done.eta_s)),
        bound=done.bound,
    )


def _with_more(queue: QueueFacts, rest: Collection[Needed], done: Done, current: NodeClass, nodes: int) -> MoreNodes:
    cpus = queue.cpus + nodes * current.cpus_each
    memory_bytes = queue.memory_bytes + nodes * current.memory_each_bytes
    then = done_in(rest, cpus, memory_bytes)
    sooner_s = None if done.eta_s is None or then.eta_s is None else done.eta_s - then.eta_s
    return MoreNodes(
        nodes=nodes,
        cpus=cpus,
        memory_bytes=memory_bytes,
        eta_s=_rounded(then.eta_s),
        saved_s=_rounded(sooner_s),
        bound=then.bound,
    )


def _class_view(of: NodeClass) -> NodeClassView:
    return NodeClassView(
        nodes=of.nodes,
        cpus_each=of.cpus_each,
        gpus_each=of.gpus_each,
        gpu_type=of.gpu_type,
        memory_each_bytes=of.memory_each_bytes,
        free_cpus=of.free_cpus,
        free_gpus=of.free_gpus,
        free_memory_bytes=of.free_memory_bytes,
    )


def _share(total: int, in_use: int) -> Share:
    """More may be in use than there is: what has just been taken away."""
    return Share(total=total, in_use=in_use, free=max(0, total - in_use))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _time(at: datetime) -> str:
    return rfc3339(int(at.timestamp() * 1000)) or ""
