"""Object stores on loopback, for tests: they count what they send, and misbehave when they are told to.

S3 is moto. There is none like it for the others: ``gcs_server`` and ``azure_server`` speak as much as Arrow asks.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import httpx

from cluster.stores import StoreAddresses

BUCKET = "films"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
# Moto looks at no signature, but whether there is one.
_SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host"}
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
Environment = dict[str, Any]
Application = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]


@dataclass
class ObjectServer:
    """``throttled``: so many requests are answered with 503; ``cut``: so many bodies end half-way; ``denied``: all 403.

    ``held``: what is called before a part of an upload is answered.
    """

    url: str = ""
    sent_bytes: int = 0
    throttled: int = 0
    cut: int = 0
    denied: bool = False
    held: Callable[[], None] | None = None
    requests: list[str] = field(default_factory=list)
    scheme: ClassVar[str] = "s3"
    environment: ClassVar[Mapping[str, str]] = ENVIRONMENT

    @property
    def addresses(self) -> StoreAddresses:
        return StoreAddresses(s3_endpoint=self.url)

    @property
    def settings(self) -> dict[str, str]:
        """Of a server that uses it."""
        told = self.addresses.model_dump(exclude_defaults=True)
        return {f"MEDIARAY_{name.upper()}": str(value) for name, value in told.items()}

    def uri(self, key: str = "") -> str:
        return f"{self.scheme}://{BUCKET}/{key}".rstrip("/")

    def put(self, key: str, content: bytes | Path) -> str:
        """An object, and its URI."""
        self._put(key, content.read_bytes() if isinstance(content, Path) else content)
        return self.uri(key)

    def empty(self) -> None:
        """As it was at first, and behaving."""
        self.throttled, self.cut, self.denied, self.held = 0, 0, False, None
        self.requests.clear()
        self._empty()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """How many bytes have been sent since."""
        before = self.sent_bytes
        yield lambda: self.sent_bytes - before

    def application(self) -> Application:
        from moto.server import DomainDispatcherApplication, create_backend_app  # takes a second

        return DomainDispatcherApplication(create_backend_app)

    def is_part(self, environment: Environment) -> bool:
        """Whether a request brings a part of an upload."""
        return "partNumber" in environment["QUERY_STRING"]

    def refusal(self, denied: bool) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and body: it is denied, or not now."""
        status, code = ("403 Forbidden", "AccessDenied") if denied else ("503 Slow Down", "SlowDown")
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        return status, [("Content-Type", "application/xml")], body

    def get(self, key: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{BUCKET}/{key}", headers=_SIGNED, timeout=60)

    def keys(self, prefix: str = "") -> list[str]:
        answer = httpx.get(f"{self.url}/{BUCKET}", params={"list-type": "2", "prefix": prefix}, headers=_SIGNED)
        answer.raise_for_status()
        tree = ElementTree.fromstring(answer.content)
        return [each.text or "" for each in tree.iter(f"{_NAMESPACE}Key")]

    def _put(self, key: str, body: bytes) -> None:
        httpx.put(f"{self.url}/{BUCKET}/{key}", content=body, headers=_SIGNED, timeout=60).raise_for_status()

    def _empty(self) -> None:
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()
        httpx.put(f"{self.url}/{BUCKET}", headers=_SIGNED).raise_for_status()


class _Edge:
    """Before a store's application: counts and misbehaves, but not for the tests' own client."""

    def __init__(self, server: ObjectServer) -> None:
        self._server = server
        self._app = server.application()
        self._lock = threading.Lock()  # the stores aren't made for several threads

    def __call__(self, environment: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        server = self._server
        if "httpx" in environment.get("HTTP_USER_AGENT", ""):
            return self._answer(environment, start)
        server.requests.append(f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']}")
        if server.denied or server.throttled:
            server.throttled -= not server.denied
            status, headers, body = server.refusal(server.denied)
            start(status, headers)
            return [body]
        if server.held and server.is_part(environment):
            server.held()
        body = b"".join(self._answer(environment, start))
        if environment["REQUEST_METHOD"] == "GET":
            if server.cut and len(body) > 1:
                server.cut -= 1
                return [body[: len(body) // 2]]
            server.sent_bytes += len(body)
        return [body]

    def _answer(self, environment: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            return list(self._app(environment, start))


@contextlib.contextmanager
def object_server(running: ObjectServer | None = None) -> Iterator[ObjectServer]:
    """A running server with an empty bucket. There is one S3 in a process: another's objects are gone."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        def handle_expect_100(self) -> bool:
            """Werkzeug says 100 Continue itself; the second one Azure's library takes for the answer."""
            return True

    running = running or ObjectServer()
    edge: Any = _Edge(running)
    served = make_server("127.0.0.1", 0, edge, threaded=True, request_handler=Handler)
    running.url = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(target=served.serve_forever, name="object-server", daemon=True)
    thread.start()
    try:
        running.empty()
        yield running
    finally:
        served.shutdown()
        thread.join()
        served.server_close()
