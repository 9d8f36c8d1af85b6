"""The server itself: one per home, loopback only, its own processes and no others, any durable Redis."""

import contextlib
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from clips import make_clip
from live_ray import running_ray
from live_server import LiveServer, free_port, live_server, lives, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

DEBIAN_REDIS = Path("/usr/bin/redis-server")


def test_a_second_up_on_the_same_home_says_where_the_first_is(server):
    second = subprocess.run(
        [sys.executable, "-I", "-m", "serve.cli.app", "up"], env=server.env, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert server.url in second.stderr


def test_a_taken_port_is_told_before_anything_is_started(server):
    environment = {**server.env, "MEDIARAY_HOME": str(server.root / "other")}
    second = subprocess.run(
        [sys.executable, "-I", "-m", "serve.cli.app", "up"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert f"Port {server.port} is taken" in second.stderr


def test_nothing_listens_off_loopback_but_what_serve_hard_codes(server):
    """As ``ss -ltn`` shows it. Serve opens one gRPC port per replica on every interface and has no option for it."""
    replicas = {process.pid for process in server.find("replica")}
    open_ports = [
        (process.name(), connection.laddr)
        for process in [psutil.Process(server.process.pid), *server.tree()]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
        and not is_loopback(connection.laddr.ip)
        and process.pid not in replicas
    ]
    ours = [
        connection.laddr
        for pid in replicas
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and not is_loopback(connection.laddr.ip)
    ]
    assert open_ports == []
    assert len(ours) <= len(replicas)
    assert {address.ip for address in ours} <= {"::"}


def is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def test_redis_and_ray_take_no_one_without_their_secret(server):
    assert (server.home / "redis" / "password").stat().st_mode & 0o77 == 0
    record = json.loads((server.home / "run" / "server.json").read_text())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "wrong" * 8,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    script = f"import ray; ray.init(address={record['ray_address']!r}, log_to_driver=False)"
    joined = subprocess.run([sys.executable, "-I", "-c", script], env=environment, capture_output=True, timeout=120)
    assert joined.returncode != 0


def test_no_secret_stands_on_a_command_line(server):
    secrets = [server.token, (server.home / "redis" / "password").read_text().strip()]
    lines = [" ".join(process.cmdline()) for process in server.tree()]
    assert not [line for line in lines for secret in secrets if secret in line]


def test_no_secret_stands_in_a_log(server):
    secrets = [server.token, (server.home / "redis" / "password").read_text().strip()]
    logs = [path for path in server.home.rglob("*.log") if path.is_file()]
    assert logs
    assert not [path for path in logs for secret in secrets if secret in path.read_text(errors="replace")]


def test_children_decode_with_no_credential_and_below_the_edge(server, clip):
    server.wait(server.submit("probe", clip)["id"])
    children = [each for each in server.tree() if "pipelines.media.child" in " ".join(each.cmdline())]
    assert children
    replica_nice = max(process.nice() for process in server.find("replica"))
    for child in children:
        names = {name for name in child.environ() if not name.startswith("MALLOC_")}
        assert names <= {"PATH", "LANG", "LC_CTYPE", "OPENBLAS_NUM_THREADS"}
        assert child.nice() > replica_nice


def test_redis_away_is_503_and_jobs_go_on_when_it_is_back(server, clip):
    (process,) = server.find("redis")
    process.suspend()
    try:
        answers = [server.post("/v1/jobs", {"operation": "probe", "source": str(clip)}) for _ in range(1)]
    finally:
        process.resume()
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "store_unavailable")
    assert answers[0].headers["retry-after"]
    assert server.wait(server.submit("probe", clip)["id"])["state"] == "succeeded"


def test_a_watcher_is_told_to_come_again_when_redis_goes_away(server):
    (process,) = server.find("redis")
    with connect(f"ws://127.0.0.1:{server.port}/v1/events", additional_headers=server.headers) as socket:
        process.suspend()
        try:
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
        finally:
            process.resume()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


def test_stopping_leaves_no_process_and_no_folder():
    with live_server() as server:
        tree = server.tree()
        folder = Path((server.home / "run" / "folder").read_text())
        assert server.stop() == 0
        assert not [process for process in tree if lives(process)]
        assert not folder.exists()


def test_one_server_after_another_works_on_a_ray_that_runs():
    with running_ray() as cluster:
        server = LiveServer(**cluster.joining)
        try:
            clip = make_clip(server.folder / "clip.mkv", seconds=2)
            for number in range(2):
                server.start()
                output = str(server.folder / f"{number}.mp4")
                job = server.submit("transcode", clip, profile="mobile-480p", output=output)
                assert server.wait(job["id"])["state"] == "succeeded"
                assert server.stop() == 0
        finally:
            server.stop()
            server.remove()


def test_a_proxy_that_is_too_slow_for_serve_holds_up_no_start():
    """None is ready after three times 0.2 s, as none is after Serve's 15 s on a busy machine; later ones get more."""
    impatient = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "0.2", "RAY_SERVE_PROXY_GRACEFUL_SHUTDOWN_TIMEOUT_S": "0.1"}
    with running_ray(**impatient) as cluster, live_server(**cluster.joining) as server:
        assert "the proxy was ended while it started" in (server.home / "logs" / "up.log").read_text()
        assert "Traceback" not in server.log()


@pytest.fixture
def debian_redis() -> Iterator[str]:
    if not DEBIAN_REDIS.exists():
        pytest.skip("Debian's redis-server is not installed; .ci/run installs it")
    folder = Path(tempfile.mkdtemp(prefix="mrt-"))
    port = free_port()
    server = subprocess.Popen(
        [
            *(DEBIAN_REDIS, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--requirepass", "geheim"),
            *("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"),
        ],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://:geheim@127.0.0.1:{port}/0"
    try:
        until(lambda: _answers(url), 20, lambda: "redis doesn't start")
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


def test_jobs_are_done_on_debians_redis(debian_redis):
    with live_server(MEDIARAY_REDIS_URL=debian_redis) as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=2)
        job = server.wait(
            server.submit("transcode", clip, profile="mobile-480p", output=str(server.folder / "x.mp4"))["id"]
        )
        assert job["state"] == "succeeded", job["error"]
        assert not server.find("redis")


def test_a_redis_that_could_lose_jobs_is_refused(debian_redis):
    with redis.Redis.from_url(debian_redis) as client:
        client.config_set("appendfsync", "everysec")
    server = LiveServer(MEDIARAY_REDIS_URL=debian_redis)
    try:
        with pytest.raises(AssertionError, match="appendfsync always"):
            server.start()
    finally:
        server.remove()
