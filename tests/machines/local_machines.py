"""Machines for Ray's own autoscaler that are processes here: each is `mediaray node --join`.

In a folder of its own, which is put on the autoscaler's path: beside other tests it would hide packages from Ray.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import NODE_KIND_HEAD, STATUS_UP_TO_DATE, TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE as TYPE

HEAD = "head"  # its id and its type


@dataclass
class _Machine:
    tags: dict[str, str]
    process: subprocess.Popen[bytes] | None = None  # None: the head, which runs already

    @property
    def there(self) -> bool:
        return self.process is None or self.process.poll() is None


class LocalMachines(NodeProvider):
    """``provider_config`` has the ``address`` of the head, and a ``folder`` for logs."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock = threading.Lock()
        head = {TAG_RAY_NODE_KIND: NODE_KIND_HEAD, TYPE: HEAD, TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}
        self._machines = {HEAD: _Machine(head)}

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        with self._lock:
            return [
                name
                for name, machine in self._machines.items()
                if machine.there and tag_filters.items() <= machine.tags.items()
            ]

    def is_running(self, node_id: str) -> bool:
        return self._machines[node_id].there

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        return dict(self._machines[node_id].tags)

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        self._machines[node_id].tags.update(tags)

    def internal_ip(self, node_id: str) -> str:
        return "127.0.0.1"

    def external_ip(self, node_id: str) -> str:
        return "127.0.0.1"

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        for _ in range(count):
            name = f"machine-{secrets.token_hex(4)}"
            # As `ray up` gives them to what it starts.
            own = {
                "RAY_CLOUD_INSTANCE_ID": name,
                "RAY_NODE_TYPE_NAME": tags[TYPE],
                "RAY_OVERRIDE_RESOURCES": json.dumps(resources),
                "RAY_OVERRIDE_LABELS": json.dumps(labels),
            }
            command = [sys.executable, "-I", "-m", "cluster.tether", str(os.getpid()), sys.executable, "-I", "-m"]
            command += ["serve.cli.app", "node", "--ip", "127.0.0.1", "--join", self.provider_config["address"]]
            with (Path(self.provider_config["folder"]) / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    command, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
            with self._lock:
                self._machines[name] = _Machine(dict(tags), process)

    def terminate_node(self, node_id: str) -> None:
        machine = self._machines[node_id]
        if machine.process is not None and machine.there:
            machine.process.terminate()
