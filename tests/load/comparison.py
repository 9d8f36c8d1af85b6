"""The profile ``baseline``: the same people against an application that does the work in the request.

Each person has a film in the works all the time, and looks around meanwhile. A number of people is served when at
least 99 % of their requests are answered within 250 ms, and so are all smaller numbers.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import httpx

from tests.live_server import LiveServer, free_port, until
from tests.load.helpers import Asked, Crowd, active, cancel_all
from tests.load.material import Material
from tests.load.orders import film_params, picture_params
from tests.load.plots import Plot
from tests.load.report import Line, Section, percentile, table

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WITHIN_MS, SHARE = 250.0, 0.99
USERS_BAR, OPERATIONS_BAR = 100.0, 50.0
FILM = "POST /v1/jobs, a film"
_LONGEST_S, _SHORTEST_S, _REQUESTS = 60.0, 20.0, 100  # of a step: so many requests if that takes no longer
_A_SECOND = 0.1  # requests of one person
_FAILED_STEPS = 2  # in a row, after which more people aren't tried
_START_S, _BATCH_S = 60.0, 600.0


@dataclass(frozen=True)
class Given:
    """``users`` at most, ``scale`` of the times, ``pause`` of the time that people think, ``batch`` films at once."""

    users: int
    scale: float
    pause: float
    batch: int


class Side(Protocol):
    """What is compared. ``films``: in the works now, and done since it was started."""

    name: str
    url: str
    headers: dict[str, str]

    def films(self) -> tuple[int, int]: ...
    def clear(self) -> None: ...
    def batch(self, bodies: Sequence[dict[str, Any]]) -> None: ...


class Ours:
    """The server."""

    name = "mediaray"

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self.url, self.headers = server.url, server.headers

    def films(self) -> tuple[int, int]:
        with self._server.client() as client:
            text = client.get("/v1/metrics").raise_for_status().text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if 'operation="transcode"' in line]

        def total(name: str, also: str = "") -> int:
            return int(sum(float(value) for told, value in lines if told.startswith(f"{name}{{") and also in told))

        return total("mediaray_jobs"), total("mediaray_jobs_finished_total", 'state="succeeded"')

    def clear(self) -> None:
        cancel_all(self._server)

    def batch(self, bodies: Sequence[dict[str, Any]]) -> None:
        """Do these, offered at once."""
        with self._server.client() as client:
            for body in bodies:
                assert client.post("/v1/jobs", json=body).status_code == 202
            until(lambda: not active(client), _BATCH_S, lambda: "jobs don't end")


class Baseline:
    """``baseline.py`` in a process of its own, started anew for each step."""

    name = "in the request"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.headers: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "Baseline":
        self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def clear(self) -> None:
        self._end()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "tests.load.baseline", str(port), str(self._folder)]
        with (self._folder / "baseline.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2], stdout=log, stderr=log)
        until(self._ready, _START_S, lambda: "the baseline isn't ready")

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/films").status_code == 200
        except httpx.TransportError:
            return False

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def films(self) -> tuple[int, int]:
        told = httpx.get(f"{self.url}/films", timeout=30).json()
        return told["now"], told["done"]

    def batch(self, bodies: Sequence[dict[str, Any]]) -> None:
        """Do these, offered at once."""

        def post(body: dict[str, Any]) -> None:
            assert httpx.post(f"{self.url}/v1/jobs", json=body, timeout=_BATCH_S).status_code == 200

        with ThreadPoolExecutor(len(bodies)) as pool:
            list(pool.map(post, bodies))


@dataclass(frozen=True)
class Step:
    """So many people. ``films``: in the works at the end; ``films_done`` in ``seconds``."""

    users: int
    within: float
    p50_ms: float
    p99_ms: float
    requests_per_s: float
    films: int
    films_done: int
    seconds: float
    failed: int

    @property
    def served(self) -> bool:
        return self.within >= SHARE

    def row(self) -> tuple[str, ...]:
        served = "yes" if self.served else "no"
        times = (f"{100 * self.within:.1f} %", f"{self.p50_ms:.0f}", f"{self.p99_ms:.0f}")
        films = (f"{self.films}", f"{60 * self.films_done / self.seconds:.1f}")
        return (f"{self.users}", served, *times, f"{self.requests_per_s:.1f}", *films, f"{self.failed}")


_COLUMNS = (
    "people",
    "served",
    "inside 250 ms",
    "p50, ms",
    "p99, ms",
    "requests/s",
    "films in the works",
    "films/min",
    "failed",
)


def baseline(server: LiveServer, material: Material, given: Given) -> Section:
    """Both in one run."""
    films = given.batch
    with Baseline(server.folder) as theirs:
        ours = Ours(server)
        batches = {side.name: _batch_s(side, material, server.folder, films) for side in (ours, theirs)}
        steps = {side.name: _steps(side, material, server.folder, given) for side in (theirs, ours)}
    mine, other = _best(steps[ours.name]), _best(steps[theirs.name])
    section = Section("baseline: the same people and films against an application that does the work in the request")
    section.lines = [
        Line("people served by mediaray", mine.users if mine else 0),
        Line("people served in the request", other.users if other else 0),
        Line(
            "times as many people", (mine.users if mine else 0) / max(1, other.users if other else 0), least=USERS_BAR
        ),
        Line("films in the works while they are served, mediaray", mine.films if mine else 0),
        Line("the same, in the request", other.films if other else 0),
        Line(
            "times as many films",
            (mine.films if mine else 0) / max(1, other.films if other else 0),
            least=OPERATIONS_BAR,
        ),
        *(
            Line(f"{films} films and {films} folders of pictures at once, {name}", s, "s")
            for name, s in batches.items()
        ),
    ]
    section.text = [f"{name}:\n\n{table(_COLUMNS, [step.row() for step in found])}" for name, found in steps.items()]
    lines = {name: [(float(step.users), 100 * step.within) for step in found] for name, found in steps.items()}
    section.plots["baseline"] = Plot("Requests answered within 250 ms", "people", "%", lines, log_x=True)
    section.failures = [f"{step.failed} requests of {step.users} people" for step in steps[ours.name] if step.failed]
    return section


def _best(steps: Sequence[Step]) -> Step | None:
    """The most people who were served, as all fewer were."""
    best = None
    for step in steps:
        if not step.served:
            break
        best = step
    return best


def _steps(side: Side, material: Material, folder: Path, given: Given) -> list[Step]:
    found: list[Step] = []
    for number, users in enumerate(each for each in STEPS if each <= given.users):
        side.clear()
        found.append(_step(side, material, folder, users, given, number))
        print(f"{side.name}: {' '.join(found[-1].row())}", flush=True)
        if len(found) >= _FAILED_STEPS and not any(step.served for step in found[-_FAILED_STEPS:]):
            break
    side.clear()
    return found


def _step(side: Side, material: Material, folder: Path, users: int, given: Given, number: int) -> Step:
    seconds = given.scale * min(_LONGEST_S, max(_SHORTEST_S, _REQUESTS / (_A_SECOND * users)))
    crowd = Crowd.of(
        side.url,
        side.headers,
        material,
        folder,
        "owner",
        users=users,
        ramp_s=max(1.0, given.scale * users / 25),
        seconds=seconds,
        pause=given.pause,
        seed=3 + number + (100 if side.name == Ours.name else 0),
    )
    last: tuple[int, int] = (0, 0)
    first, began = side.films()[1], time.monotonic()
    try:
        while crowd.helper.process.poll() is None:
            now = _told(side.films)
            last = now or last
            time.sleep(2)
        asked = crowd.asked()
    finally:
        crowd.helper.end()
    return _measured(asked, side, users, last, last[1] - first, time.monotonic() - began)


def _told(ask: Callable[[], tuple[int, int]]) -> tuple[int, int] | None:
    try:
        return ask()
    except httpx.HTTPError:
        return None


def _measured(asked: Asked, side: Side, users: int, films: tuple[int, int], done: int, seconds: float) -> Step:
    # To send a film is a request of its own time where the work is done in it: there only the others count.
    left_out = "-" if side.name == Ours.name else FILM
    took = asked.took_ms("GET", left_out) + asked.took_ms("POST", left_out)
    failed = [each for each in asked.failed() if not each[1].startswith(left_out)]
    inside = sum(ms <= WITHIN_MS for ms in took) - len([each for each in failed if each[2] <= WITHIN_MS])
    return Step(
        users=users,
        within=max(0.0, inside / max(1, len(took))),
        p50_ms=percentile(took, 50),
        p99_ms=percentile(took, 99),
        requests_per_s=len(took) / asked.seconds,
        films=films[0],
        films_done=done,
        seconds=seconds,
        failed=len(failed),
    )


def _batch_s(side: Side, material: Material, folder: Path, films: int) -> float:
    """Seconds until all of a batch is done."""
    bodies: list[dict[str, Any]] = []
    for number in range(films):
        output = str(folder / f"batch-{side.name.replace(' ', '-')}-{number}")
        params = film_params(material.film_s, number, f"{output}.mp4")
        bodies.append({"operation": "transcode", "source": str(material.film), "params": params})
        photos = [str(photo) for photo in material.photos[:8]]
        params = picture_params(number)
        bodies.append({"operation": "image-thumbnails", "sources": photos, "params": params})
    side.clear()
    began = time.monotonic()
    side.batch(bodies)
    return time.monotonic() - began
