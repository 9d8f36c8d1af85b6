"""The Python client: ``Client`` blocks, ``AsyncClient`` awaits; both say the same (`serve.protocol`).

    with Client() as client:
        job = client.submit("transcode", ["/films/a.mkv"], {"profile": "web-1080p"})
        client.wait(job.id)
        print(client.artifacts(job.id))

Without arguments they use the server and the token of MEDIARAY_HOME. Lost connections and busy servers are
tried again for ``patience_s``; a job isn't made twice by that, since its idempotency key stays the same.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from cluster.home import Home
from cluster.settings import Settings
from serve import protocol
from serve.protocol import (
    ArtifactView,
    Call,
    ClientError,
    Done,
    EventCursor,
    JobEvent,
    JobView,
    Patience,
    PlanView,
    ProblemError,
    ServerUnreachableError,
    settle,
)

__all__ = [
    "ArtifactView",
    "AsyncClient",
    "Client",
    "ClientError",
    "JobEvent",
    "JobView",
    "PlanView",
    "ProblemError",
    "ServerUnreachableError",
]

T = TypeVar("T")
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


@dataclass(frozen=True)
class _Server:
    """Where the server is and what to show it."""

    url: str
    headers: Mapping[str, str]

    @classmethod
    def find(cls, url: str | None, token: str | None, home: Path | None) -> "_Server":
        if url is None or token is None:
            settings = Settings() if home is None else Settings(home=home)
            place = Home(settings.home)
            url = url or (place.server() or {}).get("url") or settings.url
            token = token or (place.token() if place.path.is_dir() else None)
        return cls(url.rstrip("/"), {"Authorization": f"Bearer {token}"} if token else {})

    def http(self) -> dict[str, Any]:
        # No proxy of the environment: the token is for this server only.
        return {
            "base_url": self.url + protocol.PREFIX,
            "headers": dict(self.headers),
            "timeout": _TIMEOUT,
            "trust_env": False,
        }

    def websocket(self, job_id: str, cursor: EventCursor) -> dict[str, Any]:
        address = protocol.events_url(self.url, job_id, cursor)
        return {"uri": address, "additional_headers": dict(self.headers), "proxy": None}


class Client:
    """Blocking; may be shared by threads. All methods raise ServerUnreachableError and ProblemError."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        home: Path | None = None,
        *,
        patience_s: float = 8.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._server = _Server.find(url, token, home)
        self._patience_s = patience_s
        self._http = httpx.Client(**self._server.http(), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        return self._server.url

    def submit(
        self,
        operation: str,
        sources: Sequence[str],
        params: Mapping[str, Any] | None = None,
        priority: str = "normal",
        *,
        idempotency_key: str | None = None,
    ) -> JobView:
        """Make a job. Sources are absolute paths or URIs, as the server sees them."""
        return self._do(protocol.submit(operation, sources, params, priority, idempotency_key))

    def plan(self, operation: str, sources: Sequence[str], params: Mapping[str, Any] | None = None) -> PlanView:
        """What a job would do; nothing is done."""
        return self._do(protocol.plan(operation, sources, params))

    def get(self, job_id: str) -> JobView:
        return self._do(protocol.get(job_id))

    def list(
        self, state: str | None = None, operation: str | None = None, page_size: int = 100, *, below: str | None = None
    ) -> Iterator[JobView]:
        """Jobs, newest first, from below that id, page by page as they are used up."""
        cursor = below
        while True:
            page = self._do(protocol.page(state, operation, page_size, cursor))
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel(self, job_id: str) -> JobView:
        return self._do(protocol.control(job_id, "cancel"))

    def pause(self, job_id: str) -> JobView:
        return self._do(protocol.control(job_id, "pause"))

    def resume(self, job_id: str) -> JobView:
        return self._do(protocol.control(job_id, "resume"))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobView:
        """A new job that does a failed or cancelled one again."""
        return self._do(protocol.retry(job_id, idempotency_key))

    def set_priority(self, job_id: str, priority: str) -> JobView:
        return self._do(protocol.set_priority(job_id, priority))

    def delete(self, job_id: str) -> None:
        """Remove a finished job and the artifacts kept with it."""
        self._do(protocol.delete(job_id))

    def artifacts(self, job_id: str) -> tuple[ArtifactView, ...]:
        """All finished files of a job, in order of name."""
        found: list[ArtifactView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._do(protocol.artifacts(job_id, cursor))
            found += page.artifacts
            cursor = page.next_cursor
        return tuple(found)

    def download(self, job_id: str, name: str, to: Path) -> Path:
        """Fetch an artifact to a file, or into a folder under its own name; it appears when it's whole."""
        return self._save(protocol.artifact(job_id, name), _download_target(name, to))

    def _save(self, what: Call[None], target: Path) -> Path:
        temporary = _temporary(target)
        try:
            with self._http.stream("GET", what.path, params=what.query, follow_redirects=True) as answer:
                if not answer.is_success:
                    raise protocol.problem(answer.status_code, answer.read())
                with temporary.open("xb") as file:
                    for part in answer.iter_bytes(1 << 20):
                        file.write(part)
            temporary.replace(target)
        except httpx.TransportError as error:
            raise ServerUnreachableError(self.url, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def media(self, source: str) -> dict[str, Any]:
        """Technical metadata of a file."""
        return self._do(protocol.document("/media", {"source": source}))

    def collections(self) -> Sequence[dict[str, Any]]:
        """What collections there are, with how many files of which kinds, and how many each task is done with."""
        return self._do(protocol.listing("collections"))

    def collection(self, name: str) -> dict[str, Any]:
        return self._do(protocol.document(protocol.collection_path(name)))

    def collection_files(
        self,
        name: str,
        *,
        where: str | None = None,
        columns: str | None = None,
        order_by: str | None = None,
        page_size: int = 500,
    ) -> Iterator[dict[str, Any]]:
        """Rows of a collection, page by page as they are used up; what is asked for is SQL over its columns."""
        cursor: str | None = "0"
        while cursor is not None:
            page = self._do(protocol.collection_rows(name, where, columns, order_by, page_size, cursor))
            yield from page.rows
            cursor = page.next_cursor

    def export_collection(
        self, name: str, to: Path, *, where: str | None = None, columns: str | None = None, order_by: str | None = None
    ) -> Path:
        """Write rows of a collection to a file: Parquet, CSV or JSON lines, by its extension."""
        return self._save(protocol.collection_export(name, to.suffix, where, columns, order_by), to)

    def remove_collection(self, name: str) -> None:
        """Forget a collection, and remove the artifacts kept with it; its files stay where they are."""
        self._do(protocol.remove_collection(name))

    def watch_collection(self, name: str) -> dict[str, Any]:
        """Have what changes in the folders of a collection imported, while a server runs."""
        return self._do(protocol.watch_collection(name))

    def unwatch_collection(self, name: str) -> None:
        self._do(protocol.unwatch_collection(name))

    def operations(self) -> Sequence[dict[str, Any]]:
        return self._do(protocol.listing("operations"))

    def profiles(self) -> Sequence[dict[str, Any]]:
        return self._do(protocol.listing("profiles"))

    def purge_cache(
        self, *, source: str | None = None, operation: str | None = None, collection: str | None = None
    ) -> None:
        """Have the server forget what it cached of a source's content, of an operation, or of a collection's files."""
        self._do(protocol.purge_cache(source, operation, collection))

    def health(self) -> dict[str, Any]:
        return self._do(protocol.health())

    def ready(self) -> bool:
        """Whether the server takes jobs now."""
        return self._do(protocol.ready())

    def events(self, job_id: str, *, timeout_s: float | None = None) -> Iterator[JobEvent]:
        """A job's events until it is finished; reconnects by itself.

        Raises:
            TimeoutError: it isn't finished after ``timeout_s``.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        cursor, patience = EventCursor(), Patience(self._patience_s)
        while not cursor.finished:
            failure: Exception | None = None
            try:
                where = self._server.websocket(job_id, cursor)
                with websockets.sync.client.connect(**where) as socket:
                    while not cursor.finished:
                        event = cursor.take(socket.recv(_left_s(deadline)))
                        patience.renew()
                        if event:
                            yield event
            except (OSError, WebSocketException) as error:
                failure = error
            if cursor.finished:
                return
            _left_s(deadline)
            if _refused(failure):
                self.get(job_id)  # says why, where the job or the token is wrong
            time.sleep(_delay_s(patience, self.url, failure))

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """The job when it is finished, however it ended.

        Raises:
            TimeoutError: it isn't finished after ``timeout_s``; it goes on.
        """
        for _ in self.events(job_id, timeout_s=timeout_s):
            pass
        return self.get(job_id)

    def _do(self, call: Call[T]) -> T:
        patience = Patience(self._patience_s)
        while True:
            settled = settle(call, self._send(call), patience)
            if isinstance(settled, Done):
                return settled.value
            time.sleep(settled)

    def _send(self, call: Call[T]) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.request(
                call.method, call.path, json=call.body, params=call.query, headers=dict(call.headers)
            )
        except httpx.TransportError as error:
            return error


class AsyncClient:
    """``Client``, awaited."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        home: Path | None = None,
        *,
        patience_s: float = 8.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._server = _Server.find(url, token, home)
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(**self._server.http(), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def url(self) -> str:
        return self._server.url

    async def submit(
        self,
        operation: str,
        sources: Sequence[str],
        params: Mapping[str, Any] | None = None,
        priority: str = "normal",
        *,
        idempotency_key: str | None = None,
    ) -> JobView:
        return await self._do(protocol.submit(operation, sources, params, priority, idempotency_key))

    async def plan(self, operation: str, sources: Sequence[str], params: Mapping[str, Any] | None = None) -> PlanView:
        return await self._do(protocol.plan(operation, sources, params))

    async def get(self, job_id: str) -> JobView:
        return await self._do(protocol.get(job_id))

    async def list(
        self, state: str | None = None, operation: str | None = None, page_size: int = 100, *, below: str | None = None
    ) -> AsyncIterator[JobView]:
        cursor = below
        while True:
            page = await self._do(protocol.page(state, operation, page_size, cursor))
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, job_id: str) -> JobView:
        return await self._do(protocol.control(job_id, "cancel"))

    async def pause(self, job_id: str) -> JobView:
        return await self._do(protocol.control(job_id, "pause"))

    async def resume(self, job_id: str) -> JobView:
        return await self._do(protocol.control(job_id, "resume"))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobView:
        return await self._do(protocol.retry(job_id, idempotency_key))

    async def set_priority(self, job_id: str, priority: str) -> JobView:
        return await self._do(protocol.set_priority(job_id, priority))

    async def delete(self, job_id: str) -> None:
        await self._do(protocol.delete(job_id))

    async def artifacts(self, job_id: str) -> tuple[ArtifactView, ...]:
        """All finished files of a job, in order of name."""
        found: list[ArtifactView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._do(protocol.artifacts(job_id, cursor))
            found += page.artifacts
            cursor = page.next_cursor
        return tuple(found)

    async def download(self, job_id: str, name: str, to: Path) -> Path:
        return await self._save(protocol.artifact(job_id, name), _download_target(name, to))

    async def _save(self, what: Call[None], target: Path) -> Path:
        temporary = _temporary(target)
        try:
            async with self._http.stream("GET", what.path, params=what.query, follow_redirects=True) as answer:
                if not answer.is_success:
                    raise protocol.problem(answer.status_code, await answer.aread())
                with temporary.open("xb") as file:
                    async for part in answer.aiter_bytes(1 << 20):
                        await asyncio.to_thread(file.write, part)
            temporary.replace(target)
        except httpx.TransportError as error:
            raise ServerUnreachableError(self.url, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    async def media(self, source: str) -> dict[str, Any]:
        return await self._do(protocol.document("/media", {"source": source}))

    async def collections(self) -> Sequence[dict[str, Any]]:
        return await self._do(protocol.listing("collections"))

    async def collection(self, name: str) -> dict[str, Any]:
        return await self._do(protocol.document(protocol.collection_path(name)))

    async def collection_files(
        self,
        name: str,
        *,
        where: str | None = None,
        columns: str | None = None,
        order_by: str | None = None,
        page_size: int = 500,
    ) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = "0"
        while cursor is not None:
            page = await self._do(protocol.collection_rows(name, where, columns, order_by, page_size, cursor))
            for row in page.rows:
                yield row
            cursor = page.next_cursor

    async def export_collection(
        self, name: str, to: Path, *, where: str | None = None, columns: str | None = None, order_by: str | None = None
    ) -> Path:
        return await self._save(protocol.collection_export(name, to.suffix, where, columns, order_by), to)

    async def remove_collection(self, name: str) -> None:
        await self._do(protocol.remove_collection(name))

    async def watch_collection(self, name: str) -> dict[str, Any]:
        return await self._do(protocol.watch_collection(name))

    async def unwatch_collection(self, name: str) -> None:
        await self._do(protocol.unwatch_collection(name))

    async def operations(self) -> Sequence[dict[str, Any]]:
        return await self._do(protocol.listing("operations"))

    async def profiles(self) -> Sequence[dict[str, Any]]:
        return await self._do(protocol.listing("profiles"))

    async def purge_cache(
        self, *, source: str | None = None, operation: str | None = None, collection: str | None = None
    ) -> None:
        """Have the server forget what it cached of a source's content, of an operation, or of a collection's files."""
        await self._do(protocol.purge_cache(source, operation, collection))

    async def health(self) -> dict[str, Any]:
        return await self._do(protocol.health())

    async def ready(self) -> bool:
        return await self._do(protocol.ready())

    async def events(self, job_id: str) -> AsyncIterator[JobEvent]:
        cursor, patience = EventCursor(), Patience(self._patience_s)
        while not cursor.finished:
            failure: Exception | None = None
            try:
                where = self._server.websocket(job_id, cursor)
                async with websockets.asyncio.client.connect(**where) as socket:
                    while not cursor.finished:
                        event = cursor.take(await socket.recv())
                        patience.renew()
                        if event:
                            yield event
            except (OSError, WebSocketException) as error:
                failure = error
            if cursor.finished:
                return
            if _refused(failure):
                await self.get(job_id)
            await asyncio.sleep(_delay_s(patience, self.url, failure))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        async with asyncio.timeout(timeout_s):
            async for _ in self.events(job_id):
                pass
        return await self.get(job_id)

    async def _do(self, call: Call[T]) -> T:
        patience = Patience(self._patience_s)
        while True:
            settled = settle(call, await self._send(call), patience)
            if isinstance(settled, Done):
                return settled.value
            await asyncio.sleep(settled)

    async def _send(self, call: Call[T]) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.request(
                call.method, call.path, json=call.body, params=call.query, headers=dict(call.headers)
            )
        except httpx.TransportError as error:
            return error


def _left_s(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the job isn't finished yet")
    return left


def _refused(failure: Exception | None) -> bool:
    """Whether the server doesn't want to, as opposed to: can't now."""
    if isinstance(failure, InvalidStatus):
        return failure.response.status_code < 500
    return isinstance(failure, ConnectionClosed) and failure.rcvd is not None and failure.rcvd.code >= 4000


def _delay_s(patience: Patience, url: str, failure: Exception | None) -> float:
    delay = patience.delay_s()
    if delay is None:
        raise ServerUnreachableError(url, str(failure) if failure else "") from failure
    return delay


def _download_target(name: str, to: Path) -> Path:
    return to / Path(name).name if to.is_dir() else to


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
