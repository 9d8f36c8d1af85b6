from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import make_clip
from live_server import LiveServer, live_server

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"


@pytest.fixture(scope="session")
def server() -> Iterator[LiveServer]:
    """One running server for all tests of the session."""
    roots = f'["{MEDIA}"]' if MEDIA.is_dir() else "[]"
    with live_server(MEDIARAY_ROOTS=roots) as running:
        yield running


@pytest.fixture(scope="session")
def clip(server: LiveServer) -> Path:
    """Ten seconds that take a few seconds to encode."""
    return make_clip(server.folder / "clip.mkv", seconds=10)


@pytest.fixture(scope="session")
def long_clip(server: LiveServer) -> Path:
    """A minute, to have a job that runs while something happens to it."""
    return make_clip(server.folder / "long.mkv", seconds=60, width=960, height=540)


@pytest.fixture(scope="session")
def media() -> Path:
    if not MEDIA.is_dir():
        pytest.skip(f"no real media at {MEDIA.name}")
    return MEDIA
