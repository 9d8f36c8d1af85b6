from pathlib import Path

import pytest

from cluster.home import Home
from serve.cli import launch


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Home:
    """The home folder of the commands of this test; no server runs on it, and none is started."""
    monkeypatch.setenv("MEDIARAY_HOME", str(tmp_path / "home"))

    def refuse(home: Home) -> None:
        raise AssertionError("a unit test must not start a server")

    monkeypatch.setattr(launch, "_spawn", refuse)
    return Home.create(tmp_path / "home")


@pytest.fixture
def server(home, fake_server):
    """The fake server, which holds that home as a real one does."""
    home.token_file.write_text(fake_server.token)
    with home.hold():
        home.announce(url=fake_server.url)
        yield fake_server
