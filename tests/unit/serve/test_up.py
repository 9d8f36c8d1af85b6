from types import SimpleNamespace
from typing import NoReturn

import pytest

from cluster.errors import StartupError
from cluster.settings import Settings
from serve import up


def late() -> NoReturn:
    raise TimeoutError("still there: registry")


def test_what_can_t_be_taken_off_hides_no_error_and_breaks_nothing_off(monkeypatch, caplog):
    monkeypatch.setattr(up, "ray_answers", lambda: True)
    settings, main = Settings(ray_address="127.0.0.1:6379"), SimpleNamespace(leave=late)
    with pytest.raises(StartupError, match="why it ends"), up._leaving(settings, main):
        raise StartupError("why it ends")
    with up._leaving(settings, main):
        pass
    assert [str(record.exc_info[1]) for record in caplog.records] == 2 * ["still there: registry"]
