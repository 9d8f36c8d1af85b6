from pathlib import Path

import pytest

from cluster.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Home:
    """The home folder of the commands of this test; no server runs on it."""
    monkeypatch.setenv("MEDIARAY_HOME", str(tmp_path / "home"))
    return Home.create(tmp_path / "home")


@pytest.fixture
def server(home, fake_server):
    """The fake server, running on that home as far as a command can tell."""
    home.token_file.write_text(fake_server.token)
    home.announce(url=fake_server.url)
    return fake_server
