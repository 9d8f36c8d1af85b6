"""``AsyncClient``: the Python client, awaited. See `serve.client`, which blocks: each method is described there."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import websockets.asyncio.client
from websockets.exceptions import WebSocketException

from serve import calls
from serve.answers import ArtifactView, JobEvent, JobView, PlanView
from serve.connection import Server, begun, delay_s, download_target, ended, refused
from serve.protocol import Call, Done, EventCursor, Patience, ServerUnreachableError, problem, settle

T = TypeVar("T")


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
        self._server = Server.find(url, token, home)
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
        webhook: str | None = None,
    ) -> JobView:
        return await self._do(calls.submit(operation, sources, params, priority, idempotency_key, webhook))

    async def plan(self, operation: str, sources: Sequence[str], params: Mapping[str, Any] | None = None) -> PlanView:
        return await self._do(calls.plan(operation, sources, params))

    async def get(self, job_id: str) -> JobView:
        return await self._do(calls.get(job_id))

    async def list(
        self, state: str | None = None, operation: str | None = None, page_size: int = 100, *, below: str | None = None
    ) -> AsyncIterator[JobView]:
        cursor = below
        while True:
            page = await self._do(calls.page(state, operation, page_size, cursor))
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, job_id: str) -> JobView:
        return await self._do(calls.control(job_id, "cancel"))

    async def pause(self, job_id: str) -> JobView:
        return await self._do(calls.control(job_id, "pause"))

    async def resume(self, job_id: str) -> JobView:
        return await self._do(calls.control(job_id, "resume"))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobView:
        return await self._do(calls.retry(job_id, idempotency_key))

    async def set_priority(self, job_id: str, priority: str) -> JobView:
        return await self._do(calls.set_priority(job_id, priority))

    async def delete(self, job_id: str) -> None:
        await self._do(calls.delete(job_id))

    async def artifacts(self, job_id: str) -> tuple[ArtifactView, ...]:
        """All finished files of a job, in order of name."""
        found: list[ArtifactView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._do(calls.artifacts(job_id, cursor))
            found += page.artifacts
            cursor = page.next_cursor
        return tuple(found)

    async def download(self, job_id: str, name: str, to: Path) -> Path:
        return await self._save(calls.artifact(job_id, name), download_target(name, to), overwrite=True)

    async def _save(self, what: Call[None], target: Path, *, overwrite: bool) -> Path:
        temporary, file = begun(target)
        try:
            with file:
                async with self._http.stream("GET", what.path, params=what.query, follow_redirects=True) as answer:
                    if not answer.is_success:
                        raise problem(answer.status_code, await answer.aread())
                    async for part in answer.aiter_bytes(1 << 20):
                        await asyncio.to_thread(file.write, part)
            ended(temporary, target, overwrite=overwrite)
        except httpx.TransportError as error:
            raise ServerUnreachableError(self.url, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    async def media(self, source: str) -> dict[str, Any]:
        return await self._do(calls.document("/media", {"source": source}))

    async def collections(self) -> Sequence[dict[str, Any]]:
        return await self._do(calls.listing("collections"))

    async def collection(self, name: str) -> dict[str, Any]:
        return await self._do(calls.document(calls.collection_path(name)))

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
            page = await self._do(calls.collection_rows(name, where, columns, order_by, page_size, cursor))
            for row in page.rows:
                yield row
            cursor = page.next_cursor

    async def export_collection(
        self,
        name: str,
        to: Path,
        *,
        where: str | None = None,
        columns: str | None = None,
        order_by: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        what = calls.collection_export(name, to.suffix, where, columns, order_by)
        return await self._save(what, to, overwrite=overwrite)

    async def remove_collection(self, name: str) -> None:
        await self._do(calls.remove_collection(name))

    async def watch_collection(self, name: str) -> dict[str, Any]:
        return await self._do(calls.watch_collection(name))

    async def unwatch_collection(self, name: str) -> None:
        await self._do(calls.unwatch_collection(name))

    async def operations(self) -> Sequence[dict[str, Any]]:
        return await self._do(calls.listing("operations"))

    async def profiles(self) -> Sequence[dict[str, Any]]:
        return await self._do(calls.listing("profiles"))

    async def purge_cache(
        self, *, source: str | None = None, operation: str | None = None, collection: str | None = None
    ) -> None:
        """Have the server forget what it cached of a source's content, of an operation, or of a collection's files."""
        await self._do(calls.purge_cache(source, operation, collection))

    async def webhooks(self) -> dict[str, Any]:
        return await self._do(calls.document("/webhooks"))

    async def deliveries(self, state: str = "pending", page_size: int = 100) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._do(calls.deliveries(state, page_size, cursor))
            for delivery in page["deliveries"]:
                yield delivery
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def resend(self, delivery_id: str) -> dict[str, Any]:
        return await self._do(calls.resend(delivery_id))

    async def test_webhooks(self) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = (await self._do(calls.webhook_test()))["deliveries"]
        return found

    async def health(self, *, deep: bool = False) -> dict[str, Any]:
        return await self._do(calls.health(deep=deep))

    async def capacity(self, nodes: int | None = None) -> dict[str, Any]:
        return await self._do(calls.capacity(nodes))

    async def ready(self) -> bool:
        return await self._do(calls.ready())

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
            if refused(failure):
                await self.get(job_id)
            await asyncio.sleep(delay_s(patience, self.url, failure))

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
