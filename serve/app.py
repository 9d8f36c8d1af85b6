"""The HTTP edge: parse, call, answer. What it needs is handed in; it knows neither Ray nor Redis."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import anyio
import redis
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.telemetry import TelemetryConfig

from cluster.checks import Check
from pipelines.jobs.errors import UnknownError
from pipelines.jobs.media_service import MediaService
from pipelines.jobs.models import State, rfc3339
from pipelines.jobs.service import JobService
from pipelines.jobs.service import Request as JobWanted
from pipelines.jobs.store import JobStore
from pipelines.media.profiles import Profile
from serve.capacity import Capacity, capacity_route
from serve.collections import collections
from serve.feed import Feed, parse_since
from serve.guard import Guard, owner_of
from serve.media import media_routes
from serve.metrics import Timed, metrics_route, note_push
from serve.pictures import pictures
from serve.problems import handle_errors
from serve.shedding import Shedding
from serve.signing import Signer
from serve.threads import keep_threads
from serve.views import (
    V1,
    ArtifactPage,
    Health,
    JobPage,
    JobRequest,
    JobView,
    OperationList,
    PlanView,
    PriorityChange,
    artifact_view,
    job_view,
    operation_view,
    plan_view,
)

MAX_KEY_LENGTH = 200
_STORE_AWAY = (1013, "The job store is away. Connect again in a moment, with since.")
_LOG_BLOCK_MS = 1_000  # below the store's time-out
_CURSOR_PATTERN = r"^\d{1,15}(-\d{1,15})?$"
_UNTRACED = (f"{V1}/health", f"{V1}/metrics")  # asked again and again
# Requests are traced where the process is (cluster.tracing), and told nowhere else.
_TRACES: TelemetryConfig = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
    "exclude": lambda scope: scope["type"] == "websocket" or scope["path"].startswith(_UNTRACED),
}
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=MAX_KEY_LENGTH, description="The same key and body: the same job, for 24 hours."),
]


def build_app(
    *,
    jobs: JobService,
    store: JobStore,
    media: MediaService,
    feed: Feed,
    token: str,
    hosts: frozenset[str],
    signer: Signer,
    home: Path,
    health: Callable[[], Awaitable[Health]],
    looks: Callable[[], Awaitable[Sequence[Check]]],
    capacity: Callable[[Sequence[int]], Awaitable[Capacity]],
    metrics: Callable[[], Awaitable[bytes]],
    webhooks: APIRouter,
    version: str,
    scrape_token: str | None = None,
) -> FastAPI:
    """The application of one replica. ``looks`` looks at all that the server depends on."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        keep_threads()
        feed.start()
        media.start()
        try:
            yield
        finally:
            await media.stop()
            await feed.stop()

    app = FastAPI(
        title="mediaray",
        version=version,
        summary="Media work as durable background jobs, with live progress.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts of third parties
        redoc_url=None,
        openapi_url=f"{V1}/openapi.json",
        telemetry=_TRACES,
    )
    handle_errors(app)
    app.include_router(_jobs(jobs, feed), prefix=V1)
    app.include_router(_events(jobs, store, feed), prefix=V1)
    app.include_router(_artifacts(jobs), prefix=V1)
    app.include_router(_catalogue(jobs), prefix=V1)
    app.include_router(media_routes(media), prefix=V1)
    app.include_router(pictures(media, signer), prefix=V1)
    app.include_router(collections(jobs, home), prefix=V1)
    app.include_router(webhooks, prefix=V1)
    app.include_router(_health(health, looks), prefix=V1)
    app.include_router(capacity_route(capacity), prefix=V1)
    app.include_router(metrics_route(metrics), prefix=V1)
    app.add_middleware(Guard, token=token, hosts=hosts, signer=signer, scrape_token=scrape_token)
    app.add_middleware(Shedding)
    app.add_middleware(Timed)
    return app


def _wanted(request: JobRequest) -> JobWanted:
    return JobWanted(request.operation, request.all_sources(), request.params, request.priority, request.webhook)


