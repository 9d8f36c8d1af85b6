"""The drill: a backup under load, everything is killed, its home is gone; another home goes on with all jobs."""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from clips import make_clip, picture_digest
from live_server import LiveServer, settled, until
from PIL import Image

from cluster.backup_file import opened_backup
from cluster.identity import SETTLED_S
from pipelines.bulk.collection import Collection
from pipelines.bulk.tasks import task_of

FILMS, PICTURES, LOOKS = 4, 300, 5
PARAMS = {"sizes": ["64"], "format": "png"}
_SLOW = {"profile": "mobile-480p", "preset": "medium", "fresh": True, "overwrite": True}


@pytest.fixture
def server() -> Iterator[LiveServer]:
    server = LiveServer().start()
    try:
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture
def clip(server: LiveServer) -> Path:
    return make_clip(server.folder / "clip.mkv", seconds=8, width=480, height=270)


@pytest.fixture
def library(server: LiveServer) -> Path:
    folder = server.folder / "library"
    folder.mkdir()
    for number in range(PICTURES):
        levels = np.random.default_rng(number).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{number:04d}.jpg", quality=80)
        settled(folder / f"{number:04d}.jpg")
    return folder


def command(server: LiveServer, *arguments: str | Path) -> dict[str, Any]:
    run = [sys.executable, "-I", "-m", "serve.cli.app", *map(str, arguments), "--json"]
    done = subprocess.run(run, env=server.env, cwd=server.root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def move_to_another_home(server: LiveServer) -> None:
    """As on another machine: nothing of the old home is there."""
    shutil.rmtree(server.home)
    server.home = server.root / "home-2"
    server.env["MEDIARAY_HOME"] = str(server.home)


class Load:
    """Submits short jobs all the time; ``accepted`` are their ids."""

    def __init__(self, server: LiveServer, clip: Path) -> None:
        self.accepted: list[str] = []
        self._server, self._clip = server, clip
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _submit(self) -> None:
        with self._server.client() as client:
            while not self._ended.is_set():
                body = {"operation": "probe", "source": str(self._clip)}
                with contextlib.suppress(httpx.HTTPError):
                    answer = client.post("/v1/jobs", json=body)
                    if answer.status_code == 202:
                        self.accepted.append(answer.json()["id"])


def fingerprints(events: list[dict[str, str]]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(sorted(fields.items())) for fields in events)


@pytest.mark.timeout(1800)
def test_no_accepted_job_is_lost_with_a_home(server, clip, library):
    calm = server.wait(server.submit("transcode", clip, output=str(server.folder / "calm.mp4"), **_SLOW)["id"])
    for number in range(LOOKS):
        server.wait(server.submit("probe", clip, key=f"look-{number}")["id"])
    imported = server.wait(server.submit("collection-import", library, into="photos")["id"])
    assert imported["result"]["new"] == PICTURES, imported["error"]

    films = [
        server.submit("transcode", clip, key=f"film-{n}", output=str(server.folder / f"{n}.mp4"), **_SLOW)["id"]
        for n in range(FILMS)
    ]
    made = {"task": "image-thumbnails", "task_params": PARAMS, "output": str(server.folder / "made"), "overwrite": True}
    run = server.submit("collection-process", "collection:photos", **made)["id"]
    until(lambda: server.job(films[0])["progress"] > 0.1, 120, server.story)
    until(lambda: server.job(run)["progress"] > 0.05, 120, server.story)

    file = server.root / "backup.zip"
    with Load(server, clip) as load:
        until(lambda: len(load.accepted) > 20, 60, server.story)
        before = [*films, run, *load.accepted]
        saved = command(server, "backup", file)
        server.kill_everything()
    secrets = [server.token, (server.home / "redis" / "password").read_text().strip()]
    assert not [secret for secret in secrets if secret.encode() in file.read_bytes()]
    with opened_backup(file) as reader:
        events = [line["fields"] for line in reader.lines("log.jsonl")]
    assert saved["active"] >= 2

    move_to_another_home(server)
    restored = command(server, "restore", file)
    assert {name: restored[name] for name in saved if name in restored} == {
        name: value for name, value in saved.items() if name in restored
    }
    server.start()
    with server.client() as client:
        listed, cursor = [], ""
        while cursor is not None:
            page = client.get("/v1/jobs", params={"limit": 500, "cursor": cursor}).json()
            listed += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
    assert len(listed) == len(set(listed)) == sum(saved["jobs"].values())
    assert set(before) <= set(listed)

    jobs = [server.wait(job_id, limit_s=300) for job_id in listed]
    assert [job["state"] for job in jobs if job["state"] != "succeeded"] == [], [job["error"] for job in jobs]
    assert fingerprints(server._event_log()[: len(events)]) == fingerprints(events)
    assert server.submit("probe", clip, key="look-0")["id"] in listed
    assert {picture_digest(server.folder / f"{n}.mp4") for n in range(FILMS)} == {
        picture_digest(Path(calm["artifacts"][0]["path"]))
    }
    photos = Collection.named(server.home, "photos")
    assert len(photos.files.read()) == PICTURES
    results = photos.results(task_of("image-thumbnails", PARAMS, made["output"])).read()
    assert results["state"].to_pylist() == ["done"] * PICTURES
    assert len(list((server.folder / "made").rglob("*.png"))) == PICTURES
    until(lambda: not server.part_files(), 10, lambda: f"left behind: {server.part_files()}")


@pytest.mark.timeout(900)
def test_finished_chunks_that_are_in_a_backup_are_taken_over(server):
    clip = make_clip(server.folder / "clip.mkv", seconds=30, width=480, height=270)
    # Pieces of a film that may still be written aren't kept.
    until(lambda: time.time() - clip.stat().st_ctime > SETTLED_S, 10, lambda: "the clock stands still")
    target = str(server.folder / "film.mp4")
    film = server.submit("transcode", clip, profile="mobile-480p", preset="medium", output=target)["id"]
    until(lambda: len(list((server.home / "kept").glob("*/*/manifest.json"))) >= 2, 120, server.story)
    saved = command(server, "backup", server.root / "backup.zip", "--units")
    server.kill_everything()
    assert saved["pieces"] >= 2
    move_to_another_home(server)
    command(server, "restore", server.root / "backup.zip")
    Path(target).unlink(missing_ok=True)  # if it was faster
    server.start()
    job = server.wait(film, limit_s=300)
    assert job["state"] == "succeeded", job["error"]
    assert job["result"]["reused_chunks"] >= 1
    calm = server.wait(server.submit("transcode", clip, **_SLOW, output=str(server.folder / "calm.mp4"))["id"])
    assert calm["result"]["reused_chunks"] == 0
    assert picture_digest(Path(target)) == picture_digest(Path(calm["artifacts"][0]["path"]))
