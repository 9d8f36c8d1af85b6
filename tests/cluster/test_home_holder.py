"""The home of a server that a cluster runs, held by an actor."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from pydantic import SecretStr

from cluster.errors import StartupError, StorageError
from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.orders import NAMESPACE
from serve.backup import back_up, restore
from serve.home_holder import hold


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
    hold(home)
    backup = Path(back_up(settings, home, tmp_path / "b.zip", nothing, overwrite=False, units=False).path)
    with pytest.raises(StorageError) as told:
        restore(settings, home, backup, nothing, replace=True)
    assert told.value.code == "server_running"
    assert not home.restoring.exists()


def test_a_holder_that_is_killed_holds_the_home_again(cluster, home):
    hold(home)
    pid = cluster.actor_pid("HomeHolder")
    os.kill(pid, signal.SIGKILL)
    cluster.until(lambda: cluster.is_gone(pid))
    cluster.until(lambda: not is_free(home))


def test_a_home_that_another_holds_is_refused_until_it_is_free(cluster, home):
    with home.hold(), pytest.raises(StartupError, match="is held"):
        hold(home, limit_s=1.0)
    hold(home)
    assert not is_free(home)


def test_a_half_restored_home_is_refused_and_left_to_the_restore(cluster, home):
    home.restoring.write_text("backup.zip")
    with pytest.raises(StartupError, match="broken off"):
        hold(home)
    cluster.until(lambda: is_free(home))
