"""The nodes of the cluster by what they have: classes of machines, and what is free of each."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_ACCELERATOR = "accelerator_type:"  # a resource by which Ray tells what a GPU is called


@dataclass(frozen=True)
class NodeClass:
    """Nodes with as many CPUs and GPUs of a kind as each other. What is free is free with Ray: nobody has claimed it.

    Memory is what Ray has to give: what was free when it started on a node, so nodes of a class differ a little.
    """

    nodes: int
    cpus_each: int
    gpus_each: int
    gpu_type: str | None
    free_cpus: float
    free_gpus: float
    memory_bytes: int
    free_memory_bytes: int

    @property
    def memory_each_bytes(self) -> int:
        return self.memory_bytes // self.nodes


def node_classes() -> tuple[NodeClass, ...]:
    """Of all nodes that are alive and have CPUs for work, the class with the most nodes first. Asks Ray: may block."""
    import ray
    from ray._private.state import available_resources_per_node  # Ray has no other way to tell it by node

    return classes_of(ray.nodes(), available_resources_per_node())  # type: ignore[no-untyped-call]


def classes_of(
    nodes: Collection[Mapping[str, Any]], available: Mapping[str, Mapping[str, float]]
) -> tuple[NodeClass, ...]:
    """``nodes`` as Ray tells them, and what each has left by its id."""
    found: dict[tuple[int, int, str | None], list[tuple[Mapping[str, float], Mapping[str, float]]]] = defaultdict(list)
    for node in nodes:
        has = node["Resources"]
        if node["Alive"] and has.get("CPU", 0) >= 1:
            kind = next(
                (name.removeprefix(_ACCELERATOR) for name in sorted(has) if name.startswith(_ACCELERATOR)), None
            )
            found[int(has["CPU"]), int(has.get("GPU", 0)), kind].append((has, available.get(node["NodeID"], {})))
    classes = [_class_of(*kind, of) for kind, of in found.items()]
    return tuple(sorted(classes, key=lambda each: (-each.nodes, -each.cpus_each, -each.gpus_each, each.gpu_type or "")))


def _class_of(
    cpus: int, gpus: int, gpu_type: str | None, nodes: list[tuple[Mapping[str, float], Mapping[str, float]]]
) -> NodeClass:
    return NodeClass(
        nodes=len(nodes),
        cpus_each=cpus,
        gpus_each=gpus,
        gpu_type=gpu_type,
        free_cpus=sum(free.get("CPU", 0.0) for _, free in nodes),
        free_gpus=sum(free.get("GPU", 0.0) for _, free in nodes),
        memory_bytes=sum(int(has.get("memory", 0)) for has, _ in nodes),
        free_memory_bytes=sum(int(free.get("memory", 0)) for _, free in nodes),
    )
