"""Who may come in: every request carries the token, names this host, and comes from no foreign page."""

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problems import problem
from serve.signing import Signer, is_signed

OPEN_PATHS = frozenset({"/v1/health/live"})
PICTURES_PATH = "/v1/images"  # its links may be signed
METRICS_PATH = "/v1/metrics"  # may be read with the scrape token, which is good for nothing else
MAX_BODY_BYTES = 1 << 20
LOCAL_OWNER = "local"


class Guard:
    """ASGI middleware. Sets ``scope["state"]["owner"]`` to the key's owner."""

    def __init__(
        self, app: ASGIApp, *, token: str, hosts: Collection[str], signer: Signer, scrape_token: str | None = None
    ) -> None:
        if not token:
            raise ValueError("without a token everybody could come in")
        self._app = app
        self._signer = signer
        self._token = token.encode()
        self._scrape_token = scrape_token.encode() if scrape_token else None
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            scope.setdefault("state", {})["owner"] = LOCAL_OWNER
            await self._app(scope, _Counted(receive) if scope["type"] == "http" else receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[0]})
        else:
            await problem(*refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[str, str] | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return (
                "host_refused",
                "This server doesn't answer to that Host. Add it to MEDIARAY_ALLOWED_HOSTS.",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in self._hosts:
            return "origin_refused", "Requests from pages of other origins are refused."
        length = headers.get("content-length") or "0"
        if not length.isdecimal() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return "body_too_large", f"A request body is at most {MAX_BODY_BYTES} bytes."
        if scope["path"] in OPEN_PATHS:
            return None
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["path"] == PICTURES_PATH and scope.get("method") in ("GET", "HEAD") and is_signed(query):
            why = self._signer.refusal(scope["path"], query)
            return ("signature_refused", why) if why else None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._is_token(given.strip().encode(), scope["path"]):
            return (
                "unauthorized",
                "Send the header Authorization: Bearer TOKEN; the token is in MEDIARAY_HOME/token.",
            )
        return None

    def _is_token(self, given: bytes, path: str) -> bool:
        if path == METRICS_PATH and self._scrape_token and hmac.compare_digest(given, self._scrape_token):
            return True
        return hmac.compare_digest(given, self._token)


class _Counted:
    """A request's body, cut off where it is longer than allowed and didn't say so."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen = 0

    async def __call__(self) -> Message:
        message: Message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > MAX_BODY_BYTES:
                return {"type": "http.disconnect"}
        return message


def owner_of(request: HTTPConnection) -> str:
    """Whose request it is."""
    return str(request.scope["state"]["owner"])


def accepted_hosts(host: str, port: int, more: Collection[str]) -> frozenset[str]:
    """Host headers that mean this server: loopback by its usual names, and what the settings add."""
    names = {host, "localhost", "127.0.0.1", "[::1]"}
    return frozenset({f"{name}:{port}" for name in names} | set(more))
