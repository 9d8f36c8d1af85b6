"""``/v1/webhooks``: where messages go, what became of them, and having one sent."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from cluster.settings import Settings
from cluster.webhook_urls import webhook_url
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.models import rfc3339
from pipelines.jobs.outbox import Delivery, DeliveryState, Outbox
from pipelines.jobs.owed import TEST, Owed, endpoints_of, to_all
from pipelines.jobs.service import uuid7


class EndpointView(BaseModel):
    """A webhook of the settings. Its URL may be a secret, so only its host is told."""

    id: str
    host: str
    disabled_at: str | None = Field(description="It said that it is gone (410): nothing is sent to it since.")


class DeliveryView(BaseModel):
    """A message for an endpoint. ``answer``: the last status, or what came instead of one."""

    id: str
    message_id: str = Field(description="The header webhook-id, the same in each attempt.")
    type: str
    endpoint: str
    host: str | None
    state: DeliveryState
    attempts: int
    answer: str | None
    created_at: str | None
    tried_at: str | None


class Webhooks(BaseModel):
    endpoints: list[EndpointView]
    deliveries: dict[str, int] = Field(description="How many are in each state.")


class DeliveryPage(BaseModel):
    deliveries: list[DeliveryView]
    next_cursor: str | None


def webhook_routes(settings: Settings, outbox: Outbox) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["webhooks"])
    hosts = {name: webhook_url(url).place for name, url in endpoints_of(settings).items()}

    def view(delivery: Delivery) -> DeliveryView:
        return DeliveryView(
            id=delivery.id,
            message_id=delivery.message,
            type=delivery.type,
            endpoint=delivery.endpoint,
            host=webhook_url(delivery.url).place if delivery.url else hosts.get(delivery.endpoint),
            state=delivery.state,
            attempts=delivery.attempts,
            answer=delivery.answer,
            created_at=rfc3339(delivery.at),
            tried_at=rfc3339(delivery.tried_at),
        )

    @router.get("/webhooks")
    async def webhooks() -> Webhooks:
        """The webhooks of the settings, and how many messages wait, were given up, were taken of late."""
        disabled = await outbox.disabled()
        endpoints = [EndpointView(id=each, host=hosts[each], disabled_at=rfc3339(disabled.get(each))) for each in hosts]
        return Webhooks(endpoints=endpoints, deliveries=await outbox.owed_count())

    @router.get("/webhooks/deliveries")
    async def deliveries(
        state: DeliveryState = "pending",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(max_length=400)] = None,
    ) -> DeliveryPage:
        """Messages in a state, the newest first."""
        found, next_cursor = await outbox.deliveries(state, limit=limit, cursor=cursor)
        return DeliveryPage(deliveries=[view(each) for each in found], next_cursor=next_cursor)

    @router.post("/webhooks/deliveries/{delivery_id}/resend", status_code=202)
    async def resend(delivery_id: str) -> DeliveryView:
        """Send a message again, with the same `webhook-id`, also to an endpoint that is disabled."""
        return view(await outbox.resend(delivery_id))

    @router.post("/webhooks/test", status_code=202)
    async def test() -> DeliveryPage:
        """Send a message of the type `webhook.test` to each webhook of the settings. One that takes it is enabled."""
        endpoints = to_all(settings)
        if not endpoints:
            raise InvalidError("There are no webhooks. Name some in MEDIARAY_WEBHOOK_URLS.", "webhooks_missing")
        owed = Owed(f"msg_{uuid7()}", TEST, {"text": "This is a test."}, endpoints)
        await outbox.tell(owed)
        found = [await outbox.delivery(f"{owed.message}:{endpoint}") for endpoint in endpoints]
        return DeliveryPage(deliveries=[view(each) for each in found], next_cursor=None)

    return router
