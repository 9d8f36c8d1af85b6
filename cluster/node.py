"""This machine as a node of a cluster of several: a head that coordinates, or one that works."""

import importlib.metadata
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cluster.errors import StartupError
from cluster.home import Home
from cluster.machine import usable_cpus
from cluster.ray_cluster import NODE_ENVIRONMENT
from cluster.settings import Settings

# A unit takes up to about a minute, and a node that is stopped gets a minute (mediaray-node.service).
_LEAVE_S = 50
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class NodeSpec:
    """A node. ``address`` is that of the cluster's head, ``host:port``; ``head``: it is that one, and does no work.

    ``ip`` is the address at which the others reach this machine; None: Ray finds it out. ``dashboard_port``, of a head:
    that of Ray's dashboard on loopback, which takes Ray's jobs; None: there is none.
    """

    address: str
    head: bool
    ip: str | None = None
    dashboard_port: int | None = None


def check_node(spec: NodeSpec, settings: Settings) -> None:
    """Refuse what would start and not work.

    Raises:
        StartupError: no address, no token of the cluster, more CPUs than there are, a home that isn't the server's,
            or a server of another version.
    """
    found = _ADDRESS.fullmatch(spec.address)
    if not found or not 0 < int(found["port"]) < 65536:
        raise StartupError(f"{spec.address[:200]!a} is no address of a head. Write it as host:port.")
    token = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not os.environ.get("RAY_AUTH_TOKEN") and not (token and Path(token).is_file()):
        raise StartupError("Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token: the same on each node.")
    if settings.cpus and settings.cpus > usable_cpus():
        raise StartupError(f"This machine has {usable_cpus()} CPUs for work, not {settings.cpus}.")
    if not spec.head and not settings.home.is_dir():
        raise StartupError(
            f"There is no folder {settings.home}. MEDIARAY_HOME has to be the server's, on a file system that all "
            "nodes share, at the same path."
        )
    if not spec.head:
        _check_version(Home(settings.home))


def _check_version(home: Home) -> None:
    """Units are sent by name, and read by the code that a node has. Ray checks its own version, and Python's."""
    try:
        server = json.loads(home.server_file.read_text()).get("version")
    except (OSError, ValueError, AttributeError):
        return  # none runs yet
    own = importlib.metadata.version("mediaray")
    if server is not None and server != own:
        raise StartupError(
            f"The server of {home.path} is mediaray {server}, and this machine has {own}. Install the same version on "
            f"each node. If no such server runs any more, remove {home.server_file}."
        )


def node_command(spec: NodeSpec, settings: Settings) -> list[str]:
    """The program that is the node, in the foreground; SIGTERM ends it and what it started, and nothing else.

    A node that works takes no more units then, and leaves when those that it has are done.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    if spec.head:
        command += ["--head", f"--port={spec.address.rpartition(':')[2]}", "--num-cpus=0"]
        command.append(f"--include-dashboard={'false' if spec.dashboard_port is None else 'true'}")
        if password := os.environ.get("RAY_REDIS_PASSWORD"):  # of RAY_REDIS_ADDRESS, which Ray reads itself
            command.append(f"--redis-password={password}")
    else:
        command += [f"--address={spec.address}", f"--num-cpus={settings.cpus or usable_cpus()}"]
    if spec.ip:
        command.append(f"--node-ip-address={spec.ip}")
    if spec.dashboard_port is not None:
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={spec.dashboard_port}"]
    # Ray's own ports for its workers are the same on each node, so two on one machine would be in each other's way.
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
    return [*command, f"--object-store-memory={settings.object_store_bytes}"]


def node_environment(spec: NodeSpec) -> dict[str, str]:
    """Of the program, over that of this process. What runs on a head never ends by itself: it isn't waited for."""
    leave_s = 0 if spec.head else _LEAVE_S
    return {**NODE_ENVIRONMENT, "RAY_AUTH_MODE": "token", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(leave_s)}


def become_node(spec: NodeSpec, settings: Settings) -> NoReturn:
    """Turn this process into the node. Raises as ``check_node``."""
    check_node(spec, settings)
    command = node_command(spec, settings)
    os.execve(command[0], command, {**os.environ, **node_environment(spec)})  # noqa: S606 no shell is wanted
