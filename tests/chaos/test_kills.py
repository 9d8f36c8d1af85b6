"""SIGKILL, one part at a time and all at once, while ten jobs run: no accepted job is lost, no output is wrong."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from clips import make_clip, picture_digest
from live_server import LiveServer, live_server, lives, until
from PIL import Image

JOBS = 10
SLOTS = 2
PARTS = ("child", "worker", "dispatcher", "registry", "replica", "haproxy", "redis")
MOST_KILLED = (("worker",), ("dispatcher",), PARTS)
RECOVERY_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def clip(server: LiveServer) -> Path:
    return make_clip(server.folder / "clip.mkv", seconds=8, width=480, height=270)


@pytest.fixture(scope="module")
def undisturbed(server: LiveServer, clip: Path) -> str:
    """The pictures of an output that nothing disturbed, and that was made of chunks."""
    return calm_digest(server, clip)


def calm_digest(server: LiveServer, clip: Path) -> str:
    job = server.wait(submit(server, clip, "calm")["id"])
    assert job["result"]["chunks"] >= 4, job
    return picture_digest(Path(job["artifacts"][0]["path"]))


def submit(server: LiveServer, clip: Path, name: str) -> dict:
    target = str(server.folder / f"{name}.mp4")
    params = {"profile": "mobile-480p", "preset": "medium", "fresh": True, "output": target}
    return accepted(server, name, "transcode", clip, params)


def render(server: LiveServer, photo: Path, name: str) -> dict:
    params = {"sizes": ["300"], "format": "png", "output": str(server.folder / name)}
    return accepted(server, name, "image-thumbnails", photo, params)


def accepted(server: LiveServer, key: str, operation: str, source: Path, params: dict) -> dict:
    """Submit as a client does that wants its job done once: the same key until it is accepted; all of it anew."""
    job: dict = {}

    def sent() -> bool:
        try:
            job.update(server.submit(operation, source, key=key, **params))
        except (httpx.HTTPError, AssertionError):
            return False
        return True

    until(sent, RECOVERY_S, lambda: "no job was accepted")
    return job


def check_all_whole(server: LiveServer, names: list[str], ids: list[str], undisturbed: str) -> None:
    """All succeeded, each picture is the undisturbed one's, and no more chunks were done again than were in flight."""
    jobs = [server.wait(job_id, limit_s=300) for job_id in ids]
    assert [job["state"] for job in jobs] == ["succeeded"] * len(jobs), [job["error"] for job in jobs]
    outputs = [picture_digest(server.folder / f"{name}.mp4") for name in names]
    assert outputs == [undisturbed] * len(names)
    again = [unit for unit, _ in server.taken_back(ids) if unit.startswith("chunk-")]
    assert len(again) <= SLOTS, again
    until(lambda: not server.part_files(), 10, lambda: f"left behind: {server.part_files()}")


def disturb(server: LiveServer, kinds: tuple[str, ...], luck: random.Random) -> None:
    """Kill parts at a moment of luck's choosing, when each of them is there."""
    pause_until = time.monotonic() + luck.uniform(0.2, 2.0)
    until(lambda: time.monotonic() > pause_until, 5, lambda: "")
    # Looked for and killed at one go: a worker shows its unit only while it does one.
    until(lambda: server.kill(*kinds), RECOVERY_S, lambda: f"not all of {kinds} run")


EACH = [pytest.param((part,), marks=pytest.mark.slow) for part in PARTS]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("parts", [*EACH, PARTS], ids=lambda parts: "+".join(parts))
def test_no_job_is_lost_and_every_output_is_whole(server, clip, undisturbed, rounds, parts):
    for number in range(rounds if parts in MOST_KILLED else max(1, rounds // 2)):
        luck = random.Random(f"{parts}-{number}")
        names = [f"{'-'.join(parts)}-{number}-{index}" for index in range(JOBS)]
        ids = [submit(server, clip, name)["id"] for name in names]
        disturb(server, parts, luck)
        check_all_whole(server, names, ids, undisturbed)
        server.wait_ready()


SHORT_JOBS = 40


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("parts", [("runner",), ("dispatcher",), ("runner", "dispatcher", "redis")], ids="+".join)
def test_no_short_job_is_lost(server, rounds, parts):
    """Jobs that a worker goes through, from the plan to the end."""
    photo = server.folder / "photo.png"
    Image.effect_noise((900, 600), 50).save(photo)
    for number in range(max(1, rounds // 2)):
        luck = random.Random(f"{parts}-{number}")
        names = [f"short-{'-'.join(parts)}-{number}-{index}" for index in range(SHORT_JOBS)]
        kill_after, killed = luck.randrange(5, SHORT_JOBS - 5), False
        ids = []
        for index, name in enumerate(names):
            ids.append(render(server, photo, name)["id"])
            if index >= kill_after and not killed:
                killed = server.kill(*parts)
        assert killed
        jobs = [server.wait(job_id, limit_s=300) for job_id in ids]
        assert [job["state"] for job in jobs] == ["succeeded"] * len(jobs), [job["error"] for job in jobs]
        made = {(server.folder / name / "photo-300w.png").read_bytes() for name in names}
        assert len(made) == 1
        until(lambda: not server.part_files(), 10, lambda: f"left behind: {server.part_files()}")
        server.wait_ready()


@pytest.mark.timeout(600)
def test_a_stopped_worker_is_ended_after_its_lease_and_its_unit_done_by_another(clip_server):
    server, clip = clip_server
    target = server.folder / "stopped.mp4"
    whole = {"profile": "mobile-480p", "preset": "slow", "chunk_s": 3600}  # in one unit, by one worker
    job = server.submit("transcode", clip, output=str(target), **whole)
    until(lambda: bool(server.find("worker")), 30, lambda: "no worker")
    (worker,) = server.find("worker")
    family = [worker, *worker.children(recursive=True)]
    for process in family:
        process.suspend()
    done = server.wait(job["id"], limit_s=240)
    assert done["state"] == "succeeded", done["error"]
    until(lambda: not any(map(lives, family)), 10, lambda: f"these live: {[each for each in family if lives(each)]}")
    until(lambda: not server.part_files(), 10, lambda: f"left behind: {server.part_files()}")


@pytest.fixture
def clip_server() -> Iterator[tuple[LiveServer, Path]]:
    """A server whose leases are short."""
    with live_server(MEDIARAY_LEASE_S="2") as running:
        yield running, make_clip(running.folder / "clip.mkv", seconds=12)


@pytest.mark.timeout(900)
def test_the_next_up_goes_on_where_the_killed_one_was():
    server = LiveServer().start()
    try:
        clip = make_clip(server.folder / "clip.mkv", seconds=8, width=480, height=270)
        undisturbed = calm_digest(server, clip)
        names = [f"job-{index}" for index in range(JOBS)]
        ids = [submit(server, clip, name)["id"] for name in names]
        until(lambda: bool(server.find("child")), 30, lambda: "nothing encodes")
        tree = server.tree()
        server.kill_everything()
        until(lambda: not any(map(lives, tree)), 5, lambda: f"these live: {[each for each in tree if lives(each)]}")
        server.start()
        check_all_whole(server, names, ids, undisturbed)
        server.stop()
        until(lambda: not any(map(lives, tree)), 10, lambda: f"these live: {[each for each in tree if lives(each)]}")
    finally:
        server.stop()
        server.remove()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_when_only_up_is_killed_nothing_of_it_stays():
    server = LiveServer().start()
    try:
        tree = server.tree()
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        until(lambda: not any(map(lives, tree)), 90, lambda: f"these live: {[each for each in tree if lives(each)]}")
    finally:
        server.remove()
