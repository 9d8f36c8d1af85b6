"""The dispatcher with lanes that only pretend, and a real store."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
from pydantic import SecretStr
from unit.pipelines.jobs.makers import pretend_catalogue, submission
from unit.pipelines.jobs.pretend import HEAVY, PretendLanes, Ticket, plan_of, until_state

from cluster.metrics import REGISTRY
from cluster.settings import Settings
from pipelines.jobs.dispatcher import Dispatcher
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Artifact, Needs, Plan, Priority, State, Unit, rfc3339
from pipelines.jobs.orders import UnitReport
from pipelines.jobs.outbox import Outbox
from pipelines.jobs.store import PREFIX
from pipelines.jobs.unit_store import UnitStore

WIDE = Needs(cpus=1, max_cpus=8, seconds=30)
SHORT = Needs(cpus=0, max_cpus=0, seconds=0.1)


class Scene:
    """A store, lanes and a dispatcher that leads."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.store = LeaderStore(url, patience=2)
        self.lanes = PretendLanes(UnitStore(url), lease_s=settings.lease_s)

    @asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(self.settings, self.url, pretend_catalogue(), self.lanes)
        life = asyncio.ensure_future(dispatcher.run())
        try:
            async with asyncio.timeout(10):
                await dispatcher.leading.wait()
            yield dispatcher
        finally:
            while not life.done():  # the Redis client may swallow a cancel that comes while it talks
                life.cancel()
                await asyncio.wait([life], timeout=0.2)
            await dispatcher._store.close()

    async def submit(self, *units: str, needs: Needs = HEAVY, **changes) -> str:
        wanted = submission(**{"created_at": int(time.time() * 1000), **changes})
        self.lanes.plans[wanted.id] = plan_of(*(units or ("a",)), needs=needs)
        job_id, _ = await self.store.submit(wanted)
        return job_id

    async def reaches(self, job_id: str, *states: str) -> str:
        return await until_state(self.store, job_id, *states)

    async def ended(self, job_id: str) -> str:
        return await until_state(self.store, job_id, "succeeded", "failed", "cancelled")


@pytest.fixture
def settings(settings) -> Settings:
    return settings.model_copy(update={"lease_s": 30.0, "pause_grace_s": 0.0})


@pytest.fixture
def play(redis_url, settings):
    """Run a test's body with a scene."""

    def play(body, **changes):
        async def main() -> None:
            scene = Scene(redis_url, settings.model_copy(update=changes))
            try:
                await body(scene)
            finally:
                await scene.store.close()

        asyncio.run(main())

    return play


def names(scene: Scene) -> list[str]:
    return [ticket.order.unit.name for ticket in scene.lanes.tickets]


def jobs_started(scene: Scene) -> list[str]:
    return [ticket.order.job_id for ticket in scene.lanes.started()]


# From the queue to the end


