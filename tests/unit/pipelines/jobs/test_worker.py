"""What a worker does with a unit: a real store, a pretend operation, a pretend child."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from unit.pipelines.jobs import pieces
from unit.pipelines.jobs.makers import submission

from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Plan, State, Unit
from pipelines.jobs.states import state_for
from pipelines.jobs.unit_store import UnitStore
from pipelines.jobs.worker import UnitOrder, UnitReport, WorkerConfig, do_unit, plan_only


@dataclass
class PretendChild:
    """Does what the test says when it is called."""

    does: Callable[[], Any] = lambda: None
    calls: list[str] = field(default_factory=list)

    def call(self, function: str, _arguments: Any, result: type[Any], **_: Any) -> Any:
        self.calls.append(function)
        self.does()
        return result()

    def kill(self) -> None: ...


@dataclass
class Bench:
    """A job of ``pieces``, and the worker that does its units one by one."""

    config: WorkerConfig
    store: LeaderStore
    units: UnitStore
    run: Any
    epoch: int
    job_id: str
    source: str
    params: dict[str, Any]
    child: PretendChild = field(default_factory=PretendChild)

    def do(self, unit: Unit | str, **shared: Any) -> UnitReport:
        unit = Unit(name=unit) if isinstance(unit, str) else unit
        fence = self.run(self.store.lease(self.epoch, self.job_id, unit.name, 60.0, state_for(unit.name)))
        order = UnitOrder(
            self.job_id, pieces.__name__, (self.source,), self.params, unit, fence, 1, slots=2, shared=shared
        )
        report = do_unit(self.config, order, contextlib.nullcontext(self.child))  # type: ignore[arg-type]
        if report.outcome != "done":
            self.run(self.store.release(self.epoch, self.job_id, unit.name, fence, report.outcome))
        return report

    def plan(self) -> Plan:
        return Plan.model_validate(self.manifests()["plan"])

    def do_all(self) -> None:
        """Plan, and do the plan's units."""
        assert self.do("plan").outcome == "done"
        for unit in self.plan().units:
            assert self.do(unit).outcome == "done"

    def manifests(self) -> dict[str, Any]:
        return self.units.manifests(self.job_id)


@pytest.fixture
def bench(run, store, units, redis_url, settings, films) -> Callable[..., Bench]:
    config = WorkerConfig(settings, redis_url, redis_url)
    epoch = run(store.lead())
    source = str(films / "film.mkv")

    def make(**params: Any) -> Bench:
        job_id, _ = run(store.submit(submission(operation="pieces", sources=(source,), params=params)))
        return Bench(config, store, units, run, epoch, job_id, source, params)

    return make


def test_a_unit_sees_what_its_plan_shares_and_the_slots_of_the_cluster(bench):
    job = bench()
    assert job.do("a", index="17").outcome == "done"
    assert job.manifests()["a"]["manifest"] == {"text": "a", "slots": 2, "shared": {"index": "17"}}


def test_a_plan_that_isn_t_submitted_is_made_for_the_cpus_there_are(bench):
    job = bench()
    config = WorkerConfig(job.config.settings.model_copy(update={"cpus": 7}), "", job.config.cache_url)
    seen: list[int] = []
    original = pieces.OPERATION.plan
    object.__setattr__(pieces.OPERATION, "plan", lambda bench: (seen.append(bench.slots), original(bench))[1])
    try:
        plan_only(config, pieces.__name__, (job.source,), {}, job.child)  # type: ignore[arg-type]
    finally:
        object.__setattr__(pieces.OPERATION, "plan", original)
    assert seen == [7]


# A join that needs another plan


def test_a_join_s_plan_takes_the_place_of_the_job_s(bench):
    job = bench(replans=1)
    job.do_all()
    assert job.do("join").outcome == "done"
    assert [unit.name for unit in job.plan().units] == ["whole"]
    assert job.plan().replanned


def test_a_join_sees_only_what_the_new_plan_s_units_made(bench):
    job = bench(replans=1)
    job.do_all()
    job.do("join")
    assert job.do("whole").outcome == "done"
    assert job.do("join").outcome == "done"
    told = job.manifests()["join"]["result"]["text"]
    assert told.startswith("whole made by whole.")
    assert "," not in told


def test_a_join_that_wants_a_third_plan_fails(bench):
    job = bench(replans=2)
    job.do_all()
    job.do("join")
    job.do("whole")
    report = job.do("join")
    assert report.error is not None
    assert (report.outcome, report.error.code) == ("failed", "internal")
    assert [unit.name for unit in job.plan().units] == ["whole"]


def test_a_join_s_plan_comes_too_late_for_a_cancelled_job(bench):
    job = bench(replans=1)
    job.do_all()
    fence = job.run(job.store.lease(job.epoch, job.job_id, "join", 60.0, State.VERIFYING))
    order = UnitOrder(job.job_id, pieces.__name__, (job.source,), job.params, Unit(name="join"), fence, 1, slots=2)
    job.run(job.store.want(job.job_id, "cancel"))
    assert do_unit(job.config, order, contextlib.nullcontext(job.child)).outcome == "dropped"
    assert [unit.name for unit in job.plan().units] == ["a", "b"]
