"""What is owed to webhooks, in the job store: each message for each endpoint is a delivery, until it is taken.

Keys, under the prefix ``{mediaray}:webhook``:

    :delivery:ID       hash: message, type, data, at, endpoint, url, state, attempts, answer, tried_at, by_hand
    :pending :failed :delivered   zsets of their ids, in order of the message (UUIDv7: of time)
    :due:ENDPOINT      zset: id → when it is tried next, ms           :endpoints   set of all there ever were
    :disabled          hash: endpoint → since when, ms                :alerts      hash: alert that fires → its data
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict

from cluster.metrics import REGISTRY
from pipelines.jobs.errors import UnknownError
from pipelines.jobs.models import rfc3339
from pipelines.jobs.owed import Owed
from pipelines.jobs.store import PREFIX, JobStore, owed_arguments

DeliveryState = Literal["pending", "failed", "delivered"]
Endpoint = Literal["", "disable", "enable"]
MOST_PENDING, MOST_FAILED, MOST_DELIVERED = 100_000, 10_000, 1_000
_AT_ONCE = 500
_KEY = f"{PREFIX}:webhook"
# Declared here, and each from the start, since replicas of the API tell it, who deliver nothing.
ATTEMPTS = Counter(
    "mediaray_webhook_attempts",
    "Attempts to deliver by webhook that were taken, that failed and are made again, or with which it was given up.",
    ["outcome"],
    registry=REGISTRY,
)
for _outcome in ("taken", "again", "given_up"):
    ATTEMPTS.labels(_outcome)


class Delivery(BaseModel):
    """A message for an endpoint. ``url``: of one that a job names. ``answer``: a status, or what came instead of one.

    Times are milliseconds since 1970. ``by_hand``: somebody asked for it, so a disabled endpoint gets it, too.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    message: str
    type: str
    data: str
    at: int
    endpoint: str
    url: str = ""
    state: DeliveryState
    attempts: int = 0
    answer: str | None = None
    tried_at: int | None = None
    by_hand: bool = False

    def body(self) -> str:
        """What is sent: the same each time."""
        told = {"type": self.type, "timestamp": rfc3339(self.at), "data": json.loads(self.data)}
        return json.dumps(told, separators=(",", ":"))


class Outbox(JobStore):
    """The store with what is owed. Each change is safe to send twice."""

    async def tell(self, owed: Owed, *, alert: str = "", firing: bool = False) -> bool:
        """Owe a message; one of an ``alert`` only where that changes what is known of it: False, if it doesn't."""
        answer = await self._run("tell", *owed_arguments(owed), alert, int(firing))
        return bool(answer)

    async def alerts(self) -> dict[str, dict[str, Any]]:
        """What was told of the alerts that fire."""
        return {name: json.loads(data) for name, data in (await self._redis.hgetall(f"{_KEY}:alerts")).items()}

    async def due(self, endpoint: str, limit: int) -> list[Delivery]:
        """Deliveries to try now, those first that have waited longest."""
        seconds, micros = await self._redis.time()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        ids = await self._redis.zrangebyscore(f"{_KEY}:due:{endpoint}", "-inf", now_ms, start=0, num=limit)
        return await self._deliveries(ids)

    async def settle(
        self, tried: Delivery, to: DeliveryState, answer: str, *, again_in_s: float = 0.0, endpoint: Endpoint = ""
    ) -> None:
        """Note what came of an attempt, and with it what becomes of the endpoint."""
        attempts, again_in_ms = tried.attempts + 1, int(again_in_s * 1000)
        await self._run("settle", tried.id, attempts, to, answer, again_in_ms, endpoint)

    async def resend(self, delivery_id: str) -> Delivery:
        """Have a delivery tried again, now, as if it were new. Raises UnknownError."""
        if not await self._run("resend", delivery_id):
            raise _unknown(delivery_id)
        return await self.delivery(delivery_id)

    async def delivery(self, delivery_id: str) -> Delivery:
        """Raises UnknownError."""
        for found in await self._deliveries([delivery_id]):
            return found
        raise _unknown(delivery_id)

    async def deliveries(
        self, state: DeliveryState, *, limit: int, cursor: str | None
    ) -> tuple[list[Delivery], str | None]:
        """Deliveries in a state, those of the newest messages first; and the cursor of the next page."""
        below = f"({cursor}" if cursor else "+"
        ids = await self._redis.zrevrangebylex(f"{_KEY}:{state}", below, "-", start=0, num=limit + 1)
        return await self._deliveries(ids[:limit]), ids[limit - 1] if len(ids) > limit else None

    async def owed_count(self) -> dict[str, int]:
        """How many deliveries are in each state that is kept."""
        states = ("pending", "failed", "delivered")
        async with self._redis.pipeline(transaction=False) as pipe:
            for state in states:
                pipe.zcard(f"{_KEY}:{state}")
            return dict(zip(states, await pipe.execute(), strict=True))

    async def endpoints(self) -> set[str]:
        """All that something was ever owed to."""
        return set(await self._redis.smembers(f"{_KEY}:endpoints"))

    async def disabled(self) -> dict[str, int]:
        """Endpoints that said they are gone, and when."""
        return {name: int(at) for name, at in (await self._redis.hgetall(f"{_KEY}:disabled")).items()}

    async def retire(self, endpoint: str, answer: str) -> None:
        """Give up what is owed to an endpoint that the settings don't have any more; ``answer``: what is told of it."""
        await self._give_up(endpoint, answer)
        await self._redis.srem(f"{_KEY}:endpoints", endpoint)
        await self._give_up(endpoint, answer)  # what was owed meanwhile; what is from now on names the endpoint again

    async def _give_up(self, endpoint: str, answer: str) -> None:
        while owed := await self._deliveries(await self._redis.zrange(f"{_KEY}:due:{endpoint}", 0, _AT_ONCE - 1)):
            for delivery in owed:
                await self.settle(delivery, "failed", answer)

    async def forget_surplus(self) -> None:
        """Keep no more than so many in each state, the newest: the store must not fill."""
        while surplus := await self._deliveries(await self._oldest("pending", MOST_PENDING)):
            for delivery in surplus:
                await self.settle(delivery, "failed", "too_many")
        for state, most in (("failed", MOST_FAILED), ("delivered", MOST_DELIVERED)):
            while ids := await self._oldest(state, most):
                await self._run("forget", state, *ids)

    async def _oldest(self, state: str, beyond: int) -> list[str]:
        surplus = await self._redis.zcard(f"{_KEY}:{state}") - beyond
        return list(await self._redis.zrange(f"{_KEY}:{state}", 0, min(surplus, _AT_ONCE) - 1)) if surplus > 0 else []

    async def _deliveries(self, ids: list[str]) -> list[Delivery]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for delivery_id in ids:
                pipe.hgetall(f"{_KEY}:delivery:{delivery_id}")
            found = await pipe.execute() if ids else []
        return [_delivery(each, fields) for each, fields in zip(ids, found, strict=True) if fields]


def _unknown(delivery_id: str) -> UnknownError:
    return UnknownError(f"There is no delivery {delivery_id}.", "delivery_not_found")


def _delivery(delivery_id: str, fields: Mapping[str, str]) -> Delivery:
    return Delivery.model_validate({"id": delivery_id, **fields})
