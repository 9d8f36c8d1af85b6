"""Live progress over a real Redis, and the replicas' end of it against the real registry."""

import asyncio
import contextlib
import os
import signal

import pytest
import ray
import redis
from unit.pipelines.jobs.makers import short_folder

from cluster.redis_server import PrivateRedis
from pipelines.jobs.live import Announcer, Batch, EventChannel, ReportChannel, Reporter
from pipelines.jobs.models import Progress
from serve.actors import LiveRegistry

REPORT = Progress(job_id="j", unit="film", fence=3, fraction=0.5, frames=7)


@pytest.fixture
def server():
    with short_folder() as folder:
        server = PrivateRedis("cache", folder, folder, ["appendonly no", 'save ""'])
        server.spawn()
        server.wait_ready()
        yield server
        server.stop()


def events(*numbers: int) -> list[dict]:
    return [{"job_id": "j", "seq": number} for number in numbers]


@contextlib.asynccontextmanager
async def closed(thing):
    try:
        yield thing
    finally:
        await thing.close()


@contextlib.asynccontextmanager
async def sending(url: str):
    reporter = Reporter(url)
    try:
        yield reporter
    finally:
        reporter.close()


async def soon(channel, limit_s: float = 20.0):
    """The next message that comes; nothing may come between."""
    async with asyncio.timeout(limit_s):
        while (found := await channel.next(0.2)) is None:
            pass
    return found


def test_a_report_reaches_the_registry(server):
    async def body():
        async with closed(ReportChannel(server.url)) as channel, sending(server.url) as reporter:
            assert await channel.next(1) is None  # a new subscription
            assert reporter.report(REPORT)
            return await soon(channel)

    assert asyncio.run(body()) == REPORT


def test_what_is_no_report_is_passed_over(server):
    async def body():
        async with closed(ReportChannel(server.url)) as channel, sending(server.url) as reporter:
            await channel.next(1)
            with redis.Redis.from_url(server.url) as client:
                client.publish("{mediaray}:reports", '{"job_id": 7}')
            reporter.report(REPORT)
            return await soon(channel)

    assert asyncio.run(body()) == REPORT


def test_a_reporter_goes_on_without_redis_and_with_it_again(server):
    reporter = Reporter(server.url)
    assert reporter.report(REPORT)
    server.stop()
    assert not reporter.report(REPORT)
    server.spawn()
    server.wait_ready()
    assert reporter.report(REPORT)
    reporter.close()


def test_announced_events_reach_a_follower_also_after_redis_was_away(server):
    async def body():
        async with closed(Announcer(server.url)) as announcer, closed(EventChannel(server.url)) as channel:
            assert await channel.next(1) is None
            await announcer.announce(Batch(1, 0, events(1, 2)))
            first = await soon(channel)
            server.stop()
            await announcer.announce(Batch(1, 2, events(3)))  # nobody hears it
            assert await channel.next(0.1) is None
            server.spawn()
            server.wait_ready()
            second = None
            async with asyncio.timeout(20):
                while second is None:
                    await announcer.announce(Batch(1, 3, events(4)))
                    second = await channel.next(0.2)
            return first, second

    first, second = asyncio.run(body())
    assert first.beyond(1, 0) == events(1, 2)
    assert second.beyond(1, 2) is None  # number 3 is missing: to be asked for
    assert second.beyond(1, 3) == events(4)


def test_a_replica_hears_events_and_asks_for_what_it_missed(cluster, clip):
    """From the start, by announcement, and after a hole: always all of them, each once."""
    job_id = cluster.submit("probe", clip)
    assert cluster.ended(job_id) == "succeeded"

    async def body():
        async with (
            asyncio.timeout(30),
            closed(LiveRegistry(cluster.url)) as registry,
            closed(Announcer(cluster.url)) as announcer,
        ):
            epoch, cursor, _ = await registry.follow(0, 0)  # another life: start from here
            epoch, start, _ = await registry.follow(epoch, cursor)
            await announcer.announce(Batch(epoch, start + 5, events(6)))  # a hole before it
            other = await asyncio.to_thread(cluster.submit_alone, "probe", clip)
            heard, cursor = [], start
            while not any(event["job_id"] == other and event["state"] == "succeeded" for event in heard):
                found_epoch, cursor, fresh = await registry.follow(epoch, cursor)
                assert found_epoch == epoch
                heard += fresh
        return start, cursor, heard, other

    start, cursor, heard, other = asyncio.run(body())
    assert len(heard) == cursor - start
    assert [event["seq"] for event in heard if event["job_id"] == other] == list(
        range(1, 1 + sum(event["job_id"] == other for event in heard))
    )


def test_a_replica_notices_that_the_registry_lives_anew(cluster):
    async def body():
        async with asyncio.timeout(60), closed(LiveRegistry(cluster.url)) as registry:
            epoch, cursor, _ = await registry.follow(0, 0)
            os.kill(cluster.actor_pid("ProgressRegistry"), signal.SIGKILL)
            found = epoch
            while found == epoch:
                try:
                    found, cursor, lost = await registry.follow(epoch, cursor)
                except ray.exceptions.RayError:
                    continue
        return epoch, found, lost

    epoch, found, lost = asyncio.run(body())
    assert found > epoch
    assert lost is None
