import json
from importlib.metadata import version

import pytest

from cluster.errors import StartupError
from cluster.node import NodeSpec, check_node, node_command, node_environment
from cluster.settings import Settings

JOINS = NodeSpec("10.0.0.5:6379", head=False)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 32)
    monkeypatch.setattr("cluster.node.usable_cpus", lambda: 4)
    return Settings(home=tmp_path, cpus=3)


@pytest.mark.parametrize("address", ["10.0.0.5:6379", "head.example:1", "[fd00::1]:65535"])
def test_an_address_is_taken(settings, address):
    check_node(NodeSpec(address, head=False), settings)


@pytest.mark.parametrize(
    "address", ["", "auto", "10.0.0.5", "10.0.0.5:0", "10.0.0.5:65536", "--head:1", "a b:1", "a:1\n"]
)
def test_what_is_no_address_is_refused(settings, address):
    with pytest.raises(StartupError, match="no address of a head"):
        check_node(NodeSpec(address, head=False), settings)


def test_a_node_without_the_cluster_s_token_is_refused(settings, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(settings.home / "missing"))
    with pytest.raises(StartupError, match="RAY_AUTH_TOKEN_PATH"):
        check_node(JOINS, settings)


@pytest.mark.parametrize("head", [False, True])
def test_a_node_of_another_version_than_the_server_s_is_refused(settings, head):
    run = settings.home / "run"
    run.mkdir()
    (run / "server.json").write_text('{"pid": 1, "version": "0.0.1"}')
    spec = NodeSpec("10.0.0.5:6379", head=head)
    if head:  # it is there before its server
        check_node(spec, settings)
        return
    with pytest.raises(StartupError, match=r"is mediaray 0\.0\.1, and this machine has .* Install the same version"):
        check_node(spec, settings)


@pytest.mark.parametrize("record", [None, "{", "[]", '{"pid": 1}', json.dumps({"version": version("mediaray")})])
def test_a_node_joins_a_server_of_its_own_version_or_before_there_is_one(settings, record):
    (settings.home / "run").mkdir()
    if record is not None:
        (settings.home / "run" / "server.json").write_text(record)
    check_node(JOINS, settings)


def test_a_node_without_the_shared_home_is_refused(settings):
    elsewhere = settings.model_copy(update={"home": settings.home / "missing"})
    with pytest.raises(StartupError, match="MEDIARAY_HOME has to be the server's"):
        check_node(JOINS, elsewhere)


def test_a_node_that_would_give_more_cpus_than_there_are_is_refused(settings):
    with pytest.raises(StartupError, match="has 4 CPUs for work, not 5"):
        check_node(JOINS, settings.model_copy(update={"cpus": 5}))


def test_a_node_that_works_is_given_time_to_finish_and_a_head_is_not():
    waits = [node_environment(NodeSpec("0:1", head=head))["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] for head in (0, 1)]
    assert waits == ["50", "0"]


def test_a_node_has_the_cpus_of_the_settings_and_a_head_has_none(settings):
    assert "--num-cpus=3" in node_command(JOINS, settings)
    assert {"--head", "--num-cpus=0", "--port=6379"} <= set(node_command(NodeSpec("0:6379", head=True), settings))


def test_others_reach_a_node_at_the_address_that_is_given(settings):
    assert "--node-ip-address=10.0.0.7" in node_command(NodeSpec("10.0.0.5:6379", head=False, ip="10.0.0.7"), settings)


@pytest.mark.parametrize(
    ("port", "arguments"),
    [
        (None, ["--include-dashboard=false"]),
        (8265, ["--include-dashboard=true", "--dashboard-host=127.0.0.1", "--dashboard-port=8265"]),
    ],
)
def test_a_head_takes_jobs_of_ray_s_only_where_asked_to_and_on_loopback(settings, port, arguments):
    command = node_command(NodeSpec("0:6379", head=True, dashboard_port=port), settings)
    assert [each for each in command if "dashboard" in each and "agent" not in each] == arguments


def test_a_head_asks_ray_s_redis_with_its_password(settings, monkeypatch):
    monkeypatch.setenv("RAY_REDIS_PASSWORD", "secret")
    given = ["--redis-password=secret" in node_command(NodeSpec("0:1", head=head), settings) for head in (True, False)]
    assert given == [True, False]
