from typing import Any

import pytest

from cluster.metrics import REGISTRY
from pipelines.jobs import work_metrics
from pipelines.jobs.work_metrics import Work, at_work, costs_of


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


def test_what_units_cost_is_told_against_what_was_planned(child):
    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_metrics.time, "monotonic", lambda: clock[0])
        with at_work("costly", "unit", child, planned_s=4.0):
            child.cpu_s, clock[0] = 10.0, 6.0
    with at_work("costly", "join", child, planned_s=100.0):
        child.cpu_s = 12.0
    cost = costs_of(REGISTRY.collect())["costly"]
    assert cost.wall == 6.0 / 4.0
    assert cost.cpu == pytest.approx(12.0 / 4.0, abs=0.1)  # and what this thread took
    assert cost.job_cpu_s == pytest.approx(12.0, abs=0.4)


def test_of_work_that_only_drives_or_failed_no_cost_is_told(child):
    with at_work("driving", "drive", child, planned_s=3600.0):
        pass
    with pytest.raises(ValueError), at_work("driving", "unit", child, planned_s=1.0):
        raise ValueError
    assert "driving" not in costs_of(REGISTRY.collect())
