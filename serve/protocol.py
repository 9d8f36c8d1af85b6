"""How the client and the server talk: what an answer means, when to try again, where a reader of events stands.

`serve.client` sends and receives, blocking or not; everything else that it needs to know is here and in `serve.calls`.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from serve.answers import JobEvent

T = TypeVar("T")

PREFIX = "/v1"
BUSY = frozenset({429, 503})  # refused before anything was done
GATEWAY = frozenset({502, 504})  # where a proxy says so; the server itself means the media process by it
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
    if answer.status_code in BUSY or (answer.status_code in GATEWAY and not _is_problem(answer)):
        delay = patience.delay_s(_retry_after_s(answer))
        if delay is not None:
            return delay
    raise problem(answer.status_code, answer.content)


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
