"""What the client and the server say to each other: requests, answers, errors, when to try again.

`serve.client` sends and receives, blocking or not; everything it needs to know is here, once.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

T = TypeVar("T")

PREFIX = "/v1"
TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})
_BUSY = frozenset({429, 503})  # refused before anything was done
_GATEWAY = frozenset({502, 504})  # where a proxy says so; the server itself means the media process by it
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 2.0


class ClientError(Exception):
    """Base of what a client raises."""


class ServerUnreachableError(ClientError):
    """No server answers."""

    def __init__(self, url: str, reason: str = "") -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"No mediaray server answers at {self.url}{why}. Start it with: mediaray up"


class ProblemError(ClientError):
    """The server refused; ``code`` is stable, ``detail`` is for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class View(BaseModel):
    """What the server tells. A newer server may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ArtifactView(View):
    name: str
    size_bytes: int
    media_type: str = "application/octet-stream"
    path: str | None = None
    url: str | None = None


class ErrorView(View):
    code: str
    message: str
    retryable: bool = False
    unit: str | None = None


class JobView(View):
    """A job. Of many ``artifacts`` it has the first that were made; the client's ``artifacts`` gets all."""

    id: str
    operation: str
    state: str
    priority: str = "normal"
    progress: float = 0.0
    fps: float | None = None
    speed: float | None = None
    eta_s: float | None = None
    attempt: int = 1
    retry_of: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    params: dict[str, Any] = {}
    sources: tuple[str, ...] = ()
    artifacts: tuple[ArtifactView, ...] = ()
    artifact_count: int = 0
    result: dict[str, Any] | None = None
    cached: bool = False
    error: ErrorView | None = None
    warnings: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def source_name(self) -> str:
        """The first source's file name, and how many more there are."""
        more = f" (+{len(self.sources) - 1})" if len(self.sources) > 1 else ""
        return PurePath(self.sources[0]).name + more if self.sources else ""


class ArtifactPage(View):
    artifacts: tuple[ArtifactView, ...]
    next_cursor: str | None = None


class JobEvent(View):
    job_id: str
    epoch: str | int
    seq: int
    at: str | float | None = None
    type: str
    state: str
    progress: float = 0.0
    fps: float | None = None
    speed: float | None = None
    eta_s: float | None = None
    error: ErrorView | None = None

    @property
    def finished(self) -> bool:
        return self.state in TERMINAL_STATES


class JobPage(View):
    jobs: tuple[JobView, ...]
    next_cursor: str | None = None


class RowPage(View):
    rows: tuple[dict[str, Any], ...]
    next_cursor: str | None = None


class PlanView(View):
    operation: str
    units: tuple[dict[str, Any], ...] = ()
    explain: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how its answer is read.

    Each may be sent twice: it changes nothing, ends in the same state, or carries an idempotency key.
    ``accepts``: statuses beside 2xx that are answers, not errors.
    """

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    accepts: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Done(Generic[T]):
    value: T


class Patience:
    """How long to go on after failures in a row: delays double from 0.1 to 2 s until ``limit_s`` are over."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """Forget the failures: something worked."""
        self._since: float | None = None
        self._delay_s = _FIRST_DELAY_S

    def delay_s(self, asked_s: float = 0.0) -> float | None:
        """Seconds to wait before the next try, at least ``asked_s``; None: give up."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        delay = max(self._delay_s, asked_s)
        self._delay_s = min(self._delay_s * 2, _LONGEST_DELAY_S)
        return delay if now + delay - self._since <= self._limit_s else None


def settle(call: Call[T], answer: httpx.Response | httpx.TransportError, patience: Patience) -> Done[T] | float:
    """What an answer means: the value, or the seconds to wait before asking again.

    Raises:
        ServerUnreachableError: no answer, and patience is over.
        ProblemError: the server refused.
    """
    if isinstance(answer, httpx.TransportError):
        delay = patience.delay_s()
        if delay is None:
            reason = str(answer) or type(answer).__name__
            raise ServerUnreachableError(_origin(answer.request.url), reason) from answer
        return delay
    if answer.is_success or answer.status_code in call.accepts:
        return Done(_parsed(call, answer))
    if answer.status_code in _BUSY or (answer.status_code in _GATEWAY and not _is_problem(answer)):
        delay = patience.delay_s(_retry_after_s(answer))
        if delay is not None:
            return delay
    raise problem(answer.status_code, answer.content)


def problem(status: int, body: bytes | None) -> ProblemError:
    """The error that a problem document (RFC 9457) describes; other bodies have the code ``http_STATUS``."""
    try:
        told = json.loads(body or b"")
        code = str(told["code"])
        return ProblemError(status, code, str(told.get("detail") or told.get("title") or code))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ProblemError(status, f"http_{status}", f"The server answered with status {status}.")


class EventCursor:
    """Where a reader of a job's events stands."""

    def __init__(self) -> None:
        self._last: JobEvent | None = None

    @property
    def finished(self) -> bool:
        return self._last is not None and self._last.finished

    @property
    def since(self) -> str | None:
        return f"{self._last.epoch}:{self._last.seq}" if self._last else None

    def take(self, text: str | bytes) -> JobEvent | None:
        """The event, or None where it was seen before."""
        event = JobEvent.model_validate_json(text)
        last = self._last
        seen = last is not None and event.epoch == last.epoch and event.seq <= last.seq
        if seen and event.type != "snapshot" and not event.finished:
            return None
        self._last = event
        return event


