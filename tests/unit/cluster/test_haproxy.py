"""What is changed in the configuration that Serve writes for HAProxy."""

import importlib.util
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from cluster.haproxy import haproxy_environment

RAY = importlib.util.find_spec("ray")
assert RAY is not None
assert RAY.origin is not None
TEMPLATES = Path(RAY.origin).parent / "serve" / "_private" / "haproxy_templates.py"


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """The template of the Ray that is installed, with ports filled in, as HAProxy is started with it."""
    template = runpy.run_path(str(TEMPLATES))["HAPROXY_CONFIG_TEMPLATE"]
    config = tmp_path / "haproxy.cfg"
    config.write_text(re.sub(r"\{\{ config\.\w+_port \}\}", "8404", template))
    launcher = haproxy_environment(tmp_path)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    subprocess.run([launcher, "-v", "-f", str(config)], check=True, timeout=60, stdout=subprocess.DEVNULL)
    return config.read_text().splitlines()


def test_statistics_and_metrics_listen_on_loopback_alone(lines):
    bound = [line.split()[1] for line in lines if re.match(r" *bind ", line) and "frontend_host" not in line]
    assert bound == ["127.0.0.1:8404"] * 2


def test_connections_to_a_replica_are_kept_however_many_clients_there_are(lines):
    at = lines.index("global")
    assert lines[at + 1 : at + 3] == ["    tune.pool-low-fd-ratio 90", "    tune.pool-high-fd-ratio 95"]
