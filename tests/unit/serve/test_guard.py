import asyncio
from typing import Any

import pytest

from serve.guard import MAX_BODY_BYTES, Guard, accepted_hosts
from serve.signing import Signer

HOST = "127.0.0.1:8420"
TOKEN, SCRAPE_TOKEN = "right-token", "scrape-token"
SIGNER = Signer(lambda: ["key"])


def asked(*, path="/v1/jobs", kind="http", body=(b"",), **headers: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """What the guard sends, and what the app behind it saw: its owner, then the messages of the request."""
    given = {"host": HOST, "authorization": f"Bearer {TOKEN}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    scope = {
        "type": kind,
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in given.items() if v is not None],
    }
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    sent: list[dict[str, Any]] = []
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["owner"])
        seen.extend([(await receive())["type"] for _ in body])

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    hosts = accepted_hosts("127.0.0.1", 8420, ["proxy.example"])
    guard = Guard(app, token=TOKEN, hosts=hosts, signer=SIGNER, scrape_token=SCRAPE_TOKEN)
    asyncio.run(guard(scope, receive, send))
    return sent, seen


def status(**request: Any) -> int | None:
    """The status of the guard's refusal; None where it let the request through."""
    sent, seen = asked(**request)
    assert bool(sent) != bool(seen)
    return sent[0]["status"] if sent else None


def test_a_guard_without_a_token_is_refused():
    with pytest.raises(ValueError, match="everybody"):
        Guard(lambda *_: None, token="", hosts=[], signer=SIGNER)


def test_the_right_token_comes_in_and_has_an_owner():
    sent, seen = asked()
    assert (sent, seen[0]) == ([], "local")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff"]
)
def test_any_other_token_is_refused(given):
    assert status(authorization=given) == 401


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "[::1]:8420", "proxy.example"])
def test_names_of_this_server_are_answered(host):
    assert status(host=host) is None


@pytest.mark.parametrize("host", [None, "", "evil.example", "127.0.0.1", "127.0.0.1:80", "localhost:8420.evil.example"])
def test_other_host_names_are_refused_whatever_the_token(host):
    assert status(host=host) == 421


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8420", "http://localhost:8420"])
def test_our_own_pages_may_ask(origin):
    assert status(origin=origin) is None


@pytest.mark.parametrize("origin", ["null", "", "https://evil.example", "http://127.0.0.1:9999", "http://["])
def test_pages_of_other_origins_are_refused(origin):
    assert status(origin=origin) == 403


def test_liveness_needs_no_token_but_the_right_host():
    assert status(path="/v1/health/live", authorization=None) is None
    assert status(path="/v1/health/live", authorization=None, host="evil.example") == 421


def test_a_body_that_says_it_is_too_long_is_refused():
    assert status(content_length=str(MAX_BODY_BYTES)) is None
    assert status(content_length=str(MAX_BODY_BYTES + 1)) == 413


@pytest.mark.parametrize("length", ["many", "-5", "1e3"])
def test_a_length_that_is_no_number_is_refused(length):
    assert status(content_length=length) == 413


def test_a_body_that_hides_its_length_is_cut_off():
    _, seen = asked(body=(b"x" * MAX_BODY_BYTES, b"y"))
    assert seen[1:] == ["http.request", "http.disconnect"]


def test_a_web_socket_without_the_token_is_closed():
    sent, seen = asked(kind="websocket", authorization=None)
    assert (sent[0]["type"], sent[0]["code"], seen) == ("websocket.close", 1008, [])


def test_a_web_socket_of_a_foreign_page_is_closed_though_it_has_the_token():
    sent, _ = asked(kind="websocket", origin="https://evil.example")
    assert sent[0]["type"] == "websocket.close"


def test_the_scrape_token_reads_metrics_and_nothing_else():
    given = f"Bearer {SCRAPE_TOKEN}"
    assert status(path="/v1/metrics", authorization=given) is None
    assert status(path="/v1/jobs", authorization=given) == 401
    assert status(path="/v1/metrics", authorization=f"{given}x") == 401


def test_the_usual_token_reads_metrics_too():
    assert status(path="/v1/metrics") is None


def test_without_a_scrape_token_none_is_accepted():
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: Any) -> None:
        raise AssertionError("it came in")

    headers = [(b"host", HOST.encode()), (b"authorization", b"Bearer ")]
    guard = Guard(app, token=TOKEN, hosts=accepted_hosts("127.0.0.1", 8420, []), signer=SIGNER)
    asyncio.run(guard({"type": "http", "path": "/v1/metrics", "headers": headers}, send, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401
