"""Processes of the load's own, and what goes on in the server beside them."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.exceptions import WebSocketException

from tests.live_server import PROCESSES, TERMINAL, LiveServer, until
from tests.load.material import Material
from tests.load.orders import film_params, picture_params

_ROOT = Path(__file__).resolve().parents[2]
_START_S, _END_S = 120.0, 60.0
_PAGE = 500
_FEW_PHOTOS = 16
_numbers = itertools.count()  # of the files that helpers get and leave
_KINDS = {
    **PROCESSES,
    "worker": re.compile(r"^ray::(transcode:|IDLE)"),
    "interactive child": re.compile(r"-m pipelines\.media\.child"),
    "reporter of the load": re.compile(r"^ray::report"),
    "Ray and Serve": re.compile(r"gcs_server|raylet|ray/dashboard|ray/autoscaler|ray/_private|^ray::"),
}


class Helper:
    """A process that is given a task, and leaves notes when it is done."""

    def __init__(self, module: str, task: Mapping[str, Any], folder: Path) -> None:
        name = f"{module}-{next(_numbers)}"
        self._log = folder / f"{name}.log"
        self._notes = folder / f"{name}.notes.json"
        told = folder / f"{name}.task.json"
        told.write_text(json.dumps(task))
        command = [sys.executable, "-m", f"tests.load.{module}", str(told), str(self._notes)]
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("wb"),
        )

    def notes(self, limit_s: float) -> dict[str, Any]:
        """What it noted; it has ended then."""
        try:
            self.process.communicate(timeout=limit_s)
            if not self._notes.exists():
                raise AssertionError(f"{self._notes.name} weren't left:\n{self._log.read_text()[-4000:]}")
            found: dict[str, Any] = json.loads(self._notes.read_text())
        finally:
            self.end()
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Crowd:
    """Locust's users. ``began`` is when all had come."""

    helper: Helper
    limit_s: float

    @classmethod
    def of(
        cls, url: str, headers: Mapping[str, str], material: Material, folder: Path, kind: str, **more: Any
    ) -> "Crowd":
        """Start them. ``more``: users, ramp_s, seconds, pause, seed; see Task."""
        task = {
            "url": url,
            "headers": dict(headers),
            "kind": kind,
            "film": str(material.film),
            "film_s": material.film_s,
            "clips": [str(clip) for clip in material.clips],
            "photos": [str(photo) for photo in material.photos],
            "output": str(folder),
            **more,
        }
        return cls(Helper("swarm", task, folder), more["ramp_s"] + more["seconds"] + _START_S)

    def asked(self) -> "Asked":
        """Wait until they have gone; what they asked for."""
        return Asked(**self.helper.notes(self.limit_s))


@dataclass(frozen=True)
class Asked:
    """Notes of a crowd; a sample is (began, name, milliseconds, status, had Retry-After, error).

    ``waiting``: (began, name, milliseconds until the end) of those that weren't answered by then.
    """

    began: float
    ended: float
    cpu_s: float
    samples: list[list[Any]]
    waiting: list[list[Any]]
    accepted: list[str]
    lost_events: int

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def measured(self) -> list[list[Any]]:
        """Samples of when all had come."""
        return [each for each in self.samples if each[0] >= self.began]

    def took_ms(self, begin: str, without: str = "-") -> list[float]:
        """Times of what had been answered, and so far of what hadn't; of names that begin so."""
        done = [each[2] for each in self.measured() if each[1].startswith(begin) and not each[1].startswith(without)]
        left = [each[2] for each in self.waiting if each[1].startswith(begin) and not each[1].startswith(without)]
        return done + left

    def failed(self) -> list[list[Any]]:
        return [each for each in self.samples if each[5]]


class Background:
    """Keeps so many transcodes and image jobs in the system: one that ends is followed by another."""

    def __init__(self, server: LiveServer, material: Material, transcodes: int, images: int) -> None:
        self._server, self._material = server, material
        self._kinds = ["transcode"] * transcodes + ["image-thumbnails"] * images
        self._numbers = itertools.count()
        self._jobs: dict[str, str] = {}
        self._stopping = threading.Event()
        self._full = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.ended: Counter[tuple[str, str]] = Counter()
        self.error: Exception | None = None

    def __enter__(self) -> "Background":
        self._thread.start()
        until(self._full.is_set, _START_S, lambda: f"the jobs aren't taken: {self.error}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            with self._server.client() as client, self._server.all_events() as socket:
                for kind in self._kinds:
                    self._submit(client, kind)
                self._full.set()
                while not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        change = json.loads(socket.recv(timeout=0.5))
                        kind = self._jobs.get(change["job_id"])
                        if kind and change["state"] in TERMINAL:
                            self.ended[kind, change["state"]] += 1
                            self._submit(client, kind)
        except (httpx.HTTPError, WebSocketException, OSError, AssertionError) as error:
            self.error = error

    def _submit(self, client: httpx.Client, kind: str) -> None:
        number = next(self._numbers)
        output = self._server.folder / f"background-{number}"
        if kind == "transcode":
            params = film_params(self._material.film_s, number, f"{output}.mp4")
            sources = [str(self._material.film)]
        else:
            params = {**picture_params(number), "output": str(output)}
            sources = [str(photo) for photo in self._material.photos[:_FEW_PHOTOS]]
        answer = client.post("/v1/jobs", json={"operation": kind, "sources": sources, "params": params})
        assert answer.status_code == 202, answer.text
        self._jobs[answer.json()["id"]] = kind


def active(client: httpx.Client) -> list[str]:
    """Ids of the jobs that haven't ended."""
    found = []
    for state in ("queued", "planning", "running", "paused", "verifying"):
        cursor = ""
        while cursor is not None:
            page = client.get("/v1/jobs", params={"state": state, "limit": _PAGE, "cursor": cursor}).raise_for_status()
            found += [job["id"] for job in page.json()["jobs"]]
            cursor = page.json()["next_cursor"]
    return found


def cancel_all(server: LiveServer) -> None:
    with server.client() as client:
        for job_id in active(client):
            client.post(f"/v1/jobs/{job_id}/cancel")
        until(lambda: not active(client), _START_S, lambda: "jobs aren't cancelled")


def processes(server: LiveServer) -> dict[psutil.Process, str]:
    """Each process of the server, and what it is."""
    found = {}
    for process in [*server.tree(), psutil.Process(server.process.pid if server.process else 0)]:
        try:
            command = " ".join(process.cmdline())
        except psutil.ZombieProcess:
            command = ""
        except psutil.Error:  # it has just ended
            continue
        found[process] = next((kind for kind, pattern in _KINDS.items() if pattern.search(command)), "others")
    return found


def cpu_seconds(server: LiveServer) -> dict[int, tuple[str, float]]:
    """CPU time of each process of the server so far, and what it is."""
    found = {}
    for process, kind in processes(server).items():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = kind, times.user + times.system
    return found


def cpu_between(before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]]) -> Counter[str]:
    """CPU-seconds by kind; of a process that ended in between, nothing."""
    spent: Counter[str] = Counter()
    for pid, (kind, seconds) in after.items():
        spent[kind] += seconds - before.get(pid, (kind, 0.0))[1]  # type: ignore[assignment]
    return spent


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))