def _jobs(jobs: JobService, feed: Feed) -> APIRouter:
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs", status_code=202)
    async def create_job(body: JobRequest, request: Request, idempotency_key: IdempotencyKey = None) -> JobView:
        """Accept a job. When this answers, the job is on disk and will reach one end, whatever is killed meanwhile."""
        job = await jobs.submit(_wanted(body), owner=owner_of(request), idempotency_key=idempotency_key)
        return job_view(job, None)

    @router.post("/plans")
    async def explain(body: JobRequest) -> PlanView:
        """What a job would do, without doing it."""
        return plan_view(body.operation, await jobs.plan(_wanted(body)))

    @router.get("/jobs")
    async def list_jobs(
        state: State | None = None,
        operation: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(pattern="^([0-9a-f-]{36})?$")] = None,
    ) -> JobPage:
        """Jobs, newest first."""
        found, next_cursor = await jobs.page(state=state, operation=operation, limit=limit, cursor=cursor)
        return JobPage(jobs=[job_view(job, feed.latest(job.id)) for job in found], next_cursor=next_cursor)

    @router.get("/jobs/{job_id}")
    async def get_job(job_id: str) -> JobView:
        return job_view(await jobs.get(job_id), feed.latest(job_id))

    @router.delete("/jobs/{job_id}", status_code=204)
    async def delete_job(job_id: str) -> Response:
        """Forget a finished job and the artifacts kept with it."""
        await jobs.delete(job_id)
        return Response(status_code=204)

    @router.patch("/jobs/{job_id}")
    async def change_priority(job_id: str, body: PriorityChange) -> JobView:
        return job_view(await jobs.set_priority(job_id, body.priority), feed.latest(job_id))

    @router.post("/jobs/{job_id}/cancel", status_code=202)
    async def cancel(job_id: str) -> JobView:
        """End a job. Its processes are gone and it is `cancelled` within two seconds."""
        return job_view(await jobs.want(job_id, "cancel"), feed.latest(job_id))

    @router.post("/jobs/{job_id}/pause", status_code=202)
    async def pause(job_id: str) -> JobView:
        """Start no more units; running ones get a short time to finish."""
        return job_view(await jobs.want(job_id, "pause"), feed.latest(job_id))

    @router.post("/jobs/{job_id}/resume", status_code=202)
    async def resume(job_id: str) -> JobView:
        return job_view(await jobs.want(job_id, "run"), feed.latest(job_id))

    @router.post("/jobs/{job_id}/retry", status_code=202)
    async def retry(job_id: str, request: Request, idempotency_key: IdempotencyKey = None) -> JobView:
        """A new job that does a failed or cancelled one again."""
        job = await jobs.retry(job_id, owner=owner_of(request), idempotency_key=idempotency_key)
        return job_view(job, None)

    return router


