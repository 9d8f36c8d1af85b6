"""Live progress on its way: reports from the workers to the registry, numbered events from it to the replicas.

Both go over pub/sub of the cache's Redis, which writes nothing to a disk: half a millisecond a hop where an actor call
takes one and a half (docs/decisions/0013). Pub/sub promises nothing. A report that is lost is made good by the next;
events are numbered, so a follower sees that some are missing and asks the registry itself.
"""

import asyncio
import json
import logging
from dataclasses import dataclass

import redis
from redis import asyncio as aioredis
from redis.asyncio.client import PubSub
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipelines.jobs.board import Event
from pipelines.jobs.models import Progress

_REPORTS = "{mediaray}:reports"
_EVENTS = "{mediaray}:events"
_REPORT_LIMIT_S = 0.5
_AWAY_S = 0.1  # between tries while Redis is away
_log = logging.getLogger("mediaray.live")


class Reporter:
    """The worker's end. Never waits long and never fails: the work is what counts."""

    def __init__(self, cache_url: str) -> None:
        self._redis = redis.Redis.from_url(
            cache_url,
            socket_timeout=_REPORT_LIMIT_S,
            socket_connect_timeout=_REPORT_LIMIT_S,
            retry=Retry(NoBackoff(), 1),  # a connection that the server closed is opened anew
        )

    def report(self, progress: Progress) -> bool:
        """Whether Redis took it."""
        try:
            self._redis.publish(_REPORTS, progress.model_dump_json())
        except redis.RedisError:
            return False
        return True

    def close(self) -> None:
        self._redis.close()


@dataclass(frozen=True)
class Batch:
    """Events that follow number ``after`` of the registry's life ``epoch``, without a hole."""

    epoch: int
    after: int
    events: list[Event]

    @property
    def cursor(self) -> int:
        return self.after + len(self.events)

    def beyond(self, epoch: int, cursor: int) -> list[Event] | None:
        """Those that a follower at ``epoch:cursor`` hasn't seen; None where some before them are missing."""
        if epoch != self.epoch or not self.after <= cursor <= self.cursor:
            return None
        return self.events[cursor - self.after :]


class Announcer:
    """The registry's end towards its followers."""

    def __init__(self, cache_url: str) -> None:
        self._redis = aioredis.Redis.from_url(cache_url, socket_timeout=_REPORT_LIMIT_S)

    async def announce(self, batch: Batch) -> None:
        """Tell all replicas. If Redis is away nobody hears it, and followers ask the registry."""
        text = json.dumps({"epoch": batch.epoch, "after": batch.after, "events": batch.events})
        try:
            await self._redis.publish(_EVENTS, text)
        except redis.RedisError:
            await asyncio.sleep(_AWAY_S)

    async def close(self) -> None:
        await self._redis.aclose()


class _Channel:
    """A subscription that comes back by itself."""

    def __init__(self, cache_url: str, name: str) -> None:
        self._redis = aioredis.Redis.from_url(cache_url, socket_connect_timeout=_REPORT_LIMIT_S)
        self._name = name
        self._pubsub: PubSub | None = None

    async def next(self, timeout_s: float) -> str | None:
        """The next message. None: none came, or the subscription is new and messages before it were missed."""
        try:
            if self._pubsub is None:
                pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
                await pubsub.subscribe(self._name)
                self._pubsub = pubsub
                return None
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        except (redis.RedisError, OSError):
            await self._unsubscribe()
            await asyncio.sleep(_AWAY_S)
            return None
        return None if message is None else message["data"].decode()

    async def close(self) -> None:
        await self._unsubscribe()
        await self._redis.aclose()

    async def _unsubscribe(self) -> None:
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
            self._pubsub = None


class ReportChannel:
    """The registry's end towards the workers."""

    def __init__(self, cache_url: str) -> None:
        self._channel = _Channel(cache_url, _REPORTS)

    async def next(self, timeout_s: float) -> Progress | None:
        text = await self._channel.next(timeout_s)
        try:
            return None if text is None else Progress.model_validate_json(text)
        except ValueError:
            _log.warning("a report that makes no sense; is a worker of another version there?")
            return None

    async def close(self) -> None:
        await self._channel.close()


class EventChannel:
    """A replica's end."""

    def __init__(self, cache_url: str) -> None:
        self._channel = _Channel(cache_url, _EVENTS)

    async def next(self, timeout_s: float) -> Batch | None:
        text = await self._channel.next(timeout_s)
        return None if text is None else Batch(**json.loads(text))

    async def close(self) -> None:
        await self._channel.close()