def events_url(url: str, job_id: str, cursor: EventCursor) -> str:
    since = f"?since={quote(cursor.since)}" if cursor.since else ""
    return f"ws{url.removeprefix('http')}{PREFIX}/jobs/{quote(job_id, safe='')}/events{since}"


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(["/jobs", *(quote(part, safe="") for part in (job_id, *rest))])


def job_of(answer: httpx.Response) -> JobView:
    return JobView.model_validate_json(answer.content)


def submit(
    operation: str, sources: Sequence[str], params: Mapping[str, Any] | None, priority: str, key: str | None
) -> Call[JobView]:
    body = {
        "operation": operation,
        "sources": list(sources),
        "params": dict(params or {}),
        "priority": priority,
    }
    return Call("POST", "/jobs", job_of, body, headers={"Idempotency-Key": key or str(uuid.uuid4())})


def plan(operation: str, sources: Sequence[str], params: Mapping[str, Any] | None) -> Call[PlanView]:
    body = {"operation": operation, "sources": list(sources), "params": dict(params or {})}
    return Call("POST", "/plans", lambda answer: PlanView.model_validate_json(answer.content), body)


def get(job_id: str) -> Call[JobView]:
    return Call("GET", job_path(job_id), job_of)


def page(state: str | None, operation: str | None, limit: int, cursor: str | None) -> Call[JobPage]:
    given = {"state": state, "operation": operation, "limit": str(limit), "cursor": cursor}
    query = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/jobs", lambda answer: JobPage.model_validate_json(answer.content), query=query)


def control(job_id: str, action: str) -> Call[JobView]:
    """Cancel, pause, resume: asking twice changes nothing."""
    return Call("POST", job_path(job_id, action), job_of)


def retry(job_id: str, key: str | None) -> Call[JobView]:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return Call("POST", job_path(job_id, "retry"), job_of, headers=headers)


def set_priority(job_id: str, priority: str) -> Call[JobView]:
    return Call("PATCH", job_path(job_id), job_of, {"priority": priority})


def delete(job_id: str) -> Call[None]:
    return Call("DELETE", job_path(job_id), lambda _: None)


def artifacts(job_id: str, cursor: str) -> Call[ArtifactPage]:
    path = job_path(job_id, "artifacts")
    return Call("GET", path, lambda answer: ArtifactPage.model_validate(answer.json()), query={"cursor": cursor})


def artifact(job_id: str, name: str) -> Call[None]:
    """A file to be fetched: its bytes are what is wanted."""
    return Call("GET", job_path(job_id, "artifacts", name), lambda _: None)


def collection_path(name: str, *rest: str) -> str:
    return "/".join(["/collections", *(quote(part, safe="") for part in (name, *rest))])


def collection_rows(
    name: str, where: str | None, columns: str | None, order_by: str | None, limit: int, cursor: str
) -> Call[RowPage]:
    query = {**_asked(where, columns, order_by), "limit": str(limit), "cursor": cursor}
    path = collection_path(name, "files")
    return Call("GET", path, lambda answer: RowPage.model_validate_json(answer.content), query=query)


def collection_export(
    name: str, suffix: str, where: str | None, columns: str | None, order_by: str | None
) -> Call[None]:
    return Call("GET", collection_path(name, f"files{suffix}"), lambda _: None, query=_asked(where, columns, order_by))


def remove_collection(name: str) -> Call[None]:
    return Call("DELETE", collection_path(name), lambda _: None)


def watch_collection(name: str) -> Call[dict[str, Any]]:
    return Call("PUT", collection_path(name, "watch"), _object)


def unwatch_collection(name: str) -> Call[None]:
    return Call("DELETE", collection_path(name, "watch"), lambda _: None)


def _asked(where: str | None, columns: str | None, order_by: str | None) -> dict[str, str]:
    given = {"where": where, "columns": columns, "order_by": order_by}
    return {name: value for name, value in given.items() if value is not None}


def document(path: str, query: Mapping[str, str] | None = None) -> Call[dict[str, Any]]:
    return Call("GET", path, _object, query=query or {})


def purge_cache(source: str | None, operation: str | None, collection: str | None) -> Call[None]:
    given = {"source": source, "operation": operation, "collection": collection}
    query = {name: value for name, value in given.items() if value is not None}
    return Call("DELETE", "/cache", lambda _: None, query=query)


def listing(name: str) -> Call[list[dict[str, Any]]]:
    """``/operations``, ``/profiles`` or ``/collections``: a list, bare or under its name."""

    def rows(answer: httpx.Response) -> list[dict[str, Any]]:
        told = answer.json()
        return list(told[name] if isinstance(told, dict) else told)

    return Call("GET", f"/{name}", rows)


def health() -> Call[dict[str, Any]]:
    return Call("GET", "/health", _object, accepts=frozenset({503}))


def ready() -> Call[bool]:
    return Call("GET", "/health/ready", lambda answer: answer.is_success, accepts=_BUSY | _GATEWAY | {404})


def _object(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.json())


def _parsed(call: Call[T], answer: httpx.Response) -> T:
    try:
        return call.parse(answer)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        detail = f"The server's answer to {call.method} {call.path} can't be read: is it of another version?"
        raise ProblemError(answer.status_code, "answer_invalid", detail) from error


def _is_problem(answer: httpx.Response) -> bool:
    return str(answer.headers.get("Content-Type", "")).startswith("application/problem+json")


def _retry_after_s(answer: httpx.Response) -> float:
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "0")))
    except ValueError:  # a date: the back-off will do
        return 0.0


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"
