"""What a machine has, whatever its node is said to have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.ray_cluster import usable_cpus

GPU_ROLE = "gpu"  # of a node's label mediaray.io/role
ROLE = "mediaray.io/role"
_MEMORY_SLACK = 1.1  # a machine's kernel keeps some of what the machine is sold with


@dataclass(frozen=True)
class Machine:
    """``gpus`` are NVIDIA's, which Ray's resource stands for."""

    cpus: int
    memory_bytes: int
    gpus: int


def this_machine() -> Machine:
    """The one this process is on; of a container what it may use."""
    from ray._common.utils import get_system_memory  # as Ray counts, with the limits of a container

    return Machine(usable_cpus(), get_system_memory(), len(list(Path("/dev").glob("nvidia[0-9]*"))))


def contradictions(machine: Machine, resources: Mapping[str, float], labels: Mapping[str, str]) -> list[str]:
    """What a node is said to have, by Ray's resources and its labels, and its machine doesn't have."""
    found = []
    if resources.get("CPU", 0) > machine.cpus:
        found.append(f"{resources['CPU']:g} CPUs are declared, {machine.cpus} are there")
    if resources.get("memory", 0) > machine.memory_bytes * _MEMORY_SLACK:
        found.append(f"{resources['memory']:.0f} bytes of memory are declared, {machine.memory_bytes} are there")
    wants_gpus = max(resources.get("GPU", 0), float(labels.get(ROLE) == GPU_ROLE))
    if wants_gpus > machine.gpus:
        found.append(f"{wants_gpus:g} GPUs are declared, {machine.gpus} are there")
    return found
