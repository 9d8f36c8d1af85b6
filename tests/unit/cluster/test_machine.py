import os
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import psutil
import pytest
import ray._private.utils as ray_utils

from cluster.machine import Machine, contradictions, memory_bytes, this_machine, usable_cpus

MACHINE = Machine(cpus=8, memory_bytes=16 << 30, gpus=1, mediaray=version("mediaray"))


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
    without = replace(MACHINE, gpus=0)
    assert contradictions(without, {}, {"mediaray.io/role": "gpu"}) == ["1 GPUs are declared, 0 are there"]


def test_a_node_with_another_version_is_told():
    other = replace(MACHINE, mediaray="0.0.1")
    assert contradictions(other, {}, {}) == [f"mediaray 0.0.1 is there, the server has {version('mediaray')}"]


def test_this_machine_is_what_it_is():
    found = this_machine()
    assert found.cpus == usable_cpus()
    assert found.memory_bytes > 0


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("50000 100000", 1), ("250000 100000", 3), ("400000 100000", 4), ("1600000 100000", 8), ("max 100000", 8)],
)
@pytest.mark.parametrize("cgroups", [1, 2])
def test_a_container_s_quota_bounds_its_cpus(tmp_path, monkeypatch, cgroups, quota, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    names = ["quota", "period"] if cgroups == 1 else ["max"]
    texts = quota.replace("max", "-1").split() if cgroups == 1 else [quota]
    for name, text in zip(names, texts, strict=True):
        (tmp_path / name).write_text(f"{text}\n")
    of_container = partial(
        ray_utils._get_docker_cpus,
        cpu_quota_file_name=str(tmp_path / "quota"),
        cpu_period_file_name=str(tmp_path / "period"),
        cpu_max_file_name=str(tmp_path / "max"),
    )
    monkeypatch.setattr(ray_utils, "_get_docker_cpus", of_container)
    assert usable_cpus() == cpus


def test_a_container_with_a_limit_has_that_memory_and_what_it_left_of_it(monkeypatch):
    limit = psutil.virtual_memory().total // 8
    monkeypatch.setattr("ray._common.utils.get_system_memory", lambda: limit)
    monkeypatch.setattr(ray_utils, "get_cgroup_mem_stats", lambda: (limit - 1000, limit))
    assert memory_bytes() == (limit, 1000)
    assert this_machine().memory_bytes == limit
