import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ClusterResourceConstraint

from pipelines.jobs.cpu_request import CpuRequest

PLENTY = 1000


def brought(most: int, wanted: int, machine_cpus: int) -> tuple[int, int]:
    """What an autoscaler that brings all or nothing comes to, and after how many looks it asks for no other count."""
    request, present, refused = CpuRequest(), 0, None
    asked = [request.next(wanted, present, refused, 0.0)]
    for _ in range(100):
        refused = asked[-1] if asked[-1] > most else None
        if refused is None:
            present = max(present, min(most, -(-asked[-1] // machine_cpus) * machine_cpus))
        asked.append(request.next(wanted, present, refused, 0.0))
    return present, next(index for index, count in enumerate(asked) if set(asked[index:]) == {count})


@given(most=st.integers(1, 64), wanted=st.integers(1, PLENTY), machine_cpus=st.sampled_from([1, 2, 8]))
def test_as_much_is_brought_as_can_be_whatever_is_wanted(most, wanted, machine_cpus):
    most *= machine_cpus
    present, looks = brought(most, wanted, machine_cpus)
    assert present == min(most, -(-wanted // machine_cpus) * machine_cpus)
    assert looks <= 25


def ray_brings(cpus: int) -> tuple[int, int | None]:
    """CPUs that Ray's own scheduler brings where so many are asked for, at most five machines of 8; what it refuses."""
    one = ResourceRequestUtil.make({"CPU": 1})
    asked = ClusterResourceConstraint(resource_requests=ResourceRequestUtil.group_by_count([one] * cpus))
    kinds = {"work": NodeTypeConfig(name="work", min_worker_nodes=0, max_worker_nodes=5, resources={"CPU": 8})}
    request = SchedulingRequest(
        node_type_configs=kinds,
        max_num_nodes=6,
        cluster_resource_constraints=[asked],
        current_instances=[],
        disable_launch_config_check=True,
    )
    reply = ResourceDemandScheduler(None).schedule(request)
    return 8 * sum(
        each.count for each in reply.to_launch
    ), cpus if reply.infeasible_cluster_resource_constraints else None


def test_ray_s_scheduler_brings_all_that_it_may_though_more_is_wanted():
    assert ray_brings(PLENTY) == (0, PLENTY)
    request, present, refused = CpuRequest(), 0, None
    for _ in range(20):
        brings, refused = ray_brings(request.next(PLENTY, present, refused, 0.0))
        present = max(present, brings)
    assert present == 40


def test_work_that_becomes_less_while_it_is_refused_gets_its_machines():
    request, present, refused = CpuRequest(), 1, None
    for wanted in range(96, 84, -1):
        asked = request.next(wanted, present, refused, 5.0 * (96 - wanted))
        refused = asked if asked > 3 else None
        present = max(present, asked if refused is None else 0)
    assert present == 3


def test_what_is_not_refused_is_asked_for_at_once():
    request = CpuRequest()
    assert [request.next(wanted, 0, None, 0.0) for wanted in (7, 3, 0, 12)] == [7, 3, 0, 12]


def test_what_is_on_its_way_is_not_asked_for_anew():
    request = CpuRequest()
    request.next(100, 2, None, 0.0)
    assert [request.next(100, 2, 100, 0.0), request.next(100, 2, None, 0.0)] == [14, 14]


def test_what_is_not_refused_for_a_while_is_granted_and_more_is_asked_for_before_it_is_there():
    request = CpuRequest()
    request.next(100, 2, None, 0.0)
    request.next(100, 2, 100, 0.0)
    assert [request.next(100, 2, None, now_s) for now_s in (16.0, 17.0, 32.0)] == [37, 37, 60]


def test_what_was_taken_for_granted_and_is_refused_after_all_is_asked_for_no_more():
    request = CpuRequest()
    request.next(100, 2, None, 0.0)
    request.next(100, 2, 100, 0.0)
    request.next(100, 2, None, 16.0)
    assert request.next(100, 2, 37, 17.0) == 8


def test_lost_machines_are_asked_for_again():
    request = CpuRequest()
    request.next(100, 0, None, 0.0)
    request.next(100, 0, 100, 0.0)
    assert request.next(100, 50, None, 0.0) == 70
    assert request.next(100, 10, None, 0.0) == 70


@pytest.mark.parametrize(("wanted", "now_s"), [(0, 1.0), (100, 601.0)])
def test_a_refusal_is_forgotten_with_the_work_and_after_a_while(wanted, now_s):
    request = CpuRequest()
    request.next(100, 0, None, 0.0)
    request.next(100, 0, 100, 0.0)
    request.next(wanted, 0, None, now_s)
    assert request.next(100, 0, None, now_s) == 100
