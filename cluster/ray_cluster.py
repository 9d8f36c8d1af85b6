"""Ray for one machine, private to this server; or a running cluster by address."""

import atexit
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.errors import RayLostError, StartupError
from cluster.machine import usable_cpus
from cluster.settings import Settings

# Of every process of a node. Set before Ray is imported: Ray reads them then.
NODE_ENVIRONMENT = {
    # Workers and replicas at our own nice value: media children go below it (measured: at Ray's default of 15 the
    # edge starves behind an encode).
    "RAY_worker_niceness": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_preload_python_modules": "cluster.collector",
    # What Ray does all the time, less often: at its defaults an idle server took 17 % of a CPU (docs/decisions/0013).
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # Serve ends a proxy that isn't ready after three times this, though on a busy machine it is only slow (15 s are
    # passed at a load of 60). Together as long as the start waits for it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "REPORTER_UPDATE_INTERVAL_MS": "15000",
    "LOG_NAME_UPDATE_INTERVAL_S": "10",
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",  # with fewer files it looks for new ones ten times a second
    # A worker that holds a warm child is worth keeping; one more than there are CPUs takes 0.7 % of one, and goes.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    # glibc gives a process up to eight arenas for each CPU, and what a thread has freed in one of them is nothing to
    # the others: on two CPUs a runner, of a hundred threads, came to hold 20 MB that nothing was in.
    "MALLOC_ARENA_MAX": "2",
    # Of what a table needs that is put together, Arrow's own choice keeps far more; and so does jemalloc with arenas
    # for each thread, which it gives back after a second: docs/decisions/0026.
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
    "JE_ARROW_MALLOC_CONF": "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0",
}
_KNOCK_S = 2.0
_LOOPBACK = ("127.", "localhost:", "[::1]:")


def prepare_environment(settings: Settings, folder: Path) -> None:
    """Set what Ray reads from the environment when it is imported and when it starts processes."""
    os.environ.update(NODE_ENVIRONMENT)
    os.environ["RAY_AUTH_MODE"] = "token"
    address = settings.ray_address
    if address is None or address.startswith(_LOOPBACK):
        # All of Ray's core ports on loopback, where no other node joins; and whoever joins such a cluster looks there,
        # not at the machine's own address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if address is not None:
        return  # a running cluster has its own token, and its own choice of Serve's data path
    # This cluster's own token, not the user's: nothing in ~/.ray is read or written.
    token = folder / "ray-token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    token.touch(mode=0o600)
    token.write_text(os.urandom(32).hex())
    if settings.serve_path == "haproxy":
        from cluster.haproxy import haproxy_environment  # a program that not every system has

        os.environ.update(haproxy_environment(folder))


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path for sockets (the kernel's limit is 107 bytes) and Ray's files; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mr-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def connected(settings: Settings, folder: Path) -> Iterator[None]:
    """Start Ray here, or connect to the cluster of the settings; leaves it as it was found.

    Raises:
        StartupError: the cluster doesn't answer, or has nodes that don't reach a private Redis.
        RayLostError: it is gone when it is to be left.
    """
    import ray

    try:
        if settings.ray_address is None:
            ray.init(
                address="local",
                num_cpus=settings.cpus or usable_cpus(),
                object_store_memory=settings.object_store_bytes,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                namespace="mediaray",
                _temp_dir=str(folder / "ray"),
            )
        else:
            ray.init(address=settings.ray_address, namespace="mediaray", log_to_driver=False)
    except Exception as error:  # Ray raises its plain base class when a process of its own is late
        raise StartupError(f"Ray doesn't start: {error}") from error
    try:
        check_reachable(settings, sum(node["Alive"] for node in ray.nodes()))  # type: ignore[no-untyped-call]
        yield
    finally:
        if ray_answers():
            ray.shutdown()
        else:
            atexit.register(_end_at_once)
            raise ray_lost(settings)


def ray_lost(settings: Settings) -> RayLostError:
    """What to say when Ray is gone."""
    after = "" if settings.ray_address is None else ", after the head of the cluster"
    return RayLostError(
        "The Ray that this server ran on is gone, so it ends. No job is lost: they go on when the server is started "
        f"again{after}."
    )


def _end_at_once() -> None:
    """End this process before Ray's own clean-up, which would wait for what is gone, and then crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def check_reachable(settings: Settings, nodes: int) -> None:
    """Refuse a cluster of several nodes with a private Redis, which has no port. Raises StartupError."""
    if nodes > 1 and (settings.redis_url is None or settings.cache_url is None):
        raise StartupError("Other nodes must reach both Redises: set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL.")


def ray_answers() -> bool:
    """Whether the Ray that this process belongs to is still there: its tables, and the raylet of this node.

    They are knocked at, no more: who asks Ray for something waits for them, up to a minute and longer.
    """
    import ray

    node = ray._private.worker.global_worker.node
    host, _, port = address().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(_KNOCK_S)
            raylet.connect(node.raylet_socket_name)  # type: ignore[union-attr]  # there is one while it is connected
    except OSError:
        return False
    return True


def keep_logs(folder: Path, target: Path) -> None:
    """Copy the logs of a cluster that is about to be removed."""
    shutil.rmtree(target, ignore_errors=True)
    for logs in folder.glob("ray/session_2*/logs"):
        shutil.copytree(logs, target, ignore_dangling_symlinks=True)


def address() -> str:
    """Of the cluster this process is connected to, for drivers that join it."""
    import ray

    return str(ray.get_runtime_context().gcs_address)
