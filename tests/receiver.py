"""A receiver of webhooks: real HTTP on loopback, which answers as a test tells it to."""

import contextlib
import queue
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Message:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """What it says. Raises WebhookVerificationError where it isn't signed with that."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """``answers`` are given in turn, then 204. ``hold``, cleared: no answer is given until it's set."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of each answer
    endless: bool = False  # an answer's body never ends
    hold: threading.Event = field(default_factory=threading.Event)
    got: "queue.Queue[Message]" = field(default_factory=queue.Queue)

    def next(self) -> Message:
        """Wait for the next message."""
        return self.got.get(timeout=30)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.got.put(Message(handler.path, headers, body))
        self.hold.wait(60)
        with contextlib.suppress(OSError):  # whoever asked doesn't listen any more
            handler.send_response(self.answers.pop(0) if self.answers else 204)
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            while self.endless:
                handler.wfile.write(b"more and more" * 1000)


@contextlib.contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    running = Receiver()
    running.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.take(self)

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None: ...  # a client that refuses the certificate

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        running.url = f"http{'s' if tls else ''}://localhost:{server.server_port}/hook?key=secret"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.hold.set()
            running.endless = False
            server.shutdown()
            thread.join()
