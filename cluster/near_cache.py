"""A replica's own small cache in front of the cache: texts at hand, for as long as it hears what is purged."""

import asyncio
from collections import OrderedDict

import redis
from prometheus_client import Counter
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from cluster.cache import PURGES, Troubles
from cluster.metrics import REGISTRY

_MOST_ENTRIES, _MOST_BYTES = 10_000, 8 << 20
_ENTRY_BYTES = 300  # of an entry beside its text: two strings and their places
_SILENCE_S = 2.0  # then the server is asked whether it's there
_AWAY_S = 0.2
_HITS = Counter("mediaray_cache_near_hits", "What a replica of the API had at hand.", registry=REGISTRY)


class NearCache:
    """Texts by key; those used least recently go first. On one event loop.

    It has none while its subscription is broken: a purge might be missed.
    """

    def __init__(self, url: str, most_entries: int = _MOST_ENTRIES, most_bytes: int = _MOST_BYTES) -> None:
        self._url = url
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._troubles = Troubles()
        self.listening = False
        self.purges = 0  # that were heard; what was asked for before one isn't kept after it
        self.hits = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def stop(self) -> None:
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again where need be: the Redis client may swallow one that comes while it talks
            await asyncio.wait([self._task], timeout=_AWAY_S)

    def get(self, key: str) -> str | None:
        text = self._texts.get(key)
        if text is not None:
            self._texts.move_to_end(key)
            self.hits += 1
            _HITS.inc()
        return text

    def put(self, key: str, text: str, purges: int) -> None:
        """Keep what was asked for when ``purges`` had been heard."""
        if not self.listening or purges != self.purges:
            return
        self._bytes += _cost(text) - _cost(self._texts.pop(key, None))
        self._texts[key] = text
        while len(self._texts) > self._most_entries or self._bytes > self._most_bytes:
            _, gone = self._texts.popitem(last=False)
            self._bytes -= _cost(gone)

    def clear(self) -> None:
        """Forget all: something was purged, or may have been."""
        self.purges += 1
        self._texts.clear()
        self._bytes = 0

    async def _listen(self) -> None:
        no_other_try = AsyncRetry(NoBackoff(), 0)  # or a break, in which a purge is missed, isn't noticed
        client = aioredis.Redis.from_url(self._url, socket_connect_timeout=_SILENCE_S, retry=no_other_try)
        try:
            while True:
                try:
                    await self._hear(client)
                except (redis.RedisError, OSError) as error:
                    self._troubles.tell("the cache's purges can't be heard, so nothing is at hand", error)
                await asyncio.sleep(_AWAY_S)
        finally:
            await client.aclose()

    async def _hear(self, client: aioredis.Redis) -> None:
        """Clear at each purge, until the connection breaks or the server falls silent."""
        async with client.pubsub() as channel:
            try:
                await channel.subscribe(PURGES)
                asked = False
                while True:
                    message = await channel.get_message(timeout=_SILENCE_S)
                    if message is None:
                        if asked:
                            raise redis.TimeoutError("no answer to a ping")
                        await channel.ping()
                    elif message["type"] == "subscribe":
                        self.listening = True
                    elif message["type"] == "message":
                        self.clear()
                    asked = message is None
            finally:
                self.listening = False
                self.clear()


def _cost(text: str | None) -> int:
    return 0 if text is None else len(text) + _ENTRY_BYTES
