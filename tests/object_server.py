"""S3 on loopback, by moto, for tests: it counts what it sends, and misbehaves when it is told to."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx

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
_Answer = Iterable[bytes]
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass
class ObjectServer:
    """``throttled``: so many requests are answered with 503; ``cut``: so many bodies end half-way; ``denied``: all 403.

    ``held``: what is called before a part of an upload is answered.
    """

    url: str
    sent_bytes: int = 0
    throttled: int = 0
    cut: int = 0
    denied: bool = False
    held: Callable[[], None] | None = None
    requests: list[str] = field(default_factory=list)

    def put(self, key: str, content: bytes | Path) -> str:
        """An object, and its URI."""
        body = content.read_bytes() if isinstance(content, Path) else content
        httpx.put(f"{self.url}/{BUCKET}/{key}", content=body, headers=_SIGNED, timeout=60).raise_for_status()
        return f"s3://{BUCKET}/{key}"

    def get(self, key: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{BUCKET}/{key}", headers=_SIGNED, timeout=60)

    def empty(self) -> None:
        """As it was at first, and behaving."""
        self.throttled, self.cut, self.denied, self.held = 0, 0, False, None
        self.requests.clear()
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()
        httpx.put(f"{self.url}/{BUCKET}", headers=_SIGNED).raise_for_status()

    def keys(self, prefix: str = "") -> list[str]:
        answer = httpx.get(f"{self.url}/{BUCKET}", params={"list-type": "2", "prefix": prefix}, headers=_SIGNED)
        answer.raise_for_status()
        tree = ElementTree.fromstring(answer.content)
        return [each.text or "" for each in tree.iter(f"{_NAMESPACE}Key")]

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """How many bytes have been sent since."""
        before = self.sent_bytes
        yield lambda: self.sent_bytes - before


class _Edge:
    """Before moto's application: counts and misbehaves, but not for the tests' own client."""

    def __init__(self, server: ObjectServer) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app  # takes a second

        self._server = server
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()  # moto's store isn't made for several threads

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> _Answer:
        server = self._server
        if "httpx" in environment.get("HTTP_USER_AGENT", ""):
            return self._answer(environment, start)
        server.requests.append(f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']}")
        if server.denied:
            return _error(start, "403 Forbidden", "AccessDenied")
        if server.throttled:
            server.throttled -= 1
            return _error(start, "503 Slow Down", "SlowDown")
        if server.held and "partNumber" in environment["QUERY_STRING"]:
            server.held()
        body = b"".join(self._answer(environment, start))
        if environment["REQUEST_METHOD"] == "GET":
            if server.cut and len(body) > 1:
                server.cut -= 1
                return [body[: len(body) // 2]]
            server.sent_bytes += len(body)
        return [body]

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> _Answer:
        with self._lock:
            return list(self._app(environment, start))


def _error(start: Callable[..., Any], status: str, code: str) -> _Answer:
    start(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()]


@contextlib.contextmanager
def object_server() -> Iterator[ObjectServer]:
    """A running server with an empty bucket. There is one store in a process: another's objects are gone."""
    from werkzeug.serving import make_server

    running = ObjectServer("")
    served = make_server("127.0.0.1", 0, _Edge(running), threaded=True)  # type: ignore[arg-type]
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
