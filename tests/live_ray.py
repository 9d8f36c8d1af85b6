"""A Ray that runs and isn't ours, for servers that join it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from live_server import of_kind

LIMIT_S = 60.0
_AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_CLUSTER = """
import os, sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, _temp_dir=sys.argv[1],
         log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class RunningRay:
    """``pid`` is that of the process that all others of it come from."""

    address: str
    pid: int

    @property
    def joining(self) -> dict[str, str]:
        """What a server needs in its environment to join."""
        return {"MEDIARAY_RAY_ADDRESS": self.address, "RAY_AUTH_TOKEN": _AUTH["RAY_AUTH_TOKEN"]}

    def find(self, kind: str) -> list[psutil.Process]:
        """Its processes of a kind; see PROCESSES."""
        return of_kind(kind, psutil.Process(self.pid).children(recursive=True))

    def run(self, script: str, *arguments: str) -> None:
        """Have a driver of somebody else do something; its first argument is the address."""
        command = [sys.executable, "-I", "-c", script, self.address, *arguments]
        ended = subprocess.run(command, env={**_clean(), **_AUTH}, capture_output=True, text=True, timeout=2 * LIMIT_S)
        assert ended.returncode == 0, ended.stderr


@contextlib.contextmanager
def running_ray(**given: str) -> Iterator[RunningRay]:
    """A cluster with ``given`` in its environment."""
    folder = Path(tempfile.mkdtemp(prefix="mrt-"))
    cluster = subprocess.Popen(
        [sys.executable, "-I", "-c", _CLUSTER, str(folder)],
        env={**_clean(), **_AUTH, "RAY_USAGE_STATS_ENABLED": "0", **given},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    try:
        yield RunningRay(cluster.stdout.readline().strip(), cluster.pid)
    finally:
        cluster.stdin.close()
        cluster.wait(LIMIT_S)
        cluster.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MEDIARAY_", "RAY_"))}
