from types import SimpleNamespace

import pytest

from cluster.errors import StartupError
from cluster.home import Home
from serve import home_holder


def test_a_home_whose_volume_comes_late_is_held_when_it_is_there(tmp_path, monkeypatch):
    home, away = Home.create(tmp_path / "home"), tmp_path / "away"
    home.path.rename(away)
    monkeypatch.setattr(home_holder, "time", SimpleNamespace(sleep=lambda _: away.rename(home.path)))
    holder = home_holder.HomeHolder(home.path, "http://127.0.0.1:8000")
    with pytest.raises(StartupError), home.hold():
        pass
    holder.ready()
