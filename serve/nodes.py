"""How each node of the cluster is, as it tells when it is asked."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from cluster.node_facts import NodeFacts, node_facts
from pipelines.jobs.runner import CONTROL, runner_name
from serve.actors import actor

_ANSWER_S = 3.0


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


async def ask_nodes(home: Path, pool: Executor) -> tuple[list[NodeAnswer], int]:
    """Each node that is alive, and how many were there and are gone. A node with nothing to do has nobody to ask.

    What may block runs in ``pool``.
    """
    own = ray.get_runtime_context().get_node_id()
    nodes: list[Mapping[str, Any]] = await asyncio.get_running_loop().run_in_executor(pool, ray.nodes)
    alive = [node for node in nodes if node["Alive"]]
    answers = await asyncio.gather(*(_ask(node, home if node["NodeID"] == own else None, pool) for node in alive))
    return sorted(answers, key=lambda each: each.name), len(nodes) - len(alive)


async def _ask(node: Mapping[str, Any], own_home: Path | None, pool: Executor) -> NodeAnswer:
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    asked = time.time()
    try:
        if own_home:
            asking: Awaitable[NodeFacts] = asyncio.get_running_loop().run_in_executor(pool, node_facts, own_home)
        else:
            asking = _facts_of(actor(runner_name(node["NodeID"])))
        facts = await asyncio.wait_for(asking, _ANSWER_S)
    except ValueError:  # no actor of that name
        return NodeAnswer(name, silent="it rests: nothing of this server's runs there now", resting=True)
    except TimeoutError:
        return NodeAnswer(name, silent=f"no answer in {_ANSWER_S:.0f} s")
    except (ray.exceptions.RayError, AttributeError) as error:  # as of a runner of a version that can't be asked
        return NodeAnswer(name, silent=f"no answer ({type(error).__name__}): is another version of mediaray there?")
    answered = time.time()
    return NodeAnswer(name, facts, facts.at_s - (asked + answered) / 2, (answered - asked) / 2)


async def _facts_of(runner: Any) -> NodeFacts:
    facts: NodeFacts = await runner.node_facts.options(concurrency_group=CONTROL).remote()
    return facts
