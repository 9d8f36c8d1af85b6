"""A cluster of several nodes, all on this machine: a head without work, nodes that join it, a server on the head."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from clips import make_clip
from live_server import LiveServer, free_port, until

from cluster.deploy.platforms import Kubernetes, rendered
from cluster.home import end_tree
from cluster.redis_server import PrivateRedis, cache_options

JOBS_OPTIONS = ["appendonly yes", "appendfsync always", 'save ""', "maxmemory-policy noeviction"]
LIMIT_S = 120.0


@dataclass
class Nodes:
    """Nodes as processes. ``environment`` is that of all of them."""

    environment: dict[str, str]
    folder: Path
    port: int = field(default_factory=free_port)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"node-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "serve.cli.app", "node", "--ip", "127.0.0.1", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        until(
            lambda: "--block" in log.read_text(errors="replace") or process.poll() is not None,
            LIMIT_S,
            lambda: log.read_text(errors="replace"),
        )
        assert process.poll() is None, log.read_text(errors="replace")
        return process

    def join(self) -> subprocess.Popen[bytes]:
        return self.start("--join", self.address, "--cpus", "1")

    def end(self) -> None:
        for process in reversed(self.running):
            end_tree(process.pid)
            process.wait()


@contextlib.contextmanager
def private_redis(name: str, folder: Path, options: list[str]) -> Iterator[str]:
    folder.mkdir()
    with PrivateRedis(name, folder, folder, options).running() as url:
        yield url


@contextlib.contextmanager
def cluster_with_a_node() -> Iterator[tuple[LiveServer, Nodes]]:
    """A head and one node that works, with both Redises; no server yet."""
    server = LiveServer(MEDIARAY_SERVE_PATH="proxy")
    token = server.root / "ray-token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    with (
        private_redis("redis", server.root / "redis", JOBS_OPTIONS) as jobs,
        private_redis("cache", server.root / "cache", cache_options(64 << 20)) as cache,
    ):
        server.env |= {
            "MEDIARAY_REDIS_URL": jobs,
            "MEDIARAY_CACHE_URL": cache,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": str(server.root),
        }
        server.home.mkdir(mode=0o700)
        nodes = Nodes(dict(server.env), server.root)
        server.env["MEDIARAY_RAY_ADDRESS"] = nodes.address
        try:
            nodes.start("--head", "--port", str(nodes.port))
            nodes.join()
            yield server, nodes
        finally:
            server.stop()
            nodes.end()
            server.remove()


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[LiveServer, Nodes]]:
    with cluster_with_a_node() as (server, nodes):
        server.start()
        yield server, nodes


def test_a_job_is_done_by_a_node_that_joined_a_head_without_work(cluster):
    server, _ = cluster
    clip = make_clip(server.folder / "clip.mkv", seconds=5)
    done = server.wait(
        server.submit("transcode", clip, profile="web-720p", output=str(server.folder / "clip.mp4"))["id"], LIMIT_S
    )
    assert done["state"] == "succeeded", done
    assert (server.folder / "clip.mp4").exists()


def test_metadata_is_read_though_the_node_of_the_api_does_no_work(cluster):
    server, _ = cluster
    clip = make_clip(server.folder / "asked.mkv", seconds=1)
    answer = server.get(f"/v1/media?source={clip}")
    assert answer.status_code == 200, answer.text


def test_a_job_goes_on_where_its_node_is_lost_and_another_joins(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "long.mkv", seconds=40, width=960, height=540)
    job = server.submit("transcode", clip, profile="web-720p", output=str(server.folder / "long.mp4"))["id"]
    until(lambda: server.job(job)["progress"] > 0, LIMIT_S, server.log)
    lost = nodes.running[1]
    for process in [*psutil.Process(lost.pid).children(recursive=True), psutil.Process(lost.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(process.pid, 9)
    lost.wait()
    nodes.join()
    done = server.wait(job, LIMIT_S)
    assert done["state"] == "succeeded", done


# Ends when a node that works has nothing on it any more, so that an autoscaler would take it away.
_IDLE = """
import sys, time
from ray.autoscaler.v2.sdk import get_cluster_status
deadline = time.monotonic() + float(sys.argv[2])
def able(nodes):
    return [node for node in nodes if any(each.resource_name == "CPU" for each in node.resource_usage.usage)]
while not able((status := get_cluster_status(sys.argv[1])).idle_nodes):
    assert time.monotonic() < deadline, status
    time.sleep(0.5)
"""


@pytest.mark.slow
def test_a_node_is_let_go_of_when_there_is_nothing_to_do_and_works_again_later(cluster):
    server, nodes = cluster
    clip = make_clip(server.folder / "before.mkv", seconds=1)
    server.wait(server.submit("transcode", clip, output=str(server.folder / "before.mp4"))["id"], LIMIT_S)
    command = [sys.executable, "-I", "-c", _IDLE, nodes.address, "150"]
    told = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=200, check=False)
    assert told.returncode == 0, told.stderr
    done = server.wait(server.submit("transcode", clip, output=str(server.folder / "after.mp4"))["id"], LIMIT_S)
    assert done["state"] == "succeeded", done


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


def test_the_application_of_the_kubernetes_file_does_jobs():
    values = Kubernetes(image="mediaray:1", bucket="films", host="media.example")
    (service,) = [each for each in yaml.safe_load_all(rendered(values)) if each["kind"] == "RayService"]
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    del config["http_options"]  # all addresses, and a port that others may have
    with cluster_with_a_node() as (server, nodes):
        clip = make_clip(server.folder / "clip.mkv", seconds=2)
        command = [sys.executable, "-I", "-c", _DEPLOY, nodes.address, str(server.port), json.dumps(config)]
        told = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert told.returncode == 0, told.stderr

        def ready() -> bool:
            with contextlib.suppress(httpx.HTTPError, OSError):
                return server.get("/v1/health/ready").status_code == 200
            return False

        until(ready, LIMIT_S, lambda: told.stderr)
        output = str(server.folder / "clip.mp4")
        done = server.wait(server.submit("transcode", clip, profile="web-720p", output=output)["id"], LIMIT_S)
        assert done["state"] == "succeeded", done
