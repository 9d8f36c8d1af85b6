"""``mediaray capacity`` and ``mediaray health``, before a fake of the server."""

import json

import pytest
from typer.testing import CliRunner

from serve.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_capacity_is_one_document(server):
    told = json.loads(run("capacity", "--json").stdout)
    assert (told["backlog"]["cpu_s"], told["more_nodes"][0]["nodes"]) == (7200.0, 1)


def test_capacity_shows_what_is_to_be_done_when_it_is_and_what_more_nodes_change(server):
    shown = run("capacity", "--nodes", "3").stdout
    assert "All of it takes 1 h 0 min" in shown
    assert "what CPUs there are" in shown
    assert "shrink" in shown
    assert "+3" in shown


@pytest.mark.parametrize(
    ("backlog", "told"),
    [
        ({"jobs": 0, "operations": []}, "Nothing is to be done."),
        ({"paused_jobs": 2}, "2 more are paused."),
        ({"unknown_jobs": 1}, "at least"),
        ({"bound": "longest_unit"}, "can't be cut"),
        ({"eta_s": None, "done_at": None, "bound": "no_cpus"}, "No node is there to do it"),
    ],
)
def test_what_stands_against_it_is_said(server, backlog, told):
    server.backlog = backlog
    assert told in run("capacity").stdout


@pytest.mark.parametrize("nodes", ["0", "1001", "many"])
def test_what_is_no_number_of_nodes_is_wrong_usage(home, nodes):
    assert run("capacity", "--nodes", nodes).exit_code == 2


@pytest.mark.parametrize("command", ["capacity", "health"])
def test_without_a_server_exit_3(home, command):
    assert run(command).exit_code == 3


def looked(status: str, advice: str = "") -> dict[str, object]:
    row = {"name": "clocks", "status": status, "found": "1.7 s apart", "advice": advice}
    return {"version": "1", "depends_on": [row]}


@pytest.mark.parametrize(("status", "exit_code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_health_fails_where_something_does(server, status, exit_code):
    server.told = looked(status, "Have each node keep time by NTP.")
    result = run("health")
    assert result.exit_code == exit_code
    assert "1.7 s apart" in result.stdout
    assert "clocks: Have each node keep time by NTP." in result.stdout
    assert run("health", "--json").exit_code == exit_code


@pytest.mark.parametrize("name", ["MEDIARAY_ROOTS", "MEDIARAY_ALLOWED_HOSTS"])
def test_a_list_that_is_no_json_is_a_wrong_setting(home, monkeypatch, name):
    monkeypatch.setenv(name, "/films/hunter2")
    result = run("jobs", "list", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "settings_invalid"
    assert f"{name}: write it as a list in JSON" in error["message"]
    assert "hunter2" not in result.stdout


def test_a_variable_that_is_no_setting_is_told_by_doctor_and_before_a_start(home, monkeypatch):
    monkeypatch.setenv("MEDIARAY_ROOT", "/films")
    rows = {check["name"]: check for check in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert (rows["settings"]["status"], "MEDIARAY_ROOTS" in rows["settings"]["found"]) == ("warn", True)
    result = run("node", "--join", "no-address")
    assert "Did you mean MEDIARAY_ROOTS?" in result.stderr
