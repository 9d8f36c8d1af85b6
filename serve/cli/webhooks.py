"""``mediaray webhooks``: what became of messages, sending some again, and a test."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import typer

from serve.cli.failures import FAILED, reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place

_LOOK_S = 0.2
_TEST_LIMIT_S = 30.0
_STATES = ("pending", "failed")
StateName = Literal["pending", "failed", "delivered"]

app = typer.Typer(help="See what webhooks were told, tell it again, try them.", no_args_is_help=True)


@app.command("list")
@reported
def list_deliveries(
    state: Annotated[StateName | None, typer.Option(help="Only these; by default pending and failed ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many in each state.")] = 20,
    json_output: Json = False,
) -> None:
    """List webhooks, and messages that wait, were given up or were taken, the newest first."""
    with Place.here().client() as client:
        told = client.webhooks()
        asked = (state,) if state else _STATES
        found = [each for one in asked for each in itertools.islice(client.deliveries(one, min(limit, 100)), limit)]
    if json_output:
        print_json({**told, "deliveries": found, "counts": told["deliveries"]})
        return
    screen = Screen()
    for endpoint in told["endpoints"]:
        screen.say(f"{endpoint['id']}  {endpoint['host']}{_since(endpoint)}")
    screen.say(", ".join(f"{count} {name}" for name, count in told["deliveries"].items()))
    if found:
        _show(screen, found)


@app.command()
@reported
def resend(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Deliveries: see mediaray webhooks list.")],
    json_output: Json = False,
) -> None:
    """Send messages again, also to a webhook that said it is gone."""
    with Place.here().client() as client:
        found = [client.resend(each) for each in ids]
    if json_output:
        print_json({"deliveries": found})
    else:
        _show(Screen(), found)


@app.command("test")
@reported
def send_test(json_output: Json = False) -> None:
    """Send a test to each webhook, and say what it answers. One that takes it gets messages again."""
    with Place.here().client() as client:
        sent = {each["id"]: each for each in client.test_webhooks()}
        found = _tried(sent, lambda: itertools.chain(*(client.deliveries(one) for one in (*_STATES, "delivered"))))
    if json_output:
        print_json({"deliveries": found})
    else:
        _show(Screen(), found)
    if any(each["state"] != "delivered" for each in found):
        raise typer.Exit(FAILED)


def _tried(
    sent: Mapping[str, dict[str, Any]], deliveries: Callable[[], Iterable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The deliveries when each was tried once, or as they are after half a minute."""
    deadline = time.monotonic() + _TEST_LIMIT_S
    while True:
        known = {each["id"]: each for each in deliveries() if each["id"] in sent}
        if all(known.get(each, {}).get("tried_at") for each in sent) or time.monotonic() > deadline:
            return [known.get(each, sent[each]) for each in sent]
        time.sleep(_LOOK_S)


def _since(endpoint: Mapping[str, Any]) -> str:
    return f"  said that it is gone, {endpoint['disabled_at']}" if endpoint["disabled_at"] else ""


def _show(screen: Screen, deliveries: Iterable[Mapping[str, Any]]) -> None:
    screen.table(
        ("ID", "TYPE", "HOST", "STATE", "TRIES", "ANSWER"),
        [
            (
                *(each["id"], each["type"], each["host"] or "", each["state"]),
                *(str(each["attempts"]), each["answer"] or ""),
            )
            for each in deliveries
        ],
    )
