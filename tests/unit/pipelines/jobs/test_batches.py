"""Batches of a driver: they take their turn as units do, and end with their driver."""

import asyncio

from unit.pipelines.jobs.pretend import HEAVY
from unit.pipelines.jobs.test_dispatcher import Scene, play, settings  # noqa: F401 fixtures

from pipelines.jobs.driver import Driver
from pipelines.jobs.models import Needs, State, Unit
from pipelines.jobs.orders import UnitReport

DRIVES = Needs(cpus=0, max_cpus=0, seconds=60, drives=True)


async def driving(scene: Scene, **changes) -> Driver:
    """A job whose driver runs."""
    job_id = await scene.submit("run", needs=DRIVES, **changes)
    ticket = await scene.lanes.start_of(1, "run")
    return Driver(job_id, "run", ticket.order.fence)


def test_a_batch_is_done_in_its_turn_and_its_driver_is_told(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = [asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name=f"b{n}", needs=HEAVY))) for n in "123"]
            await scene.lanes.start_of(1, "b2")
            assert not scene.lanes.started("b3")  # there are two CPUs
            scene.lanes.done(scene.lanes.started("b1")[0])
            assert await asked[0] == UnitReport("done")
            scene.lanes.done(await scene.lanes.start_of(1, "b3"))
            scene.lanes.done(scene.lanes.started("b2")[0])
            assert await asyncio.gather(*asked) == [UnitReport("done")] * 3
            scene.lanes.done(scene.lanes.started("run")[0])
            assert await scene.ended(driver.job_id) == State.SUCCEEDED

    play(body)


def test_a_batch_that_is_asked_for_again_is_done_already(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            batch = Unit(name="b", needs=HEAVY)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, batch))
            scene.lanes.done(await scene.lanes.start_of(1, "b"))
            assert await asked == UnitReport("done")
            assert await dispatcher.do_batch(driver, batch) == UnitReport("done")
            assert len(scene.lanes.started("b")) == 1

    play(body)


def test_a_driver_is_told_how_long_a_batch_was_worked_on(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b", needs=HEAVY)))
            ticket = await scene.lanes.start_of(1, "b")
            scene.lanes.units.commit(driver.job_id, "b", ticket.order.fence, "{}")
            scene.lanes.report(ticket, UnitReport("done", took_s=1.5))
            assert (await asked).took_s == 1.5

    play(body)


def test_batches_that_are_forgotten_are_gone_unless_they_run(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            done, runs = Unit(name="done", needs=HEAVY), Unit(name="runs", needs=HEAVY)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, done))
            waits = asyncio.ensure_future(dispatcher.do_batch(driver, runs))
            scene.lanes.done(await scene.lanes.start_of(1, "done"))
            assert await asked == UnitReport("done")
            ticket = await scene.lanes.start_of(1, "runs")
            assert "done" in scene.lanes.units.manifests_of(driver.job_id, ["done", "runs"])
            await dispatcher.forget_batches(driver, ["done", "runs"])
            scene.lanes.done(ticket)
            assert await waits == UnitReport("done")
            assert not scene.lanes.units.manifests_of(driver.job_id, ["done"])
            assert {"done", "runs"} & (await scene.store.load(driver.job_id)).units.keys() == {"runs"}
            again = asyncio.ensure_future(dispatcher.do_batch(driver, done))
            scene.lanes.done(await scene.lanes.start_of(2, "done"))
            assert await again == UnitReport("done")

    play(body)


def test_a_driver_takes_no_cpu_and_no_interactive_slot(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        scene.lanes.interactive_slots = 1
        async with scene.dispatcher() as dispatcher:
            await driving(scene)
            assert dispatcher.facts().cpus_in_use == 0
            other = await scene.submit("a", "b")
            await scene.lanes.start_of(1, "b")
            assert [t.order.unit.name for t in scene.lanes.started() if t.order.job_id == other] == ["a", "b"]

    play(body)


def test_a_batch_whose_work_fails_is_tried_three_times_and_fails_alone(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b", needs=HEAVY)))
            for number in (1, 2, 3):
                scene.lanes.fails(await scene.lanes.start_of(number, "b"))
            report = await asked
            assert report.outcome == "failed"
            assert report.error is not None
            assert report.error.code == "encode_failed"
            scene.lanes.done(scene.lanes.started("run")[0])
            assert await scene.ended(driver.job_id) == State.SUCCEEDED

    play(body)


def test_a_batch_that_loses_its_place_is_done_elsewhere(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b", needs=HEAVY)))
            scene.lanes.lost(await scene.lanes.start_of(1, "b"))
            scene.lanes.done(await scene.lanes.start_of(2, "b"))
            assert await asked == UnitReport("done")

    play(body)


def test_a_driver_that_was_taken_away_gets_nothing_done(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            stale = Driver(driver.job_id, "run", driver.fence - 1)
            assert await dispatcher.do_batch(stale, Unit(name="b", needs=HEAVY)) == UnitReport("dropped")
            gone = Driver("no-such-job", "run", driver.fence)
            assert await dispatcher.do_batch(gone, Unit(name="b", needs=HEAVY)) == UnitReport("dropped")
            assert not scene.lanes.started("b")

    play(body)


def test_batches_end_with_their_driver_and_the_next_one_starts_its_own(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b", needs=HEAVY)))
            batch = await scene.lanes.start_of(1, "b")
            scene.lanes.lost(scene.lanes.started("run")[0])
            assert await asked == UnitReport("dropped")
            again = await scene.lanes.start_of(2, "run")
            assert again.order.fence > driver.fence
            await scene.lanes.until(lambda: batch.name in scene.lanes.abandoned)  # its fence moved on before
            scene.lanes.done(batch)
            assert batch.report.result() == UnitReport("dropped")

    play(body)


def test_a_cancel_tells_a_driver_that_waits(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            asked = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b", needs=HEAVY)))
            batch = await scene.lanes.start_of(1, "b")
            await scene.store.want(driver.job_id, "cancel")
            assert await asked == UnitReport("dropped")
            scene.lanes.done(scene.lanes.started("run")[0])
            scene.lanes.done(batch)
            assert await scene.ended(driver.job_id) == State.CANCELLED
            assert not scene.lanes.abandoned

    play(body)


def test_a_pause_lets_batches_end_and_then_takes_the_driver_away(play):  # noqa: F811
    async def body(scene: Scene) -> None:
        async with scene.dispatcher() as dispatcher:
            driver = await driving(scene)
            first = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b1", needs=HEAVY)))
            batch = await scene.lanes.start_of(1, "b1")
            await scene.store.want(driver.job_id, "pause")
            later = asyncio.ensure_future(dispatcher.do_batch(driver, Unit(name="b2", needs=HEAVY)))
            scene.lanes.done(batch)
            assert await first == UnitReport("done")
            assert await later == UnitReport("dropped")
            await scene.lanes.until(lambda: scene.lanes.started("run")[0].name in scene.lanes.abandoned)
            await scene.reaches(driver.job_id, State.PAUSED)
            assert not scene.lanes.started("b2")
            await scene.store.want(driver.job_id, "run")
            await scene.lanes.start_of(2, "run")

    play(body, pause_grace_s=30.0)
