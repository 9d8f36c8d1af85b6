"""Validation over real HTTP, and by the command line."""

import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def film(server, media):
    """A real film, in a folder where it can be damaged."""
    return shutil.copy(media / "video" / "h264_aac51_720p_bbb.mp4", server.folder / "bunny.mp4")


def validated(server, source, **params):
    job = server.wait(server.submit("validate", source, **params)["id"])
    assert job["state"] == "succeeded", job["error"]
    return job


def test_a_whole_film_is_ok(server, film):
    result = validated(server, film)["result"]
    assert (result["verdict"], result["frames"], result["findings"]) == ("ok", 132, [])


def test_a_damaged_film_is_a_verdict_and_no_failure(server, film):
    content = bytearray(film.read_bytes())
    content[600_000:600_400] = bytes(400)
    film.write_bytes(content)
    result = validated(server, film)["result"]
    assert result["verdict"] == "broken"
    assert all(finding["message"] for finding in result["findings"])
    assert result["frames"] > 100


def test_a_quick_look_finds_that_a_film_was_cut_off(server, film):
    film.write_bytes(film.read_bytes()[:-200_000])
    assert validated(server, film, level="quick")["result"]["verdict"] == "broken"


def test_text_is_broken_and_no_failure(server):
    text = server.folder / "letters.mp4"
    text.write_text("hello " * 1000)
    result = validated(server, text)["result"]
    assert (result["verdict"], result["findings"][0]["code"]) == ("broken", "unreadable")


def test_rot_is_found_by_hashes_that_were_kept(server, film):
    target = server.folder / "bunny.hashes.parquet"
    job = validated(server, film, hashes=True, output=str(target))
    assert [artifact["name"] for artifact in job["artifacts"]] == ["bunny.hashes.parquet"]
    assert validated(server, film, against=str(target))["result"]["verdict"] == "ok"
    content = bytearray(film.read_bytes())
    content[600_000] ^= 1
    film.write_bytes(content)
    compared = validated(server, film, against=str(target))["result"]["compared"]
    assert compared["changed"] > 0
    assert compared["runs"][0]["begin_s"] >= 0


def test_hashes_outside_the_roots_are_refused(server, film):
    job = server.wait(server.submit("validate", film, against="/etc/passwd")["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "source_outside_roots")


def test_a_person_is_told_the_verdict_and_what_differs(server, film):
    validated(server, film, hashes=True, output=str(server.folder / "person.hashes.parquet"))
    command = [sys.executable, "-I", "-m", "serve.cli.app", "validate", film.name, "--against", "person.hashes.parquet"]
    done = subprocess.run(
        command, env=server.env, cwd=server.folder, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "verdict: ok" in done.stdout
    assert "changed: 0" in done.stdout
