"""SIGKILL of everything while a collection is worked on: the next server goes on, and what comes of it is the same."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bombs import bombs
from live_server import LiveServer, settled, until
from PIL import Image

from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import MOST_ATTEMPTS
from pipelines.bulk.tasks import task_of

GOOD, BROKEN = 800, 16
TWINS, HUGE = 20, 4
SLOTS = 2
PARAMS = {"sizes": ["64"]}
_NOT_COMPARED = {"at", "attempts", "artifacts", "stamp"}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer().start()
    try:
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture(scope="module")
def library(server: LiveServer) -> Path:
    """Small pictures, each with a content of its own, and some that are none."""
    folder = server.folder / "library"
    for number in range(GOOD + BROKEN):
        path = folder / f"{number % 10}" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < GOOD:
            levels = np.random.default_rng(number).integers(0, 256, (120, 160, 3), dtype=np.uint8)
            Image.fromarray(levels).save(path, quality=80)
        else:
            path.write_bytes(b"\xff\xd8\xff\xe0" + number.to_bytes(4, "big"))
        settled(path)
    return folder


def submit(server: LiveServer, library: Path, name: str, operation: str) -> str:
    if operation == "collection-import":
        return str(server.submit(operation, library, into=name)["id"])
    return str(server.submit(operation, f"collection:{name}", task="image-thumbnails", task_params=PARAMS)["id"])


def catalogue(server: LiveServer, name: str) -> list[dict[str, Any]]:
    """All that a collection holds, but for times, attempts and where it is itself."""
    collection = Collection.named(server.home, name)
    files = {row["uri"]: row for row in collection.files.read().to_pylist()}
    results = {
        row["identity"]: row for row in collection.results(task_of("image-thumbnails", PARAMS)).read().to_pylist()
    }
    rows = []
    for uri in sorted(files):
        result = results.get(files[uri]["identity"], {})
        made = [(Path(each["path"]).name, Path(each["path"]).read_bytes()) for each in result.get("artifacts", ())]
        told = {key: value for key, value in (files[uri] | result).items() if key not in _NOT_COMPARED}
        rows.append({**told, "made": made})
    return rows


@pytest.fixture(scope="module")
def undisturbed(server: LiveServer, library: Path) -> list[dict[str, Any]]:
    for operation in ("collection-import", "collection-process"):
        job = server.wait(submit(server, library, "calm", operation))
        assert job["state"] == "succeeded", job["error"]
    rows = catalogue(server, "calm")
    assert sum(row["state"] == "done" for row in rows) == GOOD
    return rows


@pytest.mark.timeout(3600)
def test_a_killed_run_goes_on_and_its_catalogue_is_the_same(server, library, undisturbed, rounds):
    for number in range(max(2, rounds // 2)):
        luck = random.Random(number)
        name = f"round-{number}"
        killed_in = luck.choice(("collection-import", "collection-process", "collection-process"))
        for operation in ("collection-import", "collection-process"):
            job_id = submit(server, library, name, operation)
            if operation == killed_in:
                kill_at(server, job_id, luck.uniform(0.05, 0.8))
            job = server.wait(job_id, limit_s=300)
            assert job["state"] == "succeeded", job["error"]
            taken_back = [unit for unit, _ in server.taken_back([job_id]) if unit.startswith("batch-")]
            assert len(taken_back) <= SLOTS, taken_back
        assert catalogue(server, name) == undisturbed, json.dumps(job["result"])


@pytest.fixture(scope="module")
def mixed_library(server: LiveServer, library: Path) -> Path:
    """Pictures of which some have the same stem; and some that are too large, which might do better a moment later."""
    folder = server.folder / "mixed"
    shutil.copytree(library, folder)
    for number in range(TWINS):
        levels = np.random.default_rng(10_000 + number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        for suffix in ("png", "webp"):
            Image.fromarray(levels + (suffix == "png")).save(folder / f"{number % 10}" / f"{number:04d}.{suffix}")
    (huge,) = [path for path in bombs(server.folder / ".bombs") if path.name == "pixels.png"]
    for number in range(HUGE):
        (folder / "0" / f"huge-{number}.png").write_bytes(huge.read_bytes() + bytes([number]))
    for path in folder.rglob("*.*"):
        settled(path)
    return folder


def into_a_folder(server: LiveServer, library: Path, name: str, kill: float | None) -> tuple[dict[str, bytes], Any]:
    """The files that were made of those that another run hadn't been done with, by name; and what failed."""
    output = server.folder / f"out-{name}"
    params = {"task": "image-thumbnails", "task_params": PARAMS, "output": str(output)}
    for operation, source, told in (
        ("collection-import", library, {"into": name}),
        ("collection-process", f"collection:{name}", {**params, "where": "path LIKE '%0.jpg'"}),
    ):
        job = server.wait(str(server.submit(operation, source, **told)["id"]), limit_s=300)
        assert job["state"] == "succeeded", job["error"]
    where = "image_thumbnails_state IS NULL"  # the job itself changes what meets it
    job_id = str(server.submit("collection-process", f"collection:{name}", **params, where=where)["id"])
    if kill is not None:
        kill_at(server, job_id, kill)
    job = server.wait(job_id, limit_s=300)
    assert job["state"] == "succeeded", job["error"]
    results = Collection.named(server.home, name).results(task_of("image-thumbnails", PARAMS, str(output)))
    failed = sorted((row["code"], row["attempts"]) for row in results.read().to_pylist() if row["state"] == "failed")
    made = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    return made, (failed, {key: job["result"][key] for key in ("files", "done", "known", "failed", "given_up")})


@pytest.mark.timeout(3600)
@pytest.mark.slow
def test_a_killed_run_into_a_folder_gives_the_same_names_and_gives_up_no_try(server, mixed_library, rounds):
    calm = into_a_folder(server, mixed_library, "calm-folder", kill=None)
    made, (failed, result) = calm
    assert len(made) == GOOD + 2 * TWINS
    assert failed == [("limit_exceeded", MOST_ATTEMPTS)] * HUGE + [("not_media", 1)] * BROKEN
    assert result["done"] == GOOD + 2 * TWINS - GOOD // 10
    for number in range(max(2, rounds // 2)):
        kill = random.Random(number).uniform(0.05, 0.9)
        assert into_a_folder(server, mixed_library, f"folder-{number}", kill) == calm, f"killed at {kill:.2f}"


def kill_at(server: LiveServer, job_id: str, progress: float) -> None:
    """Kill all there is when the job is so far, and start the next server."""
    until(lambda: server.job(job_id)["progress"] >= progress, 120, server.story)
    server.kill_everything()
    server.start()
