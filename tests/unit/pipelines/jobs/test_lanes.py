"""Which nodes heavy units may be placed on."""

import pytest

from cluster.settings import Settings
from pipelines.jobs.lanes import RayLanes
from pipelines.jobs.orders import WorkerConfig


@pytest.mark.parametrize(
    ("able", "sound", "failing", "of_a_cpu", "of_none"),
    [
        ({"a", "b"}, {"a", "b"}, set(), {}, {"a", "b"}),
        ({"a", "b"}, {"a"}, set(), {"b"}, {"a"}),  # one that has just come
        ({"a"}, {"a"}, {"b", "c"}, {"b", "c"}, {"a"}),
    ],
)
def test_no_node_has_a_unit_before_it_was_looked_at(tmp_path, able, sound, failing, of_a_cpu, of_none):
    lanes = RayLanes(WorkerConfig(Settings(home=tmp_path), "redis://jobs", "redis://cache"))
    lanes._able, lanes._sound, lanes._failing = frozenset(able), sound, failing
    kept_from = lanes._places(1).get("ray.io/node-id", "!in()").removeprefix("!in(").removesuffix(")")
    assert {each for each in kept_from.split(",") if each} == set(of_a_cpu)
    (places,) = lanes._places(0).values()
    assert set(places.removeprefix("in(").removesuffix(")").split(",")) == of_none
