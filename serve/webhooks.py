"""What is owed to webhooks is delivered, beside the dispatcher: each message at least once, until its time is over."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence, Set
from typing import Any

from cluster.settings import Settings
from cluster.webhook_urls import webhook_url
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import WorkerConfig
from pipelines.jobs.outbox import ATTEMPTS, Delivery, Outbox
from pipelines.jobs.owed import BY_JOB, TEST, by_job, endpoints_of, is_by_job
from serve.webhook_sender import Answer, Sender

# After each attempt that failed, as Standard Webhooks recommends; after the last of them it is given up, on day four.
SCHEDULE_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
_JITTER = 0.2
_LONGEST_S = 86_400.0  # that an endpoint may ask for
_LOOK_S = 1.0
_SURPLUS_EVERY_S = 60.0
_END_S = 0.2
_AT_ONCE = 8  # to one endpoint
_PATIENCE = 1000  # tries while Redis is away
_log = logging.getLogger("mediaray.webhooks")


async def run(config: WorkerConfig, _catalogue: Catalogue) -> None:
    """Deliver, until it fails or is cancelled."""
    settings = config.settings
    if not settings.webhooks_signed:
        await asyncio.Event().wait()
        return
    outbox, sender = Outbox(config.redis_url, patience=_PATIENCE), Sender()
    try:
        await Deliveries(settings, outbox, sender).run()
    finally:
        await sender.close()
        await outbox.close()


class Deliveries:
    """Delivers to each endpoint by itself: one that is slow or gone holds up no other."""

    def __init__(
        self, settings: Settings, outbox: Outbox, sender: Sender, schedule_s: Sequence[float] = SCHEDULE_S
    ) -> None:
        self._settings, self._outbox, self._sender, self._schedule_s = settings, outbox, sender, schedule_s
        self._urls = endpoints_of(settings)
        self._own = {by_job(place) for place in settings.webhook_hosts}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    async def run(self) -> None:
        """Go on for ever. Raises what goes wrong in it; what is owed stays so."""
        earlier = await self._outbox.endpoints() & {BY_JOB}
        served = self._urls.keys() | self._own | earlier
        try:
            await asyncio.gather(self._start(self._keep_small(served)), *(self._start(self._serve(e)) for e in served))
        finally:
            self._ended = True
            while self._tasks:  # the Redis client may swallow a cancel that comes while it talks
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(self._tasks, timeout=_END_S)

    def _start(self, going: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(going)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, endpoint: str) -> None:
        """Keep some deliveries on their way: the next takes the place of the first that ends, not of the slowest."""
        going: dict[str, asyncio.Task[None]] = {}
        while not self._ended:
            due = [each for each in await self._outbox.due(endpoint, _AT_ONCE) if each.id not in going]
            if due:
                secrets = await asyncio.to_thread(self._settings.current_webhook_secrets)
                disabled = endpoint in await self._outbox.disabled()
                for each in due[: _AT_ONCE - len(going)]:
                    going[each.id] = self._start(self._deliver(each, secrets, disabled=disabled))
            if going:
                await asyncio.wait(going.values(), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(_LOOK_S)
            for ended in [each for each, task in going.items() if task.done()]:
                going.pop(ended).result()

    async def _deliver(self, delivery: Delivery, secrets: Sequence[str], *, disabled: bool) -> None:
        by_hand = delivery.by_hand or delivery.type == TEST
        if disabled and not by_hand:
            await self._refuse(delivery, "endpoint_disabled")
            return
        of_job = is_by_job(delivery.endpoint)
        if of_job and webhook_url(delivery.url).place not in self._settings.webhook_hosts:
            await self._refuse(delivery, "host_refused")
            return
        answer = await self._sender.send(
            delivery.url or self._urls[delivery.endpoint],
            delivery.message,
            delivery.body(),
            secrets,
            public_only=of_job and not self._settings.webhook_private,
        )
        await self._settle(delivery, answer, disabled=disabled)

    async def _refuse(self, delivery: Delivery, why: str) -> None:
        """Not even try. It counts as given up: whoever watches that hears of it for as long as messages are lost."""
        await self._outbox.settle(delivery, "failed", why)
        ATTEMPTS.labels("given_up").inc()

    async def _settle(self, delivery: Delivery, answer: Answer, *, disabled: bool) -> None:
        again_in_s = delay_s(delivery.attempts, self._schedule_s, random.random)
        if answer.taken:
            outcome = "taken"
            await self._outbox.settle(delivery, "delivered", str(answer), endpoint="enable" if disabled else "")
        elif answer.gone or answer.why == "address_refused" or again_in_s is None:
            outcome = "given_up"
            gone = answer.gone and not is_by_job(delivery.endpoint)
            await self._outbox.settle(delivery, "failed", str(answer), endpoint="disable" if gone else "")
            _log.warning("message %s to webhook %s is given up: %s", delivery.message, delivery.endpoint, answer)
        else:
            outcome = "again"
            wait_s = max(again_in_s, min(answer.retry_after_s, _LONGEST_S))
            await self._outbox.settle(delivery, "pending", str(answer), again_in_s=wait_s)
        ATTEMPTS.labels(outcome).inc()

    async def _keep_small(self, served: Set[str]) -> None:
        while not self._ended:
            for endpoint in await self._outbox.endpoints() - served:
                await self._outbox.retire(endpoint, "host_refused" if is_by_job(endpoint) else "endpoint_removed")
            await self._outbox.forget_surplus()
            await asyncio.sleep(_SURPLUS_EVERY_S)


def delay_s(attempts: int, schedule_s: Sequence[float], chance: Callable[[], float]) -> float | None:
    """How long to wait after one more attempt that failed, give or take a fifth; None: no longer."""
    if attempts >= len(schedule_s):
        return None
    return schedule_s[attempts] * (1 - _JITTER + 2 * _JITTER * chance())
