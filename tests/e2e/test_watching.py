"""A collection kept at hand by a running server: its folder is followed, and its files are warmed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live_server import LiveServer, settled, until
from PIL import Image

from pipelines.media.sample import make_sample


def picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.effect_noise((640, 480), 50).save(path)
    return settled(path)


def shown(server: LiveServer) -> dict:
    return server.get("/v1/collections/inbox").json()


@pytest.fixture(scope="module")
def folder(server: LiveServer) -> Path:
    """That of a collection with a film and a picture."""
    folder = server.folder / "inbox"
    picture(folder / "first.jpg")
    settled(make_sample(folder / "film.mkv", duration_s=1, width=128, height=72))
    server.wait(server.submit("collection-import", folder, into="inbox")["id"])
    return folder


def test_what_changes_is_imported(server, folder):
    command = [sys.executable, "-I", "-m", "serve.cli.app", "collections", "watch", "inbox", "--json"]
    begun = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(begun.stdout)["watched"]["folders"] == [str(folder)]
    picture(folder / "second.jpg")
    until(lambda: shown(server)["files"] == 3, 90, lambda: str(shown(server)))
    (folder / "first.jpg").unlink()
    until(lambda: shown(server)["missing"] == 1, 90, lambda: str(shown(server)))
    watched = shown(server)["watched"]
    assert (watched["error"], server.wait(watched["job"])["state"]) == (None, "succeeded")
    subprocess.run([*command, "--off"], env=server.env, check=True, timeout=120)
    assert shown(server)["watched"] is None


def test_a_warmed_collection_is_told_from_the_caches(server, folder):
    done = server.wait(server.submit("collection-warm", "collection:inbox", thumbnails=[160])["id"])
    assert (done["state"], done["result"]["failed"]) == ("succeeded", 0), done
    before = server.get("/v1/health").json()["cache"]
    film = server.get("/v1/media", params={"source": str(folder / "film.mkv")})
    assert film.json()["streams"][0]["width"] == 128
    for format_ in ("webp", "jpeg"):
        asked = {"source": str(folder / "second.jpg"), "w": 160, "format": format_}
        assert server.get("/v1/images", params=asked).status_code == 200
    after = server.get("/v1/health").json()["cache"]
    assert (after["hits"] - before["hits"], after["made"] - before["made"]) == (3, 0)
