"""The second look, over a real server."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clips import make_clip
from live_server import LiveServer, live_server, until


def probed(server: LiveServer, source: Path, **params) -> dict:
    return server.wait(server.submit("probe", source, **params)["id"])


@pytest.fixture
def film(server, media, tmp_path) -> Path:
    """A file of its own, that was written long enough ago to be trusted: a probe of it is in the cache."""
    film = Path(shutil.copy(media / "video" / "h264_aac51_720p_bbb.mp4", server.folder / f"{tmp_path.name}.mp4"))
    until(lambda: probed(server, film)["cached"], 30, lambda: "no probe was told from the cache")
    return film


def test_the_same_work_twice_is_told_from_the_cache(server, media):
    source = media / "video" / "h264_pcm_1080p50.mov"
    first, second = probed(server, source, fresh=True), probed(server, source)
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["result"] == first["result"]
    assert (second["state"], second["progress"]) == ("succeeded", 1.0)


@pytest.mark.parametrize("level", ["quick", "full"])
def test_a_validation_reads_the_file_each_time_since_rot_leaves_no_note(server, film, level):
    """The film is trusted: a probe of it is told from the cache."""
    validated = [server.wait(server.submit("validate", film, level=level)["id"]) for _ in range(2)]
    assert [(job["state"], job["cached"]) for job in validated] == [("succeeded", False)] * 2


def test_fresh_work_is_done(server, film):
    assert not probed(server, film, fresh=True)["cached"]


def test_a_changed_file_is_seen_at_the_next_look(server, film):
    before = server.get("/v1/media", params={"source": str(film)}).json()
    make_clip(film, seconds=1)
    assert not probed(server, film)["cached"]
    assert server.get("/v1/media", params={"source": str(film)}).json()["duration_s"] != before["duration_s"]


@pytest.mark.parametrize("what", ["source", "operation", "collection"])
def test_what_was_purged_is_done_again(server, film, what):
    named = {"source": str(film), "operation": "probe", "collection": "purged"}[what]
    if what == "collection":
        server.wait(server.submit("collection-import", film, into="purged")["id"])
    with server.client() as client:
        assert client.delete("/v1/cache", params={what: named}).status_code == 204
    assert [probed(server, film)["cached"] for _ in range(2)] == [False, True]


def test_the_second_look_is_at_hand_in_the_edge(server, film):
    def near_hits() -> int:
        return server.get("/v1/health").json()["cache"]["near_hits"]

    server.get("/v1/media", params={"source": str(film)})
    before = near_hits()
    server.get("/v1/media", params={"source": str(film)})
    assert near_hits() == before + 1


def test_many_pages_that_ask_for_one_picture_have_it_made_once(server, media):
    source = media / "image" / "jpeg_gps.jpg"

    def made() -> int:
        return server.get("/v1/health").json()["cache"]["made"]

    def ask(_: int) -> int:
        with server.client() as client:
            return client.get("/v1/images", params={"source": str(source), "w": 217}).status_code

    before = made()
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {200}
    assert made() == before + 1


def test_without_its_cache_a_server_works_and_says_so():
    with live_server() as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=2)
        (cache,) = server.find("cache")
        cache.suspend()
        try:
            health = server.get("/v1/health").json()
            assert (health["status"], health["checks"]["cache"], health["cache"]) == ("degraded", "away", None)
            assert server.get("/v1/health/ready").status_code == 200
            for _ in range(2):
                assert server.get("/v1/media", params={"source": str(clip)}).status_code == 200
            assert probed(server, clip)["state"] == "succeeded"
            with server.client() as client:
                assert client.delete("/v1/cache", params={"operation": "probe"}).status_code == 503
        finally:
            cache.resume()
        cache.kill()  # it is started again, empty
        until(lambda: server.get("/v1/health").json()["checks"]["cache"] == "ok", 30, lambda: "the cache isn't back")
        until(lambda: probed(server, clip)["cached"], 30, lambda: "the cache isn't used again")


def test_the_command_shows_and_purges(server, film):
    def run(*arguments: str) -> dict:
        command = [sys.executable, "-I", "-m", "serve.cli.app", "cache", *arguments, "--json"]
        done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)

    assert run("show")["cache"]["hits"] > 0
    assert run("purge", "--source", str(film)) == {"purged": True}
    assert not probed(server, film)["cached"]
