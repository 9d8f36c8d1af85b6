import json
import socket

import pytest
from object_server import BUCKET
from typer.testing import CliRunner

from cluster.object_checks import granted_objects_check
from cluster.settings import Settings
from serve.cli import checks, service_checks
from serve.cli.app import app


def test_doctor_needs_no_server_and_tells_every_check(home):
    told = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    names = {check["name"] for check in told["checks"]}
    assert {
        "platform",
        "encoders",
        "redis",
        "sandbox",
        "shared memory",
        "port",
        "listening",
        "disk",
        "object storage",
    } <= names


def test_doctor_tells_each_check_whole(home):
    told = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert {frozenset(check) for check in told["checks"]} == {frozenset({"name", "status", "found", "advice"})}


def test_encoders_work_here():
    found = {check.name: check for check in service_checks._encoders()}
    assert found["encoders"].status == "ok"
    assert "libx264" in found["encoders"].found


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_fails(home, taken_port):
    assert service_checks._port(Settings(home=home.path, port=taken_port), home).status == "fail"


def test_a_taken_port_may_be_what_a_killed_server_left_on_a_ray_that_runs(home, taken_port):
    found = service_checks._port(Settings(home=home.path, port=taken_port, ray_address="127.0.0.1:6379"), home)
    assert found.status == "warn"
    assert "killed server" in found.advice


def test_a_port_beyond_loopback_is_named(home):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        home.announce(url="http://127.0.0.1:1")
        found = service_checks._listening(home)
        assert f"0.0.0.0:{listener.getsockname()[1]}" in found.found
    assert found.status == "warn"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::", False), ("0.0.0.0", False)],
)
def test_loopback_is_told_from_the_rest(address, expected):
    assert service_checks.is_loopback(address) is expected


def test_a_redis_that_doesn_t_answer_fails(home):
    settings = Settings(home=home.path, redis_url="redis://127.0.0.1:1", cache_url="redis://127.0.0.1:1")
    assert [(each.name, each.status) for each in service_checks._redis(settings)] == [
        ("store", "fail"),
        ("cache", "fail"),
    ]


def test_a_redis_of_the_server_s_own_is_looked_for_where_a_url_is_missing(home, private_redis):
    found = {each.name: each for each in service_checks._redis(Settings(home=home.path, cache_url=private_redis))}
    assert set(found) == {"redis", "cache"}
    assert found["cache"].status != "fail"


def test_object_storage_is_asked_for_the_roots_that_name_it(home, s3):
    settings = Settings(home=home.path, roots=(f"s3://{BUCKET}/films",), s3_endpoint=s3.url)
    assert granted_objects_check(settings).found == f"reached: s3://{BUCKET}/films"


def test_machine_checks_find_something_each(home):
    assert all(check.found for check in checks.machine_checks(home))


def test_roots_that_are_not_there_are_told(tmp_path):
    there, missing = str(tmp_path), str(tmp_path / "nope")
    found = service_checks._roots(Settings(roots=(there, missing, "s3://films"), output_roots=(missing,)))
    assert (found.status, found.found) == ("warn", f"no such folder: {missing}")
    assert service_checks._roots(Settings(roots=(there,))).status == "ok"