def _events(jobs: JobService, store: JobStore, feed: Feed) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.websocket("/jobs/{job_id}/events")
    async def job_events(socket: WebSocket, job_id: str, since: str | None = None) -> None:
        """A job's events until its end. After a break, ``since=EPOCH:SEQ`` of the last one seen goes on from there."""
        await socket.accept()
        try:
            async with _watched(socket):
                async for event in feed.events(job_id, *parse_since(since)):
                    await socket.send_text(event.text)
                    note_push(event.event)
            await socket.close(1000)
        except UnknownError as error:
            await socket.close(4404, error.message[:120])
        except WebSocketDisconnect:
            pass
        except redis.RedisError:
            await socket.close(*_STORE_AWAY)

    @router.websocket("/events")
    async def all_events(
        socket: WebSocket, since: Annotated[str | None, Query(pattern=_CURSOR_PATTERN)] = None
    ) -> None:
        """Changes of state of all jobs. ``since`` is the ``cursor`` of the last one seen."""
        await socket.accept()
        with suppress(WebSocketDisconnect):
            try:
                async with _watched(socket):
                    await _tell_changes(socket, store, since or await store.log_end())
            except redis.RedisError:
                await socket.close(*_STORE_AWAY)

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
    async def job_events_sse(
        job_id: str, since: str | None = None, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """The same events as server-sent events; the id of each is its ``EPOCH:SEQ``."""
        await jobs.get(job_id)

        async def stream() -> AsyncIterator[str]:
            async for each in feed.events(job_id, *parse_since(last_event_id or since)):
                event = each.event
                yield f"id: {event['epoch']}:{event['seq']}\nevent: {event['type']}\ndata: {each.text}\n\n"
                note_push(event)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


async def _tell_changes(socket: WebSocket, store: JobStore, cursor: str) -> None:
    while True:
        for entry in await store.read_log(cursor, block_ms=_LOG_BLOCK_MS):
            cursor = entry.id
            if entry.type == "state":
                change = {"cursor": entry.id, "job_id": entry.job_id, "state": entry.state, "at": rfc3339(entry.at)}
                await socket.send_json(change)


@asynccontextmanager
async def _watched(socket: WebSocket) -> AsyncIterator[None]:
    """Cancel the body when the client goes away: a silent job would otherwise keep its task for ever."""

    async def until_gone(scope: anyio.CancelScope) -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass  # nothing a client says is of interest
        scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(until_gone, group.cancel_scope)
            yield
            group.cancel_scope.cancel()
    except BaseExceptionGroup as raised:  # the caller handles the body's own error
        if len(raised.exceptions) > 1:
            raise
        raise raised.exceptions[0] from None


def _artifacts(jobs: JobService) -> APIRouter:
    router = APIRouter(tags=["artifacts"])

    @router.get("/jobs/{job_id}/artifacts")
    async def list_artifacts(
        job_id: str,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
        cursor: Annotated[str, Query(max_length=4096)] = "",
    ) -> ArtifactPage:
        """A job's finished files, in order of name."""
        found, next_cursor = await jobs.artifacts(job_id, limit=limit, cursor=cursor)
        return ArtifactPage(artifacts=[artifact_view(job_id, each) for each in found], next_cursor=next_cursor)

    @router.get("/jobs/{job_id}/artifacts/{name:path}", response_class=FileResponse)
    async def get_artifact(job_id: str, name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The file. Ranges and ETags are supported."""
        artifact, path = await jobs.artifact(job_id, name)
        facts = path.stat()
        etag = f'"{hashlib.sha256(f"{facts.st_ino}:{facts.st_mtime_ns}:{facts.st_size}".encode()).hexdigest()[:32]}"'
        headers = {
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; media-src 'self'; img-src 'self'; sandbox",
        }
        if if_none_match is not None and etag in (each.strip() for each in if_none_match.split(",")):
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type=artifact.media_type, headers=headers, stat_result=facts)

    return router


def _catalogue(jobs: JobService) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    @router.get("/operations")
    async def operations() -> OperationList:
        """What can be done, with the JSON Schemas of parameters and results."""
        return OperationList(operations=[operation_view(operation) for operation in jobs.operations()])

    @router.get("/profiles")
    async def profiles() -> Mapping[str, list[Profile]]:
        return {"profiles": list(jobs.profiles().values())}

    return router


def _health(health: Callable[[], Awaitable[Health]], looks: Callable[[], Awaitable[Sequence[Check]]]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers. Needs no token."""
        return {"status": "ok"}

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        """Jobs are accepted and progress is told."""
        found = await health()
        able = all(found.checks.get(name) == "ok" for name in ("store", "registry"))
        body: dict[str, Any] = {"status": "ok" if able else "unavailable", "checks": found.checks}
        return JSONResponse(body, 200 if able else 503, {} if able else {"Retry-After": "1"})

    @router.get("/health")
    async def whole(
        deep: Annotated[
            bool,
            Query(description="Look at all that the server depends on, too, which takes up to 10 s: ``depends_on``."),
        ] = False,
    ) -> Health:
        """All that is checked, and the jobs by state."""
        if not deep:
            return await health()
        found, seen = await asyncio.gather(health(), looks())
        return found.with_looks(seen)

    return router
