"""How each node of the cluster is, as it tells when it is asked."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray

from cluster.node_facts import NodeFacts, node_facts
from pipelines.jobs.runner import CONTROL, runner_name
from serve.actors import actor
from serve.looks import Looks

_ANSWER_S = 3.0
_NODES_S = 6.0


@dataclass(frozen=True)
class NodeAnswer:
    """A node that is alive. ``silent``: why nothing is known of it, where ``facts`` is None.

    ``ahead_s``: how much later it is by its clock than by this process's, give or take ``unsure_s``, for the question
    and the answer took their time.
    """

    name: str
    facts: NodeFacts | None = None
    ahead_s: float = 0.0
    unsure_s: float = 0.0
    silent: str = ""
    resting: bool = False


async def ask_nodes(home: Path, looks: Looks) -> tuple[list[NodeAnswer], int]:
    """Each node that is alive, and how many were there and are gone. A node with nothing to do has nobody to ask.

    Raises:
        TimeoutError: Ray doesn't tell which there are.
    """
    own = ray.get_runtime_context().get_node_id()
    nodes, runners = await looks.look("nodes", _NODES_S, _nodes)
    answers = await asyncio.gather(
        *(_ask(node, runner, home if node["NodeID"] == own else None, looks) for node, runner in runners)
    )
    return sorted(answers, key=lambda each: each.name), nodes - len(runners)


def _nodes() -> tuple[int, Sequence[tuple[Mapping[str, Any], Any]]]:
    """How many there are, and those alive, each with its runner; None: it rests."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return len(nodes), [(node, _runner(node["NodeID"])) for node in nodes if node["Alive"]]


def _runner(node: str) -> Any:
    try:
        return actor(runner_name(node))
    except ValueError:  # no actor of that name
        return None


async def _ask(node: Mapping[str, Any], runner: Any, own_home: Path | None, looks: Looks) -> NodeAnswer:
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    if runner is None and own_home is None:
        return NodeAnswer(name, silent="it rests: nothing of this server's runs there now", resting=True)
    asked = time.time()
    try:
        if own_home:
            facts = await looks.look("disks", _ANSWER_S, partial(node_facts, own_home))
            facts = replace(facts, lacks=await _lacks_of(runner))
        else:
            facts = await asyncio.wait_for(_facts_of(runner), _ANSWER_S)
    except TimeoutError:
        why = ": does a disk of its hang?" if own_home else ""
        return NodeAnswer(name, silent=f"no answer in {_ANSWER_S:.0f} s{why}")
    except (ray.exceptions.RayError, AttributeError) as error:  # as of a runner of a version that can't be asked
        return NodeAnswer(name, silent=f"no answer ({type(error).__name__}): is another version of mediaray there?")
    answered = time.time()
    return NodeAnswer(name, facts, facts.at_s - (asked + answered) / 2, (answered - asked) / 2)


async def _lacks_of(runner: Any) -> tuple[str, ...]:
    """What is missing in sandboxes of this node; nothing where none is told of, as on a head that does no work."""
    if runner is None:
        return ()
    try:
        lacks = await asyncio.wait_for(runner.lacks.options(concurrency_group=CONTROL).remote(), _ANSWER_S)
    except (TimeoutError, ray.exceptions.RayError):
        return ()
    return tuple(sorted(lacks))


async def _facts_of(runner: Any) -> NodeFacts:
    facts: NodeFacts = await runner.node_facts.options(concurrency_group=CONTROL).remote()
    return facts
