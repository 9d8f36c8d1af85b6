"""The cluster this process is connected to: nodes, autoscaler, drivers. What Ray is asked, and told. May block."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.state import state  # Ray has no other way to tell which nodes are drained
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated import autoscaler_pb2

_LIMIT_S = 5.0
_generated: Any = autoscaler_pb2  # without types
_log = logging.getLogger("mediaray.nodes")


@dataclass(frozen=True)
class Node:
    """A node that is alive. One that is ``draining`` takes no more work, and leaves when what runs there has ended."""

    id: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    draining: bool

    @property
    def cpus(self) -> int:
        return int(self.resources.get("CPU", 0))

    @property
    def memory_bytes(self) -> int:
        return int(self.resources.get("memory", 0))


def living_nodes() -> list[Node]:
    draining = state.get_draining_nodes()
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Node(node["NodeID"], node["Resources"], node["Labels"], node["NodeID"] in draining) for node in nodes]


def drain(node_id: str, why: str) -> None:
    """Have a node take no more work, and leave. Raises RpcError where Ray's head doesn't answer."""
    accepted, refusal = _gcs().drain_node(node_id, _generated.DRAIN_NODE_REASON_PREEMPTION, why, 0)
    if not accepted:
        _log.warning("node %s isn't drained: %s", node_id[:12], refusal)


def ask_for_cpus(cpus: int) -> None:
    """Have an autoscaler, where there is one, bring as many CPUs in all."""
    request_resources(num_cpus=cpus)


def refused_cpus() -> int | None:
    """What was asked for, and the autoscaler says that it can't bring; None where it says nothing of the kind."""
    if not is_autoscaler_v2():
        return None
    reply = _generated.GetClusterStatusReply()
    try:
        reply.ParseFromString(_gcs().get_cluster_status(timeout_s=_LIMIT_S))
    except ray.exceptions.RpcError as error:
        _log.warning("the autoscaler's state can't be read: %s", error)
        return None
    refused = reply.autoscaling_state.infeasible_cluster_resource_constraints
    return min((sum(each.count for each in one.resource_requests) for one in refused), default=None)


def other_drivers(namespace: str) -> int:
    """How many other programs are connected with this namespace. One that was killed counts for some moments."""
    own = ray.get_runtime_context().get_job_id()
    jobs = _gcs().get_all_job_info(skip_submission_job_info_field=True, skip_is_running_tasks_field=True)
    found = [job for job in jobs.values() if not job.is_dead and job.config.ray_namespace == namespace]
    return sum(job.job_id.hex() != own for job in found)


def _gcs() -> Any:
    return GcsClient(address=ray.get_runtime_context().gcs_address)
