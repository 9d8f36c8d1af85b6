"""Which nodes have units."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.ray_nodes import Node
from cluster.settings import Settings
from pipelines.jobs import lanes as lanes_module
from pipelines.jobs.lanes import RayLanes
from pipelines.jobs.orders import WorkerConfig


def node(name: str, cpus: int) -> Node:
    return Node(name, {"CPU": float(cpus), "memory": 1e9 * cpus}, {}, draining=False)


@pytest.fixture
def nodes() -> list[Node]:
    """Those that are alive."""
    return []


@pytest.fixture
def lanes(tmp_path, monkeypatch, nodes) -> Any:
    """On the node ``head``; the others are looked at when a test says so."""
    lanes = RayLanes(WorkerConfig(Settings(home=tmp_path), "redis://jobs", "redis://cache"))
    here = SimpleNamespace(get_node_id=lambda: "head")
    monkeypatch.setattr(lanes_module.ray, "get_runtime_context", lambda: here)
    monkeypatch.setattr(lanes_module, "living_nodes", lambda: list(nodes))
    monkeypatch.setattr(lanes, "_start_runner", lambda _: object())
    monkeypatch.setattr(lanes, "_spawn", lambda check: check.close())
    return lanes


def test_a_node_counts_and_has_units_once_it_was_looked_at(lanes, nodes):
    nodes += [node("head", 0), node("a", 2)]
    asyncio.run(lanes.refresh())
    assert lanes.cpus == 0
    lanes._sound.add("a")
    nodes.append(node("b", 4))
    asyncio.run(lanes.refresh())
    assert (lanes.cpus, lanes.largest_cpus) == (2, 2)
    assert lanes._places(1) == {"ray.io/node-id": "!in(b)"}
    assert lanes._places(0) == {"ray.io/node-id": "in(a)"}
    lanes._sound.add("b")
    asyncio.run(lanes.refresh())
    assert (lanes.cpus, lanes._places(1)) == (6, {})


def test_the_node_of_the_dispatcher_has_units_at_once(lanes, nodes):
    nodes.append(node("head", 2))
    asyncio.run(lanes.refresh())
    assert (lanes.cpus, lanes._places(1)) == (2, {})


class Hangs:
    """A runner whose disk hangs."""

    def __init__(self) -> None:
        self.asked = 0
        self.clean_up = self

    def options(self, **_: Any) -> Any:
        return self

    def remote(self, *_: Any) -> Any:
        self.asked += 1
        return asyncio.get_running_loop().create_future()


def test_a_job_s_end_doesn_t_wait_for_ever_for_a_disk_that_hangs(lanes, monkeypatch):
    hangs = Hangs()
    monkeypatch.setattr(lanes_module, "_CLEAN_UP_S", 0.01)
    monkeypatch.setattr(lanes, "_one_runner", lambda: hangs)
    asyncio.run(lanes.clean_up("job", [], [], artifacts=False))
    assert hangs.asked == 3
