"""One message on its way: signed as Standard Webhooks says, to where it may go, and nowhere else."""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import httpx
from standardwebhooks import Webhook

from cluster.webhook_urls import is_public

LIMIT_S = 15.0  # of an attempt, whatever it waits for
_ADDRESSES = 3  # of a name, that are tried


@dataclass(frozen=True)
class Answer:
    """What came: a status, or of an attempt without one ``why``: timeout, unreachable, address_refused."""

    status: int | None = None
    why: str = ""
    retry_after_s: float = 0.0

    def __str__(self) -> str:
        return self.why or str(self.status)

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


class Sender:
    """Sends messages. Redirects aren't followed, answers aren't read beyond their headers, no proxy is used."""

    def __init__(self, *, limit_s: float = LIMIT_S, tls: ssl.SSLContext | None = None) -> None:
        self._limit_s = limit_s
        self._http = httpx.AsyncClient(
            headers={"User-Agent": f"mediaray/{version('mediaray')}"},
            verify=tls or httpx.create_ssl_context(),
            timeout=2 * limit_s,  # the attempt as a whole has a shorter one, which this one must not meet
            follow_redirects=False,
            trust_env=False,
            # A connection that is kept would be taken for another name at the same address, whose certificate nobody
            # has looked at. Those at once are as many as attempts: none waits until another one's receiver answers.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, url: str, message: str, body: str, secrets: Sequence[str], *, public_only: bool) -> Answer:
        """Try once. ``public_only``: not to an address of this machine or of a private network."""
        headers = {"Content-Type": "application/json", **signed(message, body, secrets)}
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._send(httpx.URL(url), headers, body.encode(), public_only)
        except (TimeoutError, httpx.TimeoutException):
            return Answer(why="timeout")
        except (OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError):
            return Answer(why="unreachable")

    async def _send(self, url: httpx.URL, headers: Mapping[str, str], body: bytes, public_only: bool) -> Answer:
        if not public_only:
            return await self._post(url, headers, body, {})
        found = await _addresses(url)
        if not all(map(is_public, found)):
            return Answer(why="address_refused")
        # To the address that was looked at: asked again, the name could have another one.
        headers = {**headers, "Host": url.netloc.decode("ascii")}
        for address in found[:-1]:
            try:
                return await self._post(url.copy_with(host=address), headers, body, {"sni_hostname": url.host})
            except httpx.ConnectError:
                continue
        return await self._post(url.copy_with(host=found[-1]), headers, body, {"sni_hostname": url.host})

    async def _post(
        self, url: httpx.URL, headers: Mapping[str, str], body: bytes, extensions: Mapping[str, str]
    ) -> Answer:
        async with self._http.stream("POST", url, headers=headers, content=body, extensions=dict(extensions)) as answer:
            return Answer(answer.status_code, retry_after_s=_retry_after_s(answer.headers.get("Retry-After", "")))


def signed(message: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers; a signature by each secret, so that receivers may change theirs one after the other."""
    at = int(time.time())
    signatures = [Webhook(secret).sign(message, datetime.fromtimestamp(at, UTC), body) for secret in secrets]
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}


async def _addresses(url: httpx.URL) -> list[str]:
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))[:_ADDRESSES]


def _retry_after_s(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0  # a date: the schedule will do
