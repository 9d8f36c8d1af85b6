"""A cluster of several nodes, all on this machine: a head without work, nodes that join it, a server on the head."""

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from live_server import PROCESSES, LiveServer, free_port, until

from cluster.deploy.platforms import Aws, rendered
from cluster.node import NodeSpec, node_command, node_environment
from cluster.redis_server import PrivateRedis, cache_options
from cluster.settings import Settings

JOBS_OPTIONS = ["appendonly yes", "appendfsync always", 'save ""', "maxmemory 256mb", "maxmemory-policy noeviction"]
LIMIT_S = 120.0
MACHINES = Path(__file__).parent / "machines"

# Which nodes there are, a line whenever that changes: their types, the head's among them.
_WATCH = """
import json, sys, time
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import RpcError
last = None
while True:
    try:
        status = get_cluster_status(sys.argv[1])
    except RpcError:
        continue  # the head is slow
    found = sorted(node.ray_node_type_name for node in status.active_nodes + status.idle_nodes)
    if found != last:
        print(json.dumps([time.time(), found]), flush=True)
        last = found
    time.sleep(0.1)
"""


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

    def start_head(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start(_cli("node", "--ip", "127.0.0.1", "--head", "--port", str(self.port), *arguments), {})

    def start_scaling_head(self, config: dict[str, Any], interval_s: int) -> subprocess.Popen[bytes]:
        """A head with Ray's own autoscaler, started as a file of `mediaray deploy` has `ray up` do it."""
        file = self.folder / "scaling.yaml"
        file.write_text(yaml.safe_dump(config))
        spec = NodeSpec(self.address, head=True, ip="127.0.0.1")
        command = [*node_command(spec, Settings(home=self.folder)), f"--autoscaling-config={file}"]
        own = {
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": "head",
            "RAY_NODE_TYPE_NAME": "head",
            "AUTOSCALER_UPDATE_INTERVAL_S": str(interval_s),
            "AUTOSCALER_METRIC_PORT": str(free_port()),
            "PYTHONPATH": str(MACHINES),
        }
        return self._start(command, {**node_environment(spec), **own})

    def join(self, cpus: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        command = _cli("node", "--ip", "127.0.0.1", "--join", self.address, "--cpus", str(cpus))
        return self._start(command, environment)

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"node-{self.running.index(process)}.log").read_text(errors="replace")

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = self.folder / f"node-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**self.environment, **environment},
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

    @contextlib.contextmanager
    def watched(self) -> Iterator["Watch"]:
        """Have the nodes written down as they come and go."""
        file = self.folder / "nodes.jsonl"
        with file.open("wb") as output, (self.folder / "watch.log").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _WATCH, self.address],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        try:
            yield Watch(file)
        finally:
            process.kill()
            process.wait()

    def end(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                kill_tree(process.pid)
            process.wait()


@dataclass(frozen=True)
class Watch:
    """What nodes there were, as they were written down."""

    file: Path

    def seen(self) -> list[tuple[float, list[str]]]:
        """Since when, in seconds since the epoch, and the types of the nodes that work."""
        lines = self.file.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [(at, [each for each in types if each != "head"]) for at, types in found]

    def counts(self) -> list[int]:
        """How many worked, one after the other."""
        counts = [len(types) for _, types in self.seen()]
        return [count for index, count in enumerate(counts) if not index or count != counts[index - 1]]


def at_work(pid: int, unit: str) -> bool:
    """Whether a node, by its first process, does a heavy unit with such a name."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if PROCESSES["worker"].match(title) and f":{unit}" in title:
                return True
    return False


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all that it started, at one moment."""
    victims = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    # All are stopped first: while one dies, the others could give away what it had in hand.
    for stroke in (psutil.Process.suspend, psutil.Process.kill):
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                stroke(process)


def machines(nodes: Nodes, most: int, idle_s: int) -> dict[str, Any]:
    """An autoscaler's configuration: that of the file for AWS, of machines with a CPU that are processes here.

    One of them, on demand, is always there.
    """
    cloud = Aws(
        image="mediaray:1",
        share="files.example:/media",
        region="eu-central-1",
        bucket="films",
        machine_image="ami-0123456789abcdef0",
        head_profile="arn:aws:iam::123456789012:instance-profile/head",
        worker_profile="arn:aws:iam::123456789012:instance-profile/work",
        min_workers=1,
        max_workers=most,
    )
    config = yaml.safe_load(rendered(cloud))
    for name, kind in config["available_node_types"].items():
        kind["node_config"] = {}
        if name != "head":
            kind["resources"]["CPU"] = 1
            kind["idle_timeout_s"] = idle_s
    provider = {
        "type": "external",
        "module": "local_machines.LocalMachines",
        "disable_node_updaters": True,
        "address": nodes.address,
        "folder": str(nodes.folder),
    }
    del config["docker"]
    # What the file has done on a machine isn't for this one: it would stop every Ray there is.
    no_commands: dict[str, Any] = {name: [] for name in config if name.endswith("_commands")}
    files = {"file_mounts": {}, "cluster_synced_files": []}
    return {**config, **no_commands, **files, "auth": {}, "provider": provider}


@contextlib.contextmanager
def live_nodes(**environment: str) -> Iterator[tuple[LiveServer, Nodes]]:
    """Both Redises; the head, the nodes and the server are still to be started."""
    server = LiveServer(MEDIARAY_SERVE_PATH="proxy", **environment)
    token = server.root / "ray-token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    with (
        _redis("redis", server.root / "redis", JOBS_OPTIONS) as jobs,
        _redis("cache", server.root / "cache", cache_options(64 << 20)) as cache,
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
            yield server, nodes
        finally:
            server.stop()
            nodes.end()
            server.remove()


@contextlib.contextmanager
def _redis(name: str, folder: Path, options: list[str]) -> Iterator[str]:
    folder.mkdir()
    with PrivateRedis(name, folder, folder, options).running() as url:
        yield url


def _cli(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-m", "serve.cli.app", *arguments]