def test_a_job_is_planned_done_joined_and_published(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        scene.lanes.artifacts = (Artifact(name="f", path="/out/f", size_bytes=1),)
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b")
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert names(scene) == ["plan", "a", "b", "join", "publish"]
        job = await scene.store.get(job_id)
        assert job.result == {"text": "done"}
        assert job.artifacts == scene.lanes.artifacts

    play(body)


def test_a_job_without_files_isn_t_published(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        async with scene.dispatcher():
            await scene.ended(await scene.submit())
        assert names(scene) == ["plan", "a", "join"]

    play(body)


def test_what_a_finished_job_left_in_scratch_is_cleaned_up_before_its_end_is_told(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        async with scene.dispatcher():
            job_id = await scene.submit()
            await scene.ended(job_id)
            assert scene.lanes.cleaned == [(job_id, False)]

    play(body)


def test_units_of_one_job_run_side_by_side_on_the_cpus_there_are(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b", "c")
            await scene.lanes.start_of(2)
            assert [t.order.unit.name for t in scene.lanes.started()] == ["a", "b"]
            scene.lanes.done(scene.lanes.started()[1])
            assert (await scene.lanes.start_of(3)).order.unit.name == "c"
            scene.lanes.works = True
            scene.lanes.done(scene.lanes.started("a")[0])
            scene.lanes.done(scene.lanes.started("c")[0])
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_a_wide_unit_alone_gets_all_cpus(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("a", needs=WIDE)
            assert (await scene.lanes.start_of(1)).order.cpus == 2

    play(body)


def test_wide_units_that_wait_together_share_the_cpus(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("a", "b", needs=WIDE)
            await scene.lanes.start_of(2)
            assert [ticket.order.cpus for ticket in scene.lanes.started()] == [1, 1]

    play(body)


def test_interactive_units_don_t_wait_for_a_cpu(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("a", "b")
            await scene.lanes.start_of(2)
            await scene.submit("quick", needs=SHORT, operation="look")
            assert (await scene.lanes.start_of(1, "quick")).order.cpus == 0

    play(body)


# Order of service


async def busy(scene: Scene, **changes) -> list[str]:
    """Two jobs that hold both CPUs."""
    jobs = [await scene.submit("busy", **changes) for _ in range(2)]
    await scene.lanes.start_of(2, "busy")
    return jobs


async def planned(scene: Scene, count: int) -> None:
    """Wait until ``count`` jobs have plans in the store, and the dispatcher has heard of them."""
    cursor, seen = "0-0", 0
    async with asyncio.timeout(20):
        while seen < count:
            for entry in await scene.store.read_log(cursor, block_ms=1000):
                cursor = entry.id
                seen += entry.type == "unit" and entry.body == "plan"
    for _ in range(50):  # the report of the newest plan is on its way through the dispatcher's queue
        await asyncio.sleep(0)


def test_a_higher_priority_is_served_first(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await busy(scene)
            low = await scene.submit("a", priority=Priority.LOW)
            urgent = await scene.submit("a", priority=Priority.URGENT)
            await planned(scene, 4)
            scene.lanes.done(scene.lanes.started()[0])
            await scene.lanes.start_of(3)
            scene.lanes.done(scene.lanes.started()[1])
            await scene.lanes.start_of(4)
            assert jobs_started(scene)[2:] == [urgent, low]

    play(body)


def test_a_changed_priority_counts_from_then_on(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await busy(scene)
            first, second = await scene.submit("a"), await scene.submit("a")
            await planned(scene, 4)
            await scene.store.set_priority(second, Priority.HIGH)
            await scene.store.set_priority(first, Priority.LOW)
            await seen(scene)
            scene.lanes.done(scene.lanes.started("busy")[0])
            assert (await scene.lanes.start_of(1, "a")).order.job_id == second

    play(body)


async def seen(scene: Scene) -> None:
    """Wait until the dispatcher has acted on all that is in the log: it adopts and plans a job that comes now."""
    marker = await scene.submit("marker", operation="look", needs=SHORT)
    await scene.lanes.until(lambda: any(t.order.job_id == marker for t in scene.lanes.started("marker")))


def test_keys_take_turns(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await busy(scene, owner="cleo")
            anna = [await scene.submit("a", owner="anna") for _ in range(3)]
            ben = await scene.submit("a", owner="ben")
            await planned(scene, 6)
            scene.lanes.works = True
            for ticket in scene.lanes.started("busy"):
                scene.lanes.done(ticket)
            for job_id in (*anna, ben):
                await scene.ended(job_id)
            assert ben in jobs_started(scene)[2:4]

    play(body)


def test_a_key_s_share_counts_the_cpus_of_all_its_jobs(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("busy", owner="anna")
            cleo = await scene.submit("busy", owner="cleo")
            await scene.lanes.start_of(2, "busy")
            await scene.submit("a", owner="anna")
            ben = await scene.submit("a", owner="ben")
            await planned(scene, 4)
            scene.lanes.done(next(t for t in scene.lanes.started("busy") if t.order.job_id == cleo))
            await scene.lanes.start_of(3)
            assert jobs_started(scene)[2] == ben

    play(body)


def test_a_job_that_could_not_begin_is_owed_nothing(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("hold")
            await scene.lanes.start_of(1, "hold")
            await scene.submit("early-1", "early-2", "early-3")
            scene.lanes.done(await scene.lanes.start_of(1, "early-1"))
            second = await scene.lanes.start_of(1, "early-2")
            await scene.submit("late-1", "late-2", "late-3", needs=HEAVY.model_copy(update={"seconds": 29}))
            await planned(scene, 3)
            scene.lanes.done(second)
            for number in (1, 2):
                scene.lanes.done(await scene.lanes.start_of(1, f"late-{number}"))
            await scene.lanes.start_of(1, "early-3")

    play(body)


def test_a_job_whose_unit_takes_long_waits_until_the_other_has_had_as_much(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("hold")
            await scene.lanes.start_of(1, "hold")
            await scene.submit("long-1", "long-2")
            first = await scene.lanes.start_of(1, "long-1")
            await scene.submit("short-1", "short-2", "short-3", needs=HEAVY.model_copy(update={"seconds": 9}))
            await planned(scene, 3)
            scene.lanes.done(first)
            for number in (1, 2, 3):
                scene.lanes.done(await scene.lanes.start_of(1, f"short-{number}"))
            await scene.lanes.start_of(1, "long-2")
            started = [name for name in names(scene) if name[-1].isdigit()]
            assert started == ["long-1", "short-1", "short-2", "short-3", "long-2"]

    play(body)


def test_a_job_doesn_t_pay_for_a_unit_that_was_lost_before_it_began(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit("hold")
            await scene.lanes.start_of(1, "hold")
            await scene.submit("other-1", "other-2", needs=HEAVY.model_copy(update={"seconds": 9}))
            first = await scene.lanes.start_of(1, "other-1")
            await scene.submit("unlucky-1", "unlucky-2")
            await planned(scene, 3)
            scene.lanes.placed = False
            scene.lanes.done(first)
            lost = await scene.lanes.start_of(1, "unlucky-1")
            scene.lanes.placed = True
            scene.lanes.lost(lost)
            await scene.lanes.until(lambda: len([name for name in names(scene) if name[-1].isdigit()]) == 3)
            assert [name for name in names(scene) if name[-1].isdigit()] == ["other-1", "unlucky-1", "unlucky-1"]

    play(body)


# Failures


def test_work_that_fails_is_tried_three_times_and_then_the_job_fails_with_the_reason(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            for attempt in (1, 2, 3):
                scene.lanes.fails(await scene.lanes.start_of(attempt, "a"))
            assert await scene.ended(job_id) == State.FAILED
        job = await scene.store.get(job_id)
        assert job.error is not None
        assert (job.error.code, job.error.unit) == ("encode_failed", "a")
        assert len(scene.lanes.started("a")) == 3

    play(body)


def test_work_that_fails_twice_may_still_succeed(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            for attempt in (1, 2):
                scene.lanes.fails(await scene.lanes.start_of(attempt, "a"))
            scene.lanes.done(await scene.lanes.start_of(3, "a"))
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_a_fault_of_the_input_is_not_tried_again(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            scene.lanes.fails(await scene.lanes.start_of(1, "a"), retryable=False)
            assert await scene.ended(job_id) == State.FAILED
        assert len(scene.lanes.started("a")) == 1

    play(body)


def test_a_failed_job_takes_its_other_units_back(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b", "c")
            kept = await scene.lanes.start_of(1, "b")
            scene.lanes.fails(await scene.lanes.start_of(1, "a"), retryable=False)
            assert await scene.ended(job_id) == State.FAILED
            scene.lanes.done(kept)
            assert kept.report.result().outcome == "dropped"
        assert scene.lanes.started("c") == []

    play(body)


def test_lost_places_don_t_count_as_failures_of_the_work(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            for attempt in (1, 2, 3, 4):
                scene.lanes.lost(await scene.lanes.start_of(attempt, "a"))
            scene.lanes.done(await scene.lanes.start_of(5, "a"))
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_places_lost_again_and_again_end_the_job(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            for attempt in (1, 2, 3):
                scene.lanes.lost(await scene.lanes.start_of(attempt, "a"))
            assert await scene.ended(job_id) == State.FAILED
            job = await scene.store.get(job_id)
            assert job.error is not None
            assert job.error.code == "place_lost"

    play(body, max_lost_places=3)


def test_a_finished_unit_is_never_redone(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b")
            scene.lanes.done(await scene.lanes.start_of(1, "a"))
            scene.lanes.lost(await scene.lanes.start_of(1, "b"))
            scene.lanes.done(await scene.lanes.start_of(2, "b"))
            await scene.ended(job_id)
        assert len(scene.lanes.started("a")) == 1

    play(body)


def test_a_silent_worker_s_unit_is_given_to_another_and_its_late_commit_refused(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            silent = await scene.lanes.start_of(1, "a")
            other = await scene.lanes.start_of(2, "a")
            assert scene.lanes.abandoned == [silent.name]
            scene.lanes.done(silent)
            assert silent.report.result().outcome == "dropped"
            assert (await scene.store.load(job_id)).units["a"].lost == 1
            scene.lanes.done(other)
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body, lease_s=1.0)


def test_a_unit_that_found_no_place_isn_t_lost(play, monkeypatch):
    monkeypatch.setattr("pipelines.jobs.dispatcher._UNPLACED_S", 0.0)

    async def body(scene: Scene) -> None:
        scene.lanes.placed = False
        async with scene.dispatcher():
            job_id = await scene.submit()
            waits = await scene.lanes.start_of(1, "a")
            again = await scene.lanes.start_of(2, "a")
            assert scene.lanes.abandoned == [waits.name]
            assert (await scene.store.load(job_id)).units["a"].lost == 0
            scene.lanes.done(waits)
            assert waits.report.result().outcome == "dropped"
            scene.lanes.done(again)
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body, lease_s=1.0, max_lost_places=1)


def test_silence_again_and_again_ends_the_job(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            assert await until_state(scene.store, job_id, "failed", limit_s=30) == State.FAILED
            assert len(scene.lanes.started("a")) == 2
            error = (await scene.store.get(job_id)).error
            assert error is not None
            assert (error.code, error.unit) == ("place_lost", "a")

    play(body, lease_s=1.0, max_lost_places=2)


# A new dispatcher


@pytest.mark.parametrize("unit", ["plan", "a", "join", "publish"])
def test_what_is_committed_while_a_new_dispatcher_takes_over_counts(play, monkeypatch, unit):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        scene.lanes.by_hand = {unit}
        scene.lanes.artifacts = (Artifact(name="f", path="/out/f", size_bytes=1),)
        async with scene.dispatcher():
            job_id = await scene.submit()
            running = await scene.lanes.start_of(1, unit)
        release = LeaderStore.release

        async def late(store: LeaderStore, *given):
            scene.lanes.done(running)
            return await release(store, *given)

        monkeypatch.setattr(LeaderStore, "release", late)
        async with scene.dispatcher():
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert (await scene.store.get(job_id)).artifacts == scene.lanes.artifacts
        assert names(scene) == ["plan", "a", "join", "publish"]

    play(body)


def test_dispatchers_that_die_again_and_again_end_the_job(play):
    async def body(scene: Scene) -> None:
        for attempt in (1, 2):
            async with scene.dispatcher():
                if attempt == 1:
                    job_id = await scene.submit()
                await scene.lanes.start_of(attempt, "a")
        async with scene.dispatcher():
            assert await scene.ended(job_id) == State.FAILED
        assert len(scene.lanes.started("a")) == 2

    play(body, max_lost_places=2)


# Shares


def test_the_first_of_several_jobs_leaves_cpus_for_those_about_to_be_planned(play):
    async def body(scene: Scene) -> None:
        scene.lanes.by_hand = {"plan"}
        scene.lanes.nodes = 2
        async with scene.dispatcher():
            for _ in range(2):
                await scene.submit(needs=WIDE)
            await scene.lanes.start_of(2, "plan")
            scene.lanes.done(scene.lanes.started("plan")[0])
            assert (await scene.lanes.start_of(1, "a")).order.cpus == 1

    play(body)


# What is planned


def test_each_node_plans_one_heavy_job_at_a_time(play):
    async def body(scene: Scene) -> None:
        scene.lanes.by_hand = {"plan"}
        async with scene.dispatcher():
            heavy = [await scene.submit() for _ in range(2)]
            light = await scene.submit("look", operation="look", needs=SHORT)
            await scene.lanes.start_of(2, "plan")
            assert planning(scene) == [heavy[0], light]  # the light one didn't wait
            scene.lanes.done(scene.lanes.started("plan")[0])
            assert (await scene.lanes.start_of(3, "plan")).order.job_id == heavy[1]

    play(body)


def test_a_long_queue_is_planned_as_it_is_worked_off(play, monkeypatch):
    monkeypatch.setattr("pipelines.jobs.starting._PLANNED_JOBS", 3)

    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            at_work = await busy(scene)
            queue = [await scene.submit("a", priority=Priority.LOW) for _ in range(4)]
            await planned(scene, 3)
            above = await scene.submit("a", priority=Priority.HIGH)
            await planned(scene, 4)
            await seen(scene)
            assert [job for job in planning(scene) if job in {*at_work, *queue, above}] == [*at_work, queue[0], above]
            for ticket in scene.lanes.started("busy"):
                scene.lanes.done(ticket)
            await scene.lanes.until(lambda: queue[1] in planning(scene))
            await seen(scene)
            assert queue[2] not in planning(scene)

    play(body)


def planning(scene: Scene) -> list[str]:
    return [ticket.order.job_id for ticket in scene.lanes.started("plan")]


# Cancel and pause


def test_a_job_that_waits_is_cancelled_at_once(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await busy(scene)
            job_id = await scene.submit("a")
            await scene.store.want(job_id, "cancel")
            assert await scene.ended(job_id) == State.CANCELLED

    play(body)


def test_a_running_unit_is_taken_back_by_a_cancel(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            ticket = await scene.lanes.start_of(1, "a")
            await scene.store.want(job_id, "cancel")
            assert await scene.ended(job_id) == State.CANCELLED
            assert scene.lanes.abandoned == [ticket.name]
            assert scene.lanes.cleaned == [(job_id, True)]

    play(body)


def test_a_cancelled_job_ends_when_the_worker_that_was_ended_is_gone(play):
    async def body(scene: Scene) -> None:
        scene.lanes.ends = True
        async with scene.dispatcher():
            job_id = await scene.submit()
            ticket = await scene.lanes.start_of(1, "a")
            await scene.store.want(job_id, "cancel")
            await scene.lanes.until(lambda: ticket.name in scene.lanes.abandoned)
            await seen(scene)
            assert not scene.lanes.cleaned  # until it is gone it may write, and hold locks
            scene.lanes.lost(ticket)
            assert await scene.ended(job_id) == State.CANCELLED

    play(body)


async def publishing(scene: Scene) -> tuple[str, Ticket]:
    """A job whose file is being published."""
    scene.lanes.works = True
    scene.lanes.by_hand = {"publish"}
    scene.lanes.artifacts = (Artifact(name="f", path="/out/f", size_bytes=1),)
    job_id = await scene.submit()
    return job_id, await scene.lanes.start_of(1, "publish")


def test_a_cancel_that_comes_while_it_is_published_is_too_late(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, publish = await publishing(scene)
            await scene.store.want(job_id, "cancel")
            await seen(scene)
            scene.lanes.done(publish)
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


@pytest.mark.parametrize("want", ["cancel", "pause"])
@pytest.mark.parametrize("dies", ["worker", "dispatcher"])
def test_what_has_begun_to_be_published_is_published_to_its_end(play, want, dies):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, publish = await publishing(scene)
            await scene.store.want(job_id, want)
            await seen(scene)
            scene.lanes.by_hand = set()
            if dies == "worker":
                scene.lanes.lost(publish)
                assert await scene.ended(job_id) == State.SUCCEEDED
        async with scene.dispatcher():
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert (await scene.store.get(job_id)).artifacts == scene.lanes.artifacts
        assert [ticket.order.job_id for ticket in scene.lanes.started("publish")].count(job_id) == 2

    play(body)


def test_a_paused_job_starts_nothing_and_goes_on_when_resumed(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b", "c")
            await scene.lanes.start_of(2)
            await scene.store.want(job_id, "pause")
            await until_state(scene.store, job_id, "paused")
            assert scene.lanes.started("c") == []
            scene.lanes.works = True
            await scene.store.want(job_id, "run")
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert len(scene.lanes.started("c")) == 1

    play(body)


def test_a_running_unit_gets_the_grace_to_finish_on_pause(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            ticket = await scene.lanes.start_of(1, "a")
            await scene.store.want(job_id, "pause")
            await seen(scene)
            scene.lanes.done(ticket)
            assert ticket.report.result().outcome == "done"
            await until_state(scene.store, job_id, "paused")

    play(body, pause_grace_s=60.0)


def test_a_pause_frees_the_cpus_for_others(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            for job_id in await busy(scene):
                await scene.store.want(job_id, "pause")
            other = await scene.submit("a")
            await scene.lanes.until(lambda: other in jobs_started(scene))

    play(body)


def test_a_paused_job_can_be_cancelled(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            await scene.lanes.start_of(1, "a")
            await scene.store.want(job_id, "pause")
            await until_state(scene.store, job_id, "paused")
            await scene.store.want(job_id, "cancel")
            assert await scene.ended(job_id) == State.CANCELLED

    play(body)


# Starting again


def test_a_new_dispatcher_goes_on_where_the_old_one_ended(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b")
            scene.lanes.done(await scene.lanes.start_of(1, "a"))
            late = await scene.lanes.start_of(1, "b")
        async with scene.dispatcher():
            again = await scene.lanes.start_of(2, "b")
            assert (await scene.store.load(job_id)).units["b"].lost == 1
            scene.lanes.done(late)
            assert late.report.result().outcome == "dropped"
            scene.lanes.done(again)
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert len(scene.lanes.started("a")) == 1

    play(body)


def test_jobs_and_wishes_of_the_time_without_a_dispatcher_are_found(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        plain, unwanted = await scene.submit(), await scene.submit()
        await scene.store.want(unwanted, "cancel")
        async with scene.dispatcher():
            assert await scene.ended(plain) == State.SUCCEEDED
            assert await scene.ended(unwanted) == State.CANCELLED

    play(body)


def test_a_stale_dispatcher_ends_and_harms_nothing(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as old:
            await scene.store.lead()
            job_id = await scene.submit()
            async with asyncio.timeout(10):
                await old.ended.wait()
            assert (await scene.store.get(job_id)).state == State.QUEUED
            assert names(scene) == []

    play(body)


def breaks(*_: object, **__: object) -> None:
    raise ValueError("broken")


@pytest.mark.parametrize("broken", ["log", "clean-up"])
def test_what_fails_beside_the_queue_ends_the_dispatcher_and_a_new_one_goes_on(play, monkeypatch, broken):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        job_id = await scene.submit()
        with monkeypatch.context() as patched:
            if broken == "log":
                patched.setattr(LeaderStore, "read_log", breaks)
            else:
                patched.setattr(scene.lanes, "clean_up", breaks)
            deaf = Dispatcher(scene.settings, scene.url, pretend_catalogue(), scene.lanes)
            with pytest.raises(ValueError, match="broken"):
                await asyncio.wait_for(deaf.run(), 10)
            await deaf._store.close()
        async with scene.dispatcher():
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_looks_don_t_pile_up_while_one_takes_long(play, monkeypatch):
    monkeypatch.setattr("pipelines.jobs.dispatcher._TICK_S", 0.0)

    async def body(scene: Scene) -> None:
        looking, goes_on = asyncio.Event(), asyncio.Event()

        async def want(_cpus: int) -> None:
            looking.set()
            await goes_on.wait()

        scene.lanes.want = want
        async with scene.dispatcher() as dispatcher:
            async with asyncio.timeout(10):
                await looking.wait()
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(dispatcher._inbox) == 0
            goes_on.set()

    play(body)


def test_units_are_started_though_something_happens_all_the_time(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:

            async def happen() -> None:
                dispatcher._inbox.put(happen())
                await asyncio.sleep(0)

            dispatcher._inbox.put(happen())
            await scene.submit()
            await scene.lanes.start_of(1)

    play(body)


def test_a_job_deleted_while_old_ones_are_forgotten_harms_nothing(play, monkeypatch):
    async def body(scene: Scene) -> None:
        clean_up = scene.lanes.clean_up

        async def and_then_a_user_deletes_it(job_id: str, *given, artifacts: bool) -> None:
            await clean_up(job_id, *given, artifacts=artifacts)
            if artifacts:
                await scene.store.delete(job_id)

        scene.lanes.works = True
        async with scene.dispatcher():
            first, second = await scene.submit(), await scene.submit()
            await scene.ended(first)
            await scene.ended(second)
        monkeypatch.setattr(scene.lanes, "clean_up", and_then_a_user_deletes_it)
        async with scene.dispatcher() as dispatcher:
            await scene.lanes.until(lambda: (first, True) in scene.lanes.cleaned)
            assert await scene.ended(await scene.submit()) == State.SUCCEEDED
            assert not dispatcher.ended.is_set()

    play(body, max_finished_jobs=1)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("job", "record", "not JSON"),
        ("job", "record", "null"),
        ("manifests", "plan", b"\xff"),
        ("units", "a", "{"),
        ("manifests", "join", '{"melted": true}'),
        ("manifests", "plan", '{"melted": true}'),
    ],
)
def test_a_damaged_job_is_quarantined_and_the_others_go_on(play, redis_url, key, field, value):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        damaged, sound = await scene.submit(), await scene.submit()
        with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
            raw.hset(f"{PREFIX}:{key}:{damaged}", field, value)
            async with scene.dispatcher():
                assert await scene.ended(sound) == State.SUCCEEDED
            assert raw.hkeys(f"{PREFIX}:quarantine") == [damaged]
        assert await scene.store.active() == []

    play(body)


def test_a_job_that_is_damaged_while_it_runs_is_quarantined_and_the_others_go_on(play, redis_url):
    async def body(scene: Scene) -> None:
        scene.lanes.by_hand = {"join"}
        with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
            async with scene.dispatcher() as dispatcher:
                damaged = await scene.submit("a")
                scene.lanes.done(await scene.lanes.start_of(1, "a"))
                join = await scene.lanes.start_of(1, "join")
                raw.hset(f"{PREFIX}:manifests:{damaged}", "plan", "{")
                scene.lanes.done(join)
                scene.lanes.by_hand, scene.lanes.works = set(), True
                assert await scene.ended(await scene.submit()) == State.SUCCEEDED
                assert not dispatcher.ended.is_set()
            assert raw.hkeys(f"{PREFIX}:quarantine") == [damaged]
        assert await scene.store.active() == []

    play(body)


def test_a_job_of_an_operation_that_is_gone_is_quarantined(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        await scene.submit(operation="melt")
        sound = await scene.submit()
        async with scene.dispatcher():
            assert await scene.ended(sound) == State.SUCCEEDED
        assert await scene.store.active() == []

    play(body)


# Memory

GIB = 1 << 30


def needs_memory(memory_bytes: int) -> Needs:
    return HEAVY.model_copy(update={"memory_bytes": memory_bytes})


def test_heavy_units_start_as_far_as_the_memory_goes(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = 5 * GIB
        async with scene.dispatcher():
            await scene.submit("a", "b", needs=needs_memory(3 * GIB))
            first = await scene.lanes.start_of(1)
            await seen(scene)
            assert scene.lanes.started("b") == []
            scene.lanes.done(first)
            assert (await scene.lanes.start_of(1, "b")).order.memory_bytes == 3 * GIB

    play(body)


def test_units_that_fit_into_memory_together_run_together(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = 6 * GIB
        async with scene.dispatcher():
            await scene.submit("a", "b", needs=needs_memory(3 * GIB))
            await scene.lanes.start_of(2)

    play(body)


def test_a_unit_larger_than_any_node_starts_alone(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes, scene.lanes.largest_memory_bytes = 6 * GIB, 4 * GIB
        async with scene.dispatcher():
            await scene.submit("a", needs=needs_memory(100 * GIB))
            assert (await scene.lanes.start_of(1)).order.memory_bytes == 4 * GIB

    play(body)


def test_where_no_memory_is_known_none_is_claimed(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = 0
        async with scene.dispatcher():
            await scene.submit("a", needs=needs_memory(GIB))
            assert (await scene.lanes.start_of(1)).order.memory_bytes == 0

    play(body)


def test_interactive_units_claim_no_memory(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = GIB
        async with scene.dispatcher():
            await scene.submit("a", needs=needs_memory(GIB))
            await scene.lanes.start_of(1)
            await scene.submit("quick", needs=SHORT.model_copy(update={"memory_bytes": GIB}), operation="look")
            assert (await scene.lanes.start_of(1, "quick")).order.memory_bytes == 0

    play(body)


def test_smaller_units_don_t_overtake_one_that_waits_for_memory(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = 4 * GIB
        async with scene.dispatcher():
            await scene.submit("small", needs=needs_memory(GIB))
            first = await scene.lanes.start_of(1, "small")
            await scene.submit("large", needs=needs_memory(4 * GIB), priority=Priority.HIGH)
            await scene.submit("small", needs=needs_memory(GIB))
            await seen(scene)
            assert len(scene.lanes.started("small")) == 1
            scene.lanes.done(first)
            await scene.lanes.start_of(1, "large")

    play(body)


def test_one_that_waits_for_memory_doesn_t_hold_up_those_that_need_none(play):
    async def body(scene: Scene) -> None:
        scene.lanes.memory_bytes = scene.lanes.largest_memory_bytes = 4 * GIB
        async with scene.dispatcher():
            await scene.submit("small", needs=needs_memory(GIB))
            await scene.lanes.start_of(1, "small")
            await scene.submit("large", needs=needs_memory(4 * GIB), priority=Priority.HIGH)
            await scene.submit("none")
            await scene.lanes.start_of(1, "none")

    play(body)


# Kept work


KEY, OTHER_KEY = "ab" * 32, "cd" * 32


async def keyed(scene: Scene) -> str:
    job_id = await scene.submit()
    units = (Unit(name="a", needs=HEAVY, key=KEY), Unit(name="b", needs=HEAVY, key=OTHER_KEY), Unit(name="c"))
    scene.lanes.plans[job_id] = Plan(units=units)
    return job_id


def test_a_job_that_succeeded_needs_its_kept_work_no_more(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        async with scene.dispatcher():
            assert await scene.ended(await keyed(scene)) == State.SUCCEEDED
        assert scene.lanes.discarded == [KEY, OTHER_KEY]

    play(body)


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_what_a_job_finished_before_it_failed_or_was_cancelled_is_kept(play, end):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await keyed(scene)
            scene.lanes.done(await scene.lanes.start_of(1, "a"))
            second = await scene.lanes.start_of(1, "b")
            if end == "failed":
                scene.lanes.fails(second, retryable=False)
            else:
                await scene.store.want(job_id, "cancel")
            assert await scene.ended(job_id) == end
            assert (scene.lanes.cleaned, scene.lanes.discarded) == ([(job_id, True)], [])

    play(body)


def test_kept_work_is_swept_soon_after_the_start(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.lanes.until(lambda: scene.lanes.swept == 1)

    play(body)


# Joins: heavy ones, and those that find that another plan is needed


async def replanned(scene: Scene, heard: str) -> str:
    """A job whose join puts a plan of the unit ``whole`` in place; how the dispatcher hears of it."""
    scene.lanes.by_hand = {"join"}
    job_id = await scene.submit("a", "b")
    await scene.lanes.start_of(2)
    for ticket in scene.lanes.started():
        scene.lanes.done(ticket)
    ticket = await scene.lanes.start_of(1, "join")
    assert scene.lanes.units.replan(job_id, "join", ticket.order.fence, plan_of("whole").model_dump_json())
    scene.lanes.by_hand = set()
    if heard == "lost":
        scene.lanes.lost(ticket)
    elif heard != "never":
        scene.lanes.report(ticket, UnitReport("done" if heard == "done" else "dropped"))
    return job_id


@pytest.mark.parametrize("heard", ["done", "dropped", "lost"])
def test_a_join_s_plan_is_carried_out_and_joined(play, heard):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await replanned(scene, heard)
            whole = await scene.lanes.start_of(1, "whole")
            assert (await scene.store.get(job_id)).state == State.RUNNING
            scene.lanes.done(whole)
            assert await scene.ended(job_id) == State.SUCCEEDED
            assert names(scene) == ["plan", "a", "b", "join", "whole", "join"]

    play(body)


@pytest.mark.parametrize("heard", ["failed", "lost"])
def test_a_join_has_single_units_done_again(play, heard):
    async def body(scene: Scene) -> None:
        scene.lanes.by_hand = {"join"}
        async with scene.dispatcher():
            job_id = await scene.submit("a", "b")
            await scene.lanes.start_of(2)
            for ticket in scene.lanes.started():
                scene.lanes.done(ticket)
            join = await scene.lanes.start_of(1, "join")
            assert scene.lanes.units.redo(job_id, "join", join.order.fence, ["b"])
            scene.lanes.by_hand = set()
            scene.lanes.fails(join) if heard == "failed" else scene.lanes.lost(join)
            scene.lanes.done(await scene.lanes.start_of(2, "b"))
            assert await scene.ended(job_id) == State.SUCCEEDED
            assert names(scene) == ["plan", "a", "b", "join", "b", "join"]

    play(body)


def test_a_dispatcher_that_dies_after_a_join_s_plan_is_followed_by_one_that_carries_it_out(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await replanned(scene, "never")
        async with scene.dispatcher():
            scene.lanes.done(await scene.lanes.start_of(1, "whole"))
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_a_join_of_a_second_and_more_waits_for_a_cpu(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit("quick", needs=SHORT)
            scene.lanes.plans[job_id] = plan_of("quick", needs=SHORT).model_copy(update={"join": HEAVY})
            quick = await scene.lanes.start_of(1, "quick")
            await busy(scene)
            scene.lanes.done(quick)
            await seen(scene)
            assert scene.lanes.started("join") == []
            scene.lanes.done(scene.lanes.started("busy")[0])
            await scene.lanes.until(lambda: any(t.order.job_id == job_id for t in scene.lanes.started("join")))
            assert next(t for t in scene.lanes.started("join") if t.order.job_id == job_id).order.cpus == 1

    play(body)


def test_units_get_what_their_plan_shares_and_the_slots_of_the_cluster(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id = await scene.submit()
            scene.lanes.plans[job_id] = plan_of("a").model_copy(update={"shared": {"index": [1, 2]}})
            scene.lanes.done(await scene.lanes.start_of(1, "a"))
            assert await scene.ended(job_id) == State.SUCCEEDED
            orders = [ticket.order for ticket in scene.lanes.tickets]
            assert [order.shared for order in orders] == [{}, {"index": [1, 2]}, {"index": [1, 2]}]
            assert {order.slots for order in orders} == {2}

    play(body)


# Draining, load


def test_a_drained_dispatcher_starts_nothing_and_takes_back_what_doesn_t_finish(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            job_id = await scene.submit("a", "b", "c")
            await scene.lanes.start_of(2)
            scene.lanes.done(scene.lanes.started("a")[0])
            await dispatcher.drain(0.0)
            units = (await scene.store.load(job_id)).units
            assert (units["a"].state, units["b"].state) == ("done", "waiting")
            assert scene.lanes.started("c") == []

    play(body)


def test_facts_tell_what_runs_and_what_is_left_of_it(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            assert (dispatcher.facts().cpus_in_use, dispatcher.facts().backlog.waiting) == (0, {})
            await scene.submit("a", needs=WIDE)
            await scene.lanes.start_of(1)
            await seen(scene)
            found = dispatcher.facts()
            assert (found.cpus_in_use, found.units["heavy"]) == (2, 1)
            (unit,) = [each for each in found.backlog.flying if each.operation == "copy"]
            assert (unit.seconds, unit.claimed_cpus) == (WIDE.seconds, 1)
            assert dispatcher.idle_s() == 0.0

    play(body)


def test_old_jobs_are_forgotten_with_their_artifacts(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        async with scene.dispatcher():
            first, second = await scene.submit(), await scene.submit()
            await scene.ended(first)
            await scene.ended(second)
        cursor = await scene.store.log_end()
        async with scene.dispatcher(), asyncio.timeout(20):
            entries = []
            while not any(entry.type == "deleted" for entry in entries):
                entries = await scene.store.read_log(cursor, block_ms=1000)
        assert entries[-1].job_id == first
        assert (first, True) in scene.lanes.cleaned
        assert (await scene.store.get(second)).state == State.SUCCEEDED

    play(body, max_finished_jobs=1)


# A worker that goes through


async def going_through(scene: Scene) -> tuple[str, Ticket]:
    """A short job whose plan is on its way."""
    scene.lanes.by_hand = {"plan"}
    job_id = await scene.submit(operation="look", needs=SHORT)
    return job_id, await scene.lanes.start_of(1, "plan")


def test_a_short_job_takes_one_start(play):
    async def body(scene: Scene) -> None:
        scene.lanes.artifacts = (Artifact(name="f", path="/out/f", size_bytes=1),)
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            assert ticket.order.through
            scene.lanes.goes_through(ticket, "a", "join", "publish")
            scene.lanes.done(ticket)
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert names(scene) == ["publish"]  # the ticket of the plan, gone on
        assert (await scene.store.get(job_id)).artifacts == scene.lanes.artifacts

    play(body)


@pytest.mark.parametrize("cleaned_up", [True, False])
def test_a_worker_that_went_through_a_job_may_have_cleaned_up_after_it(play, cleaned_up):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            fence = scene.lanes.goes_through(ticket, "a", "join")
            assert scene.lanes.units.commit(job_id, "join", fence, '{"result": {}}')
            scene.lanes.report(ticket, UnitReport("done", cleaned_up=cleaned_up))
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert scene.lanes.cleaned == ([] if cleaned_up else [(job_id, False)])

    play(body)


def test_a_long_job_goes_in_turns(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            await scene.submit()
            ticket = await scene.lanes.start_of(1, "plan")
            assert not ticket.order.through

    play(body)


@pytest.mark.parametrize("how", ["lost", "failed", "done"])
def test_where_a_worker_stopped_on_its_way_another_goes_on(play, how):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            old = scene.lanes.goes_through(ticket, "a")
            if how == "lost":
                scene.lanes.lost(ticket)
            elif how == "failed":
                scene.lanes.fails(ticket)
            else:  # its answer got lost, with the fence of what it took
                scene.lanes.report(ticket, UnitReport("done"))
            again = await scene.lanes.start_of(2)  # the first is the ticket that went on
            assert (again.order.unit.name, again.order.fence > old) == ("a", True)
            assert not scene.lanes.units.commit(job_id, "a", old, "{}")
            scene.lanes.done(again)
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert names(scene).count("plan") == 0

    play(body)


def test_a_silent_worker_on_its_way_is_given_up(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            scene.lanes.goes_through(ticket, "a", lease_s=0.001)
            again = await scene.lanes.start_of(2)
            scene.lanes.done(again)
            assert await scene.ended(job_id) == State.SUCCEEDED
        assert scene.lanes.abandoned

    play(body)


def test_a_cancel_reaches_a_worker_on_its_way(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            fence = scene.lanes.goes_through(ticket, "a")
            await scene.store.want(job_id, "cancel")
            assert await scene.ended(job_id) == State.CANCELLED
        assert not scene.lanes.units.holds(job_id, "a", fence)
        assert not scene.lanes.units.commit(job_id, "a", fence, "{}")

    play(body)


def test_a_paused_job_goes_on_from_where_its_worker_stopped(play):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            scene.lanes.goes_through(ticket, "a")
            await scene.store.want(job_id, "pause")
            assert await until_state(scene.store, job_id, "paused") == State.PAUSED
            await scene.store.want(job_id, "run")
            again = await scene.lanes.start_of(2)
            scene.lanes.done(again)
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_a_new_dispatcher_learns_what_a_worker_went_on_to_meanwhile(play, monkeypatch):
    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            job_id, ticket = await going_through(scene)
            scene.lanes.goes_through(ticket, "a")
        load = LeaderStore.load

        async def and_then_it_goes_on(store: LeaderStore, asked: str):
            loaded = await load(store, asked)
            if ticket.order.unit.name == "a":
                scene.lanes.goes_through(ticket, "join")
                scene.lanes.done(ticket)
            return loaded

        monkeypatch.setattr(LeaderStore, "load", and_then_it_goes_on)
        scene.lanes.by_hand, scene.lanes.works = set(), True
        async with scene.dispatcher():
            assert await scene.ended(job_id) == State.SUCCEEDED
            assert await scene.ended(await scene.submit(operation="look", needs=SHORT)) == State.SUCCEEDED

    play(body)


def test_a_cancel_comes_too_late_for_a_worker_that_publishes(play):
    async def body(scene: Scene) -> None:
        scene.lanes.artifacts = (Artifact(name="f", path="/out/f", size_bytes=1),)
        async with scene.dispatcher() as dispatcher:
            job_id, ticket = await going_through(scene)
            scene.lanes.goes_through(ticket, "a", "join", "publish")
            await scene.store.want(job_id, "cancel")
            await scene.lanes.until(lambda: dispatcher._jobs[job_id].wanted == "cancel" or scene.lanes._tell())
            scene.lanes.done(ticket)
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)


def test_a_unit_that_is_taken_back_is_counted_by_the_reason(play):
    def counted(reason: str) -> float:
        labels = {"operation": "copy", "reason": reason}
        return REGISTRY.get_sample_value("mediaray_units_returned_total", labels) or 0.0

    before = [counted(reason) for reason in ("failed", "lost")]

    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            job_id = await scene.submit("a")
            await scene.lanes.start_of(1)
            assert dispatcher.facts().units["heavy"] == 1
            scene.lanes.fails(scene.lanes.started("a")[0])
            await scene.lanes.start_of(2)
            scene.lanes.lost(scene.lanes.started("a")[1])
            await scene.lanes.start_of(3)
            scene.lanes.done(scene.lanes.started("a")[2])
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)
    assert [counted(reason) for reason in ("failed", "lost")] == [number + 1 for number in before]


def test_playing_time_is_counted_once_as_units_are_done(play):
    def counted() -> float:
        return REGISTRY.get_sample_value("mediaray_media_seconds_total", {"operation": "copy"}) or 0.0

    before = counted()

    async def body(scene: Scene) -> None:
        async with scene.dispatcher():
            wanted = submission(created_at=int(time.time() * 1000))
            scene.lanes.plans[wanted.id] = plan_of("a", "b", needs=HEAVY).model_copy(update={"media_s": 60.0})
            job_id, _ = await scene.store.submit(wanted)
            await scene.lanes.start_of(2)
            scene.lanes.done(scene.lanes.started("a")[0])
            scene.lanes.fails(scene.lanes.started("b")[0])
            await scene.lanes.start_of(3)
            assert counted() == before + 30.0
            scene.lanes.done(scene.lanes.started("b")[1])
            assert await scene.ended(job_id) == State.SUCCEEDED

    play(body)
    assert counted() == before + 60.0


# What its end owes


WEBHOOKS = {"webhook_urls": (SecretStr("https://hooks.example.com/"),), "webhook_secret": SecretStr("whsec_")}


def test_a_job_s_end_owes_a_message_in_the_same_step(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        outbox = Outbox(scene.url, patience=2)
        async with scene.dispatcher():
            job_id = await scene.submit("a", webhook="https://own.example.com/")
            assert await scene.ended(job_id) == State.SUCCEEDED
        found, _ = await outbox.deliveries("pending", limit=10, cursor=None)
        await outbox.close()
        assert {each.message for each in found} == {f"msg_{job_id}"}
        assert {each.url for each in found} == {"", "https://own.example.com/"}
        told = json.loads(found[0].body())
        assert (told["type"], told["data"]["id"]) == ("job.succeeded", job_id)
        assert told["timestamp"] == rfc3339((await scene.store.get(job_id)).finished_at)

    play(body, **WEBHOOKS)


def test_where_nobody_wants_it_nothing_is_owed(play):
    async def body(scene: Scene) -> None:
        scene.lanes.works = True
        outbox = Outbox(scene.url, patience=2)
        async with scene.dispatcher():
            await scene.ended(await scene.submit("a", webhook="https://own.example.com/"))
        assert (await outbox.owed_count())["pending"] == 0
        await outbox.close()

    play(body)
