"""Requests that wait in an application behind the limit, until the test lets them go."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from serve.shedding import Shedding


class Waiting:
    """Answers when ``gate`` is open; ``bodies`` keeps it from ending an answer that has begun. ``/broken`` raises."""

    def __init__(self) -> None:
        self.gate, self.bodies = asyncio.Event(), asyncio.Event()
        self.bodies.set()
        self.inside = asyncio.Semaphore(0)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(Shedding(self, most=1, most_waiting=1), raise_app_exceptions=False),
            base_url="http://edge",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/broken":
            raise ValueError
        self.inside.release()
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.inside.release()
        await self.bodies.wait()
        await send({"type": "http.response.body", "body": b""})

    async def taken(self, path: str) -> "asyncio.Task[httpx.Response]":
        """A request that is being answered."""
        request = asyncio.create_task(self.client.get(path))
        await self.inside.acquire()
        return request


def run(body: Callable[[Waiting], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await body(Waiting())

    asyncio.run(all_of_it())


def test_a_request_beyond_the_limit_is_told_to_come_again():
    async def body(app: Waiting) -> None:
        first = await app.taken("/v1/jobs")
        refused = await app.client.get("/v1/jobs")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        app.gate.set()
        assert (await first).status_code == 200
        assert (await app.client.get("/v1/jobs")).status_code == 200

    run(body)


def test_pages_that_wait_for_pictures_hold_up_no_other_request():
    async def body(app: Waiting) -> None:
        picture = await app.taken("/v1/images?source=a.jpg")
        other = await app.taken("/v1/jobs")
        assert (await app.client.get("/v1/media")).status_code == 503
        app.gate.set()
        assert [(await each).status_code for each in (picture, other)] == [200, 200]

    run(body)


def test_an_answer_that_has_begun_counts_no_more():
    async def body(app: Waiting) -> None:
        app.gate.set()
        app.bodies.clear()
        download = await app.taken("/v1/jobs/1/artifacts/a.mp4")
        await app.inside.acquire()
        second = await app.taken("/v1/jobs")
        app.bodies.set()
        assert [(await each).status_code for each in (download, second)] == [200, 200]

    run(body)


@pytest.mark.parametrize("path", ["/v1/health/live", "/v1/health/ready", "/v1/metrics"])
def test_health_and_metrics_are_told_past_the_limit(path):
    async def body(app: Waiting) -> None:
        first = await app.taken("/v1/jobs")
        health = await app.taken(path)
        app.gate.set()
        assert [(await each).status_code for each in (first, health)] == [200, 200]

    run(body)


def test_a_request_that_fails_or_is_cancelled_leaves_its_place():
    async def body(app: Waiting) -> None:
        assert (await app.client.get("/broken")).status_code == 500
        (await app.taken("/v1/jobs")).cancel()
        app.gate.set()
        while (await app.client.get("/v1/jobs")).status_code == 503:
            await asyncio.sleep(0)

    run(body)
