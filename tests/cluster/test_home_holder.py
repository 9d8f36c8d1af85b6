"""The home of a server that a cluster runs, held by an actor."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from pydantic import SecretStr

from cluster.errors import StartupError, StorageError
from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.orders import NAMESPACE
from serve.backup import back_up, restore
from serve.cli.failures import FAILED
from serve.home_holder import hold, holds

URL = "http://127.0.0.1:8000"


def nothing(_stage: str, _done: int, _total: int) -> None:
    pass


def is_free(home: Home) -> bool:
    with contextlib.suppress(StartupError), home.hold():
        return True
    return False


@pytest.fixture
def home(cluster, tmp_path) -> Iterator[Home]:
    home = Home.create(tmp_path / "home")
    yield home
    with contextlib.suppress(ValueError):
        ray.kill(ray.get_actor("home", namespace=NAMESPACE))
    cluster.until(lambda: is_free(home))


def test_into_a_held_home_nothing_is_restored(cluster, home, tmp_path):
    settings = Settings(home=home.path, redis_url=SecretStr(cluster.url))
    hold(home, URL)
    backup = Path(back_up(settings, home, tmp_path / "b.zip", nothing, overwrite=False, units=False).path)
    with pytest.raises(StorageError) as told:
        restore(settings, home, backup, nothing, replace=True)
    assert told.value.code == "server_running"
    assert not home.restoring.exists()


def test_commands_find_the_server_by_who_holds_its_home(cluster, home, monkeypatch):
    hold(home, URL)
    assert (home.server() or {})["url"] == URL
    monkeypatch.setenv("MEDIARAY_HOME", str(home.path))
    done = subprocess.run([sys.executable, "-m", "serve.cli.app", "down"], capture_output=True, text=True, check=False)
    assert done.returncode == FAILED
    assert "ends with its cluster" in done.stderr
    assert not is_free(home)


def test_a_holder_that_is_killed_holds_the_home_again(cluster, home):
    hold(home, URL)
    pid = cluster.actor_pid("HomeHolder")
    os.kill(pid, signal.SIGKILL)
    cluster.until(lambda: cluster.is_gone(pid))
    cluster.until(lambda: not is_free(home))


def test_a_home_that_another_holds_is_refused_until_it_is_free(cluster, home):
    with home.hold(), pytest.raises(StartupError, match="is held"):
        hold(home, URL, limit_s=1.0)
    hold(home, URL)
    assert not is_free(home)


def test_a_half_restored_home_is_refused_and_left_to_the_restore(cluster, home):
    home.restoring.write_text("backup.zip")
    with pytest.raises(StartupError, match="broken off"):
        hold(home, URL)
    cluster.until(lambda: is_free(home))


def test_a_holder_that_goes_away_while_it_waits_is_told_in_words(cluster, home):
    with home.hold(), ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold, home, URL)
        cluster.until(holds)
        ray.kill(ray.get_actor("home", namespace=NAMESPACE))
        with pytest.raises(StartupError, match="went away"):
            holding.result(60)


# In a process of its own, as `mediaray up` is.
_JOINS = """
import sys
from pathlib import Path
import ray
from cluster.errors import StartupError
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from serve import main

ray.init(address=sys.argv[1], namespace="mediaray", log_to_driver=False)
try:
    main.make_way(Settings(home=Path(sys.argv[2])), RedisUrls("redis://jobs", "redis://cache"))
except StartupError as error:
    print(error)
"""


def test_no_server_is_started_beside_one_that_serve_runs(cluster, home, tmp_path):
    hold(home, URL)
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-I", "-c", _JOINS, address, str(tmp_path / "other")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "one that Serve runs" in told
