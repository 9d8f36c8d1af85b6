from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.redis_server import PrivateRedis
from pipelines.media.sample import make_sample


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of picture and sound, 64 × 36."""
    return make_sample(tmp_path_factory.mktemp("clip") / "clip.mkv", duration_s=0.5, width=64, height=36)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    from unit.pipelines.jobs.makers import short_folder

    with short_folder() as folder:
        yield folder


@pytest.fixture
def start(short: Path) -> Iterator[Callable[..., PrivateRedis]]:
    """Start a private Redis of these options; it ends with the test."""
    started: list[PrivateRedis] = []

    def start(*options: str) -> PrivateRedis:
        server = PrivateRedis("redis", short, short, list(options))
        started.append(server)
        server.spawn()
        server.wait_ready()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def film(root: Path) -> Path:
    path = root / "film.mkv"
    path.write_bytes(b"film")
    return path
