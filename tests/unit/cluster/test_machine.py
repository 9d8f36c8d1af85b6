import pytest

from cluster.machine import Machine, contradictions, this_machine
from cluster.ray_cluster import usable_cpus

MACHINE = Machine(cpus=8, memory_bytes=16 << 30, gpus=1)


@pytest.mark.parametrize(
    ("resources", "labels"),
    [
        ({}, {}),
        ({"CPU": 8.0, "memory": float(16 << 30), "GPU": 1.0}, {"mediaray.io/role": "gpu"}),
        ({"CPU": 8.0, "memory": float(17 << 30)}, {"mediaray.io/role": "work"}),  # sold with more than Linux finds
    ],
)
def test_a_machine_may_have_more_than_its_node_is_said_to_have(resources, labels):
    assert contradictions(MACHINE, resources, labels) == []


@pytest.mark.parametrize(
    ("resources", "labels", "told"),
    [
        ({"CPU": 9.0}, {}, "9 CPUs are declared, 8 are there"),
        ({"memory": float(32 << 30)}, {}, f"{32 << 30} bytes of memory are declared, {16 << 30} are there"),
        ({"GPU": 2.0}, {}, "2 GPUs are declared, 1 are there"),
    ],
)
def test_what_the_machine_lacks_is_told(resources, labels, told):
    assert contradictions(MACHINE, resources, labels) == [told]


def test_a_node_that_is_labelled_as_one_with_a_gpu_has_one():
    without = Machine(cpus=8, memory_bytes=16 << 30, gpus=0)
    assert contradictions(without, {}, {"mediaray.io/role": "gpu"}) == ["1 GPUs are declared, 0 are there"]


def test_this_machine_is_what_it_is():
    found = this_machine()
    assert found.cpus == usable_cpus()
    assert found.memory_bytes > 0
