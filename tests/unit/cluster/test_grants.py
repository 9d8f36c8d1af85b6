import stat
from pathlib import Path

import pytest

from cluster.grants import current_roots, grant
from cluster.home import Home
from cluster.settings import Settings


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.create(tmp_path / "home")


def roots(home: Home, **changes):
    return current_roots(Settings(home=home.path, **changes))


def test_without_a_grant_only_artifacts_are_read_and_written(home):
    assert roots(home).read == roots(home).write == (home.artifacts,)


def test_a_folder_granted_for_writing_may_be_read_too(home):
    grant(home, read=[Path("/films")], write=[Path("/out")])
    assert set(roots(home).read) == {Path("/films"), Path("/out"), home.artifacts}
    assert set(roots(home).write) == {Path("/out"), home.artifacts}


def test_grants_add_up(home):
    grant(home, read=[Path("/a")], write=[])
    grant(home, read=[Path("/b")], write=[])
    assert set(roots(home).read) >= {Path("/a"), Path("/b")}


def test_the_grants_are_the_user_s_alone(home):
    grant(home, read=[Path("/a")], write=[])
    assert stat.S_IMODE((home.path / "grants.json").stat().st_mode) == 0o600


def test_configured_roots_stand_above_grants(home):
    grant(home, read=[Path("/a")], write=[Path("/b")])
    found = roots(home, roots=("/films",), output_roots=())
    assert found.read == (Path("/films"), home.artifacts)
    assert found.write == (home.artifacts,)


@pytest.mark.parametrize("text", ["", "[]", '{"read": 5}', '{"read": []}'])
def test_damaged_grants_grant_nothing(home, text):
    (home.path / "grants.json").write_text(text)
    assert roots(home).read == (home.artifacts,)
