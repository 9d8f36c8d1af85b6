"""The Python client: ``Client`` blocks, ``AsyncClient`` awaits; both say the same (`serve.calls`).

    with Client() as client:
        job = client.submit("transcode", ["/films/a.mkv"], {"profile": "web-1080p"})
        client.wait(job.id)
        print(client.artifacts(job.id))

Without arguments they use the server and the token of MEDIARAY_HOME. Lost connections and busy servers are
tried again for ``patience_s``; a job isn't made twice by that, since its idempotency key stays the same.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import websockets.sync.client
from websockets.exceptions import WebSocketException

from serve import calls
from serve.answers import ArtifactView, JobEvent, JobView, PlanView
from serve.async_client import AsyncClient
from serve.connection import Server, begun, delay_s, download_target, ended, refused
from serve.protocol import (
    Call,
    ClientError,
    Done,
    EventCursor,
    Patience,
    ProblemError,
    ServerUnreachableError,
    problem,
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
        self._server = Server.find(url, token, home)
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
        webhook: str | None = None,
    ) -> JobView:
        """Make a job. Sources are absolute paths or URIs, as the server sees them; its end is told to ``webhook``."""
        return self._do(calls.submit(operation, sources, params, priority, idempotency_key, webhook))

    def plan(self, operation: str, sources: Sequence[str], params: Mapping[str, Any] | None = None) -> PlanView:
        """What a job would do; nothing is done."""
        return self._do(calls.plan(operation, sources, params))

    def get(self, job_id: str) -> JobView:
        return self._do(calls.get(job_id))

    def list(
        self, state: str | None = None, operation: str | None = None, page_size: int = 100, *, below: str | None = None
    ) -> Iterator[JobView]:
        """Jobs, newest first, from below that id, page by page as they are used up."""
        cursor = below
        while True:
            page = self._do(calls.page(state, operation, page_size, cursor))
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel(self, job_id: str) -> JobView:
        return self._do(calls.control(job_id, "cancel"))

    def pause(self, job_id: str) -> JobView:
        return self._do(calls.control(job_id, "pause"))

    def resume(self, job_id: str) -> JobView:
        return self._do(calls.control(job_id, "resume"))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobView:
        """A new job that does a failed or cancelled one again."""
        return self._do(calls.retry(job_id, idempotency_key))

    def set_priority(self, job_id: str, priority: str) -> JobView:
        return self._do(calls.set_priority(job_id, priority))

    def delete(self, job_id: str) -> None:
        """Remove a finished job and the artifacts kept with it."""
        self._do(calls.delete(job_id))

    def artifacts(self, job_id: str) -> tuple[ArtifactView, ...]:
        """All finished files of a job, in order of name."""
        found: list[ArtifactView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._do(calls.artifacts(job_id, cursor))
            found += page.artifacts
            cursor = page.next_cursor
        return tuple(found)

    def download(self, job_id: str, name: str, to: Path) -> Path:
        """Fetch an artifact to a file, or into a folder under its own name; it appears when it's whole."""
        return self._save(calls.artifact(job_id, name), download_target(name, to), overwrite=True)

    def _save(self, what: Call[None], target: Path, *, overwrite: bool) -> Path:
        temporary, file = begun(target)
        try:
            with file, self._http.stream("GET", what.path, params=what.query, follow_redirects=True) as answer:
                if not answer.is_success:
                    raise problem(answer.status_code, answer.read())
                for part in answer.iter_bytes(1 << 20):
                    file.write(part)
            ended(temporary, target, overwrite=overwrite)
        except httpx.TransportError as error:
            raise ServerUnreachableError(self.url, str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def media(self, source: str) -> dict[str, Any]:
        """Technical metadata of a file."""
        return self._do(calls.document("/media", {"source": source}))

    def collections(self) -> Sequence[dict[str, Any]]:
        """What collections there are, with how many files of which kinds, and how many each task is done with."""
        return self._do(calls.listing("collections"))

    def collection(self, name: str) -> dict[str, Any]:
        return self._do(calls.document(calls.collection_path(name)))

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
            page = self._do(calls.collection_rows(name, where, columns, order_by, page_size, cursor))
            yield from page.rows
            cursor = page.next_cursor

    def export_collection(
        self,
        name: str,
        to: Path,
        *,
        where: str | None = None,
        columns: str | None = None,
        order_by: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write rows of a collection to a file: Parquet, CSV or JSON lines, by its extension.

        Raises:
            StorageError: ``output_exists``.
        """
        return self._save(calls.collection_export(name, to.suffix, where, columns, order_by), to, overwrite=overwrite)

    def remove_collection(self, name: str) -> None:
        """Forget a collection, and remove the artifacts kept with it; its files stay where they are."""
        self._do(calls.remove_collection(name))

    def watch_collection(self, name: str) -> dict[str, Any]:
        """Have what changes in the folders of a collection imported, while a server runs."""
        return self._do(calls.watch_collection(name))

    def unwatch_collection(self, name: str) -> None:
        self._do(calls.unwatch_collection(name))

    def operations(self) -> Sequence[dict[str, Any]]:
        return self._do(calls.listing("operations"))

    def profiles(self) -> Sequence[dict[str, Any]]:
        return self._do(calls.listing("profiles"))

    def purge_cache(
        self, *, source: str | None = None, operation: str | None = None, collection: str | None = None
    ) -> None:
        """Have the server forget what it cached of a source's content, of an operation, or of a collection's files."""
        self._do(calls.purge_cache(source, operation, collection))

    def webhooks(self) -> dict[str, Any]:
        """The webhooks of the server's settings, and how many deliveries are in each state."""
        return self._do(calls.document("/webhooks"))

    def deliveries(self, state: str = "pending", page_size: int = 100) -> Iterator[dict[str, Any]]:
        """Messages that are pending, failed or delivered, the newest first, page by page as they are used up."""
        cursor: str | None = None
        while True:
            page = self._do(calls.deliveries(state, page_size, cursor))
            yield from page["deliveries"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def resend(self, delivery_id: str) -> dict[str, Any]:
        """Have a message sent again."""
        return self._do(calls.resend(delivery_id))

    def test_webhooks(self) -> Sequence[dict[str, Any]]:
        """Have a test sent to each webhook of the settings: the deliveries."""
        found: Sequence[dict[str, Any]] = self._do(calls.webhook_test())["deliveries"]
        return found

    def health(self, *, deep: bool = False) -> dict[str, Any]:
        """How the server is; ``deep``: with all that it depends on, which takes up to 10 s (``depends_on``)."""
        return self._do(calls.health(deep=deep))

    def capacity(self, nodes: int | None = None) -> dict[str, Any]:
        """What runs, what is free, what the backlog needs, when it is done, and what more ``nodes`` would change."""
        return self._do(calls.capacity(nodes))

    def ready(self) -> bool:
        """Whether the server takes jobs now."""
        return self._do(calls.ready())

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
            if refused(failure):
                self.get(job_id)  # says why, where the job or the token is wrong
            time.sleep(delay_s(patience, self.url, failure))

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


def _left_s(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the job isn't finished yet")
    return left
