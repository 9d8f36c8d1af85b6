"""A cluster of several nodes, all on this machine: a head without work, nodes that join it, a server on the head."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest
import yaml
from clips import make_clip
from live_nodes import LIMIT_S, Nodes, at_work, kill_tree, live_nodes
from live_server import LiveServer, lives, until

from cluster.deploy.platforms import Kubernetes, rendered
from cluster.errors import StartupError
from cluster.home import Home


@pytest.fixture(scope="module")
def nodes_only() -> Iterator[tuple[LiveServer, Nodes]]:
    """A head and one node that works; no server yet."""
    with live_nodes() as (server, nodes):
        nodes.start_head()
        nodes.join()
        yield server, nodes


@pytest.fixture(scope="module")
def cluster(nodes_only) -> tuple[LiveServer, Nodes]:
    nodes_only[0].start()
    return nodes_only


def test_a_job_is_done_by_a_node_that_joined_a_head_without_work(cluster):
    server, _ = cluster
    clip = make_clip(server.folder / "clip.mkv", seconds=5)
    done = server.wait(
        server.submit("transcode", clip, profile="web-720p", output=str(server.folder / "clip.mp4"))["id"], LIMIT_S
    )
    assert done["state"] == "succeeded", done
    assert (server.folder / "clip.mp4").exists()


def test_each_node_tells_how_it_is_and_what_is_free_of_it(cluster):
    server, _ = cluster
    told = server.get("/v1/health?deep=true", timeout=30).json()
    rows = {row["name"]: row for row in told["depends_on"]}
    for name in ("store", "cache", "nodes", "versions", "clocks"):
        assert rows[name]["status"] == "ok", rows[name]
    assert rows["nodes"]["found"].startswith("2 alive, 0 of them at rest")
    assert rows["clocks"]["found"].endswith("s apart")  # so both have told theirs
    (found,) = server.get("/v1/capacity").json()["nodes"]
    assert (found["nodes"], found["cpus_each"]) == (1, 1)


def test_metadata_is_read_though_the_node_of_the_api_does_no_work(cluster):
    server, _ = cluster
    clip = make_clip(server.folder / "asked.mkv", seconds=1)
    answer = server.get(f"/v1/media?source={clip}")
    assert answer.status_code == 200, answer.text


def test_a_job_goes_on_where_its_node_is_lost_and_another_joins(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "long.mkv", seconds=20, width=960, height=540)
    job = server.submit("transcode", clip, profile="web-720p", output=str(server.folder / "long.mp4"))["id"]
    until(lambda: server.job(job)["progress"] > 0, LIMIT_S, server.log)
    kill_tree(nodes.running[1].pid)
    nodes.running[1].wait()
    nodes.join()
    done = server.wait(job, LIMIT_S)
    assert done["state"] == "succeeded", done


def test_a_node_that_is_stopped_finishes_what_it_has(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "drained.mkv", seconds=20, width=480, height=270)
    stopped = nodes.join()
    params = {"profile": "mobile-480p", "preset": "slower", "chunk_s": 2}
    job = server.submit("transcode", clip, output=str(server.folder / "drained.mp4"), **params)["id"]
    until(lambda: at_work(stopped.pid, "chunk-"), LIMIT_S, server.story)
    stopped.send_signal(signal.SIGTERM)
    stopped.wait(LIMIT_S)
    assert "did not finish draining" not in nodes.log_of(stopped)
    done = server.wait(job, LIMIT_S)
    assert done["state"] == "succeeded", done
    assert server.taken_back([job]) == []


def test_a_node_that_is_not_what_it_is_said_to_be_takes_no_work(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "said.mkv", seconds=1)
    more = nodes.join(RAY_OVERRIDE_RESOURCES=json.dumps({"CPU": 1, "GPU": 1}))
    job = server.submit("transcode", clip, output=str(server.folder / "said.mp4"))["id"]
    raylet = next(each for each in psutil.Process(more.pid).children() if each.name() == "raylet")
    until(lambda: not lives(raylet), LIMIT_S, server.story)
    assert "1 GPUs are declared, 0 are there" in (server.home / "logs" / "up.log").read_text()
    assert server.wait(job, LIMIT_S)["state"] == "succeeded"


def test_a_node_with_another_version_takes_no_work(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "older.mkv", seconds=1)
    installed = server.folder / "older" / "mediaray-0.0.1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mediaray\nVersion: 0.0.1\n")
    more = nodes.join(PYTHONPATH=str(installed.parent))  # as an older image would have, which Ray starts by itself
    job = server.submit("transcode", clip, output=str(server.folder / "older.mp4"))["id"]
    raylet = next(each for each in psutil.Process(more.pid).children() if each.name() == "raylet")
    until(lambda: not lives(raylet), LIMIT_S, server.story)
    assert "mediaray 0.0.1 is there, the server has" in (server.home / "logs" / "up.log").read_text()
    assert server.wait(job, LIMIT_S)["state"] == "succeeded"


# What KubeRay has the cluster do, with the application's part of the shipped file.
_DEPLOY = """
import json, sys
import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema
address, port, config = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
ray.init(address=address, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location=config["proxy_location"])
_get_global_client().deploy_apps(ServeDeploySchema.model_validate(config), _blocking=True)
"""


def test_the_application_of_the_kubernetes_file_does_jobs(nodes_only):
    server, nodes = nodes_only
    server.stop()
    values = Kubernetes(image="mediaray:1", bucket="films", host="media.example")
    (service,) = [each for each in yaml.safe_load_all(rendered(values)) if each["kind"] == "RayService"]
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    del config["http_options"]  # all addresses, and a port that others may have
    clip = make_clip(server.folder / "served.mkv", seconds=2)
    command = [sys.executable, "-I", "-c", _DEPLOY, nodes.address, str(server.port), json.dumps(config)]
    told = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert told.returncode == 0, told.stderr

    def ready() -> bool:
        with contextlib.suppress(httpx.HTTPError, OSError):
            return server.get("/v1/health/ready").status_code == 200
        return False

    until(ready, LIMIT_S, lambda: told.stderr)
    output = str(server.folder / "served.mp4")
    done = server.wait(server.submit("transcode", clip, profile="web-720p", output=output)["id"], LIMIT_S)
    assert done["state"] == "succeeded", done
    with pytest.raises(StartupError, match="already runs"), Home(server.home).hold():  # as a restore would
        pass
    command = [sys.executable, "-I", "-m", "serve.cli.app", "jobs", "list"]
    listed = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done["id"] in listed.stdout, listed.stderr
