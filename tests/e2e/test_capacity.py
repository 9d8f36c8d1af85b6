"""What a running server tells of its work and of what it depends on, while it works and when it is done."""

import json
import subprocess
import sys
from typing import Any

from live_server import LiveServer, until

LIMIT_S = 60.0


def backlog(server: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/v1/capacity").json()["backlog"]
    return found


def transcodes(server: LiveServer) -> dict[str, Any]:
    rows = [row for row in backlog(server)["operations"] if row["operation"] == "transcode"]
    return rows[0] if rows else {"cpu_s": 0.0, "measured": False}


def command(server: LiveServer, *arguments: str) -> Any:
    run = [sys.executable, "-I", "-m", "serve.cli.app", *arguments, "--json"]
    done = subprocess.run(run, env=server.env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return json.loads(done.stdout)


def test_what_is_to_be_done_is_told_and_is_nothing_at_the_end(server, long_clip):
    film = {"profile": "web-720p", "fresh": True, "overwrite": True, "output": str(server.folder / "needed.mp4")}
    job = server.submit("transcode", long_clip, **film)["id"]
    until(lambda: transcodes(server)["cpu_s"] > 0, LIMIT_S, lambda: str(backlog(server)))
    told = command(server, "capacity", "--nodes", "3")
    (more,) = told["more_nodes"]
    (here,) = told["nodes"]
    assert (more["nodes"], more["cpus"]) == (3, told["cpus"]["total"] + 3 * here["cpus_each"])
    assert 0 < more["eta_s"] <= told["backlog"]["eta_s"]
    assert server.wait(job)["state"] == "succeeded"
    until(lambda: backlog(server)["jobs"] == 0, LIMIT_S, lambda: str(backlog(server)))
    assert backlog(server)["eta_s"] == 0
    # The next is reckoned by what this one has cost, as soon as that was counted.
    until(lambda: "mediaray_unit_planned_seconds_total{" in server.get("/v1/metrics").text, LIMIT_S, server.log)
    again = server.submit("transcode", long_clip, **film)["id"]
    until(lambda: transcodes(server)["measured"], LIMIT_S, lambda: str(backlog(server)))
    assert server.wait(again)["state"] == "succeeded"


def test_what_the_server_depends_on_is_well(server):
    told = command(server, "health")
    rows = {row["name"]: row for row in told["depends_on"]}
    for name in (
        "store",
        "cache",
        "ray tables",
        "nodes",
        "versions",
        "clocks",
        "sandbox",
        "object storage",
        "settings",
    ):
        assert (rows[name]["status"], rows[name]["advice"]) == ("ok", ""), rows[name]
    assert rows["backup"]["status"] == "warn"
    assert rows["nodes"]["found"].startswith("1 alive")
    assert rows["disks"]["found"]


def test_a_cache_that_is_away_is_told_with_what_it_means(server):
    (cache,) = server.find("cache")
    cache.suspend()
    try:
        told = server.get("/v1/health?deep=true", timeout=30).json()
    finally:
        cache.resume()
    rows = {row["name"]: row for row in told["depends_on"]}
    assert (told["status"], rows["cache"]["status"], rows["store"]["status"]) == ("degraded", "fail", "ok")
    assert "MediarayCacheDown" in rows["cache"]["advice"]
