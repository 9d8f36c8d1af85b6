import json

import pytest
from typer.testing import CliRunner

from serve.cli.app import app

COUNTS = {"hits": 3, "misses": 1, "made": 1, "near_hits": 7, "keys": 5, "evicted": 0}


def run(*arguments: str):
    return CliRunner().invoke(app, ["cache", *arguments])


def test_what_the_cache_holds_is_shown(server):
    server.told["cache"] = {**COUNTS, "size_bytes": 1_500_000, "limit_bytes": 256_000_000}
    assert json.loads(run("show", "--json").stdout)["cache"]["hits"] == 3
    shown = run("show").stdout
    assert "3 hits (75.0% of 4 asked for), 1 made, 7 at hand in the edge" in shown
    assert "1.5 MB of 256.0 MB, 5 keys, 0 evicted" in shown


def test_a_cache_that_nobody_asked_is_shown(server):
    server.told["cache"] = {**COUNTS, "hits": 0, "misses": 0, "size_bytes": 0, "limit_bytes": 0}
    assert "0 hits (nothing asked for yet)" in run("show").stdout


def test_a_cache_that_is_away_is_told(server):
    result = run("show")
    assert (result.exit_code, "all works without it" in result.stderr) == (1, True)


def test_purging_names_what_to_forget(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mkv").write_bytes(b"film")
    assert run("purge", "--source", "film.mkv", "--operation", "probe").exit_code == 0
    assert run("purge", "--source", "s3://library/films/a.mkv").exit_code == 0
    assert json.loads(run("purge", "--collection", "films", "--json").stdout) == {"purged": True}
    assert server.purged == [
        {"source": str(tmp_path / "film.mkv"), "operation": "probe"},
        {"source": "s3://library/films/a.mkv"},
        {"collection": "films"},
    ]


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=str)
def test_purging_nothing_is_wrong_usage(server, arguments):
    assert run("purge", *arguments).exit_code == 2
    assert server.purged == []
