"""What is made of what nodes and backups tell; and how it is told by HTTP and by the command."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from object_server import BUCKET

from cluster.checks import Check
from cluster.node_facts import DiskFacts, NodeFacts, node_facts
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from serve.deep_health import (
    DeepHealth,
    backup_check,
    clocks_check,
    disks_check,
    nodes_check,
    sandbox_check,
    settings_check,
    versions_check,
)
from serve.looks import Looks
from serve.nodes import NodeAnswer
from serve.views import BackupHealth

GB = 10**9
ROOMY = DiskFacts("home", "/home", 100 * GB, 50 * GB)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def node(name: str, ahead_s: float = 0.0, unsure_s: float = 0.01, **changes) -> NodeAnswer:
    facts = {"host": name, "mediaray": "1.0", "ray": "2.60.0", "python": "3.11.9", "at_s": 0.0, "disks": (ROOMY,)}
    return NodeAnswer(name, NodeFacts(**{**facts, **changes}), ahead_s, unsure_s)


def test_a_whole_box_is_well_and_what_a_node_lacks_of_it_is_told():
    assert sandbox_check([node("a"), SILENT]).status == "ok"
    found = sandbox_check([node("a"), node("old", lacks=("landlock", "seccomp"))])
    assert (found.status, found.found) == ("warn", "old lacks landlock, seccomp")
    assert "docs/security.md" in found.advice


SILENT = NodeAnswer("c", silent="no answer in 3 s")
RESTING = NodeAnswer("d", silent="it rests", resting=True)


def test_nodes_that_are_well_are_counted():
    found = nodes_check([node("a"), node("b"), RESTING], 2)
    assert (found.status, found.found) == ("ok", "3 alive, 1 of them at rest, 2 gone since Ray's start")


def test_a_node_that_doesn_t_answer_is_named():
    found = nodes_check([node("a"), SILENT], 0)
    assert (found.status, "c: no answer in 3 s" in found.found) == ("warn", True)


def test_the_same_versions_everywhere_are_well():
    assert versions_check([node("a"), node("b"), SILENT]).status == "ok"


@pytest.mark.parametrize("other", [{"mediaray": "1.1"}, {"ray": "2.61.0"}, {"python": "3.12.1"}])
def test_another_version_fails_and_names_the_node(other):
    found = versions_check([node("a"), node("b"), node("old", **other)])
    assert found.status == "fail"
    assert "on old" in found.found
    assert next(iter(other.values())) in found.found


def test_clocks_a_second_apart_are_told():
    found = clocks_check([node("a"), node("b", 1.5), node("c", -0.2)])
    assert (found.status, found.found) == ("warn", "b is 1.7 s ahead of c")


@pytest.mark.parametrize("others", [[node("b", 0.9)], [node("b", 3.0, unsure_s=2.5)], [SILENT, RESTING], []])
def test_clocks_that_may_be_the_same_are_well(others):
    assert clocks_check([node("a"), *others]).status == "ok"


@pytest.mark.parametrize(("free", "status"), [(11, "ok"), (9, "warn"), (1, "fail"), (0, "fail")])
def test_a_disk_that_fills_is_told_with_its_node(free, status):
    scratch = DiskFacts("scratch", "/fast", 100 * GB, free * GB)
    found = disks_check([node("a"), node("b", disks=(ROOMY, scratch))])
    assert (found.status, "b: " in found.found) == (status, True)
    assert "/fast (scratch)" in found.found


def test_a_disk_that_can_t_be_reached_fails():
    found = disks_check([node("a", disks=(DiskFacts("scratch", "/gone", 0, 0),))])
    assert (found.status, found.found) == ("fail", "a: /gone (scratch) can't be reached")


def backed_up(state: str, age_h: float | None = 1.0, error: str | None = None) -> BackupHealth:
    at = None if age_h is None else (NOW - timedelta(hours=age_h)).isoformat()
    return BackupHealth(
        state=state, folder="/backups", every_h=24, last=None, last_at=at, last_size_bytes=None, error=error
    )


@pytest.mark.parametrize(
    ("backup", "status", "told"),
    [
        (None, "warn", "none are made"),
        (backed_up("waiting", None), "ok", "none yet"),
        (backed_up("ok"), "ok", "1.0 h old"),
        (backed_up("overdue", 60), "fail", "2.5 days old"),
        (backed_up("failed", 1, "No space left."), "fail", "No space left."),
    ],
)
def test_the_age_of_the_last_backup_is_told(backup, status, told):
    found = backup_check(backup, NOW)
    assert (found.status, told in found.found) == (status, True)
    assert bool(found.advice) == (status != "ok")


def test_variables_that_are_no_settings_are_told():
    assert settings_check([]).status == "ok"
    assert settings_check(["MEDIARAY_ROOT is no setting."]).status == "warn"


def test_this_machine_tells_its_own(tmp_path):
    (tmp_path / "scratch").mkdir()
    facts = node_facts(tmp_path)
    assert disks_check([NodeAnswer("here", facts)]).found
    assert sum("home" in disk.of for disk in facts.disks) == 1
    assert versions_check([NodeAnswer("here", facts)]).found.startswith("mediaray ")


def test_a_folder_that_is_gone_has_a_disk_of_no_size(tmp_path):
    facts = node_facts(tmp_path / "gone")
    assert [disk.total_bytes for disk in facts.disks if "home" in disk.of] == [0]


def test_all_of_it_is_looked_at_though_some_of_it_is_away(private_redis, tmp_path):
    async def ask(_looks):
        return [node("a"), SILENT], 0

    urls = RedisUrls(f"unix://{tmp_path}/none.sock", private_redis)
    looked = asyncio.run(DeepHealth(Settings(home=tmp_path), urls, ask).checks())
    found = {each.name: each.status for each in looked}
    assert found.pop("store") == "fail"
    assert set(found) == {
        *("cache", "ray tables", "nodes", "versions", "clocks", "disks", "sandbox", "object storage"),
        *("backup", "settings"),
    }
    assert all(each.advice for each in looked if each.status != "ok")


def test_what_hangs_costs_one_thread_however_often_it_is_looked_at():
    free, started, looks, begun = threading.Event(), threading.Event(), Looks(), []

    def hang() -> str:
        begun.append(1)
        started.set()
        free.wait()
        return "back"

    async def look() -> None:
        for _ in range(40):
            with pytest.raises(TimeoutError):
                await looks.look("disks", 0.0, hang)
        assert await looks.look("store", 60.0, lambda: "well") == "well"
        await asyncio.to_thread(started.wait)
        assert len(begun) == 1
        free.set()
        assert await looks.look("disks", 60.0, hang) == "back"

    asyncio.run(look())


def test_nodes_of_which_ray_tells_nothing_hold_up_nothing_else(private_redis, tmp_path, monkeypatch):
    async def ask(_looks):
        await asyncio.Event().wait()

    monkeypatch.setattr("serve.deep_health._LIMIT_S", 0.5)
    looked = asyncio.run(DeepHealth(Settings(home=tmp_path), RedisUrls(private_redis, private_redis), ask).checks())
    found = {each.name: each.status for each in looked}
    assert found.pop("nodes") == "fail"
    assert {"store", "cache", "backup"} <= set(found)


def test_object_storage_is_asked_with_the_server_s_credentials(s3, private_redis, tmp_path):
    async def ask(_looks):
        return [], 0

    root = f"s3://{BUCKET}/films"
    settings = Settings(home=tmp_path, roots=(root,), output_roots=(root,), s3_endpoint=s3.url)
    urls = RedisUrls(private_redis, private_redis)

    def looked() -> Check:
        (found,) = [each for each in asyncio.run(DeepHealth(settings, urls, ask).checks()) if "object" in each.name]
        return found

    assert (looked().status, looked().found) == ("ok", f"reached: {root}")
    s3.denied = True
    assert looked().status == "fail"
    assert "denies access" in looked().found


# The route


def test_a_look_is_told_only_where_it_is_asked_for(edge):
    assert edge.client.get("/v1/health").json()["depends_on"] is None
    told = edge.client.get("/v1/health?deep=true").json()
    assert told["depends_on"] == [{"name": "store", "status": "ok", "found": "Found.", "advice": ""}]
    assert told["status"] == "ok"


@pytest.mark.parametrize(("status", "health"), [("warn", "ok"), ("fail", "degraded")])
def test_what_fails_degrades_the_whole(edge, status, health):
    edge.seen["clocks"] = status
    told = edge.client.get("/v1/health?deep=true").json()
    assert told["status"] == health
    assert told["depends_on"][1]["advice"] == "Do it."


def test_each_field_of_a_look_is_described(edge):
    schema = edge.client.get("/v1/openapi.json").json()["components"]["schemas"]["Dependency"]
    assert all(each.get("description") for each in schema["properties"].values())
