"""What a machine has, whatever its node is said to have."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

GPU_ROLE = "gpu"  # of a node's label mediaray.io/role
ROLE = "mediaray.io/role"
_MEMORY_SLACK = 1.1  # a machine's kernel keeps some of what the machine is sold with


@dataclass(frozen=True)
class Machine:
    """``gpus`` are NVIDIA's, which Ray's resource stands for; ``mediaray`` is the version that is installed."""

    cpus: int
    memory_bytes: int
    gpus: int
    mediaray: str


def this_machine() -> Machine:
    """The one this process is on; of a container what it may use."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Machine(usable_cpus(), memory_bytes()[0], gpus, version("mediaray"))


def usable_cpus() -> int:
    """CPUs this process may use, by its affinity and, rounded up, by its container's quota."""
    from ray._private.utils import _get_docker_cpus  # of cgroups v1 and v2

    mine = len(os.sched_getaffinity(0))
    quota = _get_docker_cpus(cpuset_file_name="")  # a set of CPUs is in the affinity
    return mine if quota is None else max(1, min(mine, math.ceil(quota)))


def memory_bytes() -> tuple[int, int]:
    """What there is, and what of it can be had: of a container with a limit its own."""
    from ray._common.utils import get_system_memory
    from ray._private.utils import get_cgroup_mem_stats

    host, total, contained = psutil.virtual_memory(), get_system_memory(), get_cgroup_mem_stats()
    if contained is None or total >= host.total:
        return total, host.available
    return total, max(0, min(host.available, total - contained[0]))


def contradictions(machine: Machine, resources: Mapping[str, float], labels: Mapping[str, str]) -> list[str]:
    """What a node is said to have, by Ray's resources and its labels, and its machine doesn't have.

    Units are sent by name: it has to have the version of this process, too.
    """
    found = []
    there = getattr(machine, "mediaray", "an older one")  # told by the code of that node
    if there != (own := version("mediaray")):
        found.append(f"mediaray {there} is there, the server has {own}")
    if resources.get("CPU", 0) > machine.cpus:
        found.append(f"{resources['CPU']:g} CPUs are declared, {machine.cpus} are there")
    if resources.get("memory", 0) > machine.memory_bytes * _MEMORY_SLACK:
        found.append(f"{resources['memory']:.0f} bytes of memory are declared, {machine.memory_bytes} are there")
    wants_gpus = max(resources.get("GPU", 0), float(labels.get(ROLE) == GPU_ROLE))
    if wants_gpus > machine.gpus:
        found.append(f"{wants_gpus:g} GPUs are declared, {machine.gpus} are there")
    return found
