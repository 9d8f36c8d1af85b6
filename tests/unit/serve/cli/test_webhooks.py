import json

import pytest
from typer.testing import CliRunner

from serve.cli.app import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["webhooks", *arguments])


def delivery(number: int, state: str, **changes) -> dict:
    told = {"id": f"msg_{number}:ab12", "type": "job.failed", "host": "hooks.example.com", "state": state}
    return {**told, "attempts": 1, "answer": "500", "tried_at": "2026-05-01T12:00:00.000Z", **changes}


def test_what_waits_and_what_was_given_up_is_listed(server):
    server.deliveries = [delivery(1, "failed"), delivery(2, "pending"), delivery(3, "delivered")]
    shown = run("list").stdout
    assert "ab12  hooks.example.com  said that it is gone" in shown
    assert ("msg_1:ab12" in shown, "msg_2:ab12" in shown, "msg_3:ab12" in shown) == (True, True, False)
    assert [each["id"] for each in json.loads(run("list", "--state", "delivered", "--json").stdout)["deliveries"]] == [
        "msg_3:ab12"
    ]


def test_messages_are_sent_again(server):
    server.deliveries = [delivery(1, "failed")]
    assert json.loads(run("resend", "msg_1:ab12", "--json").stdout)["deliveries"][0]["state"] == "pending"
    assert run("resend", "msg_9:ab12").exit_code == 1


@pytest.mark.parametrize(("state", "code"), [("delivered", 0), ("failed", 1), ("pending", 1)])
def test_a_test_tells_what_came_of_it(server, state, code):
    server.deliveries = [delivery(7, state)]
    result = run("test")
    assert (result.exit_code, "msg_7:ab12" in result.stdout) == (code, True)
