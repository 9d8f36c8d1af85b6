from typing import Any

import pytest

from cluster.metrics import REGISTRY
from pipelines.jobs import work_metrics
from pipelines.jobs.work_metrics import Work, at_work


class PretendChild:
    cpu_s = 0.0


@pytest.fixture
def child() -> Any:
    return PretendChild()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_unit_that_is_done_is_counted_by_operation_and_stage(child):
    before = counted("mediaray_unit_seconds_count", operation="whole", stage="unit")
    with at_work("whole", "unit", child):
        pass
    assert counted("mediaray_unit_seconds_count", operation="whole", stage="unit") == before + 1


def test_a_unit_that_fails_isn_t_counted_as_done_but_what_it_took_is(child):
    def fail() -> None:
        with at_work("broken", "unit", child):
            child.cpu_s = 3.0
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert counted("mediaray_unit_seconds_count", operation="broken", stage="unit") == 0
    assert counted("mediaray_cpu_seconds_total", operation="broken") >= 3.0


def test_only_what_the_child_took_for_this_unit_is_counted(child):
    child.cpu_s = 100.0
    with at_work("warm", "unit", child):
        child.cpu_s = 102.0
    assert 2.0 <= counted("mediaray_cpu_seconds_total", operation="warm") < 50.0


def test_what_takes_hours_is_counted_as_it_goes_on(child, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(work_metrics.time, "monotonic", lambda: clock[0])
    work = Work("long", child)
    child.cpu_s = 4.0
    work.goes_on()
    assert counted("mediaray_cpu_seconds_total", operation="long") == 0.0
    clock[0] = 6.0
    work.goes_on()
    assert counted("mediaray_cpu_seconds_total", operation="long") >= 4.0
