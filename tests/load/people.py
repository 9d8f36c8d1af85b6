"""The people of the load: what each does, in which shares, and how long they think. For Locust's processes only.

The shares and the times of thought make about 100 requests a second of 1,000 people.
"""

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust import FastHttpUser, constant, task
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.load.orders import film_params
from tests.load.sequence import Sequence

ENDED = {"succeeded", "failed", "cancelled"}
THINKS_S = (7.0, 17.0)
ARRIVES_S = 1.0  # Locust lets all of a second come at once, which people don't
WIDTHS = (160, 320, 480)
FILM = "POST /v1/jobs, a film"
FILM_WATCHED = "WS /v1/jobs/{id}/events, a film's"
_PATIENCE_S = 30.0


class LostEventsError(Exception):
    """A socket left out events, or closed before the job's end."""


@dataclass
class Task:
    """What a process is to do: who comes, how many, for how long, and what they ask for.

    ``pause``: they think so many times as long as people do.
    """

    url: str
    headers: Mapping[str, str]
    kind: str
    users: int
    ramp_s: float
    seconds: float
    film: str
    film_s: float
    clips: list[str]
    photos: list[str]
    output: str
    seed: int = 1
    pause: float = 1.0


@dataclass
class Notes:
    """What was asked and what came: ``asked`` are requests under way; ``accepted`` the jobs that were answered 202."""

    samples: list[tuple[float, str, float, int, bool, str]] = field(default_factory=list)
    asked: dict[object, tuple[float, str]] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    lost_events: int = 0

    def take(self, began: float, name: str, took_ms: float, answer: Any, error: Any) -> None:
        status = int(getattr(answer, "status_code", 0) or 0)
        headers = getattr(answer, "headers", None) or {}
        told = "" if error is None else f"{type(error).__name__}: {error}"[:200]
        self.samples.append((began, name, took_ms, status, "retry-after" in headers, told))


class Person(FastHttpUser):
    """Asks, and notes it."""

    abstract = True
    given: Task
    notes: Notes
    count = 0

    def on_start(self) -> None:
        type(self).count += 1
        self.number = self.count
        self.dice = random.Random(self.given.seed * 100_000 + self.number)
        self.seen: list[str] = []
        gevent.sleep(self.dice.uniform(0, ARRIVES_S))

    def ask(self, method: str, path: str, name: str, **more: Any) -> Any:
        """The answer; an unsuccessful one is noted as such."""
        mark = object()
        self.notes.asked[mark] = (time.time(), name)
        try:
            headers = {**self.given.headers, **more.pop("headers", {})}
            return self.client.request(method, path, name=name, headers=headers, **more)
        finally:
            del self.notes.asked[mark]

    def get(self, path: str, name: str, **more: Any) -> Any:
        return self.ask("GET", path, f"GET {name}", **more)

    def post_job(self, body: Mapping[str, Any], name: str = "POST /v1/jobs") -> dict[str, Any] | None:
        answer = self.ask("POST", "/v1/jobs", name, json=body)
        if answer.status_code not in (200, 202):
            return None
        job: dict[str, Any] = answer.json()
        self.notes.accepted.append(job["id"])
        return job

    def watch(self, job_id: str, name: str) -> str:
        """Follow a job's events to its end; the state it ended in."""
        url = f"ws{self.given.url.removeprefix('http')}/v1/jobs/{job_id}/events"
        began, state, seen = time.time(), "", Sequence()
        error: Exception | None = None
        try:
            with connect(url, additional_headers=dict(self.given.headers), open_timeout=_PATIENCE_S) as socket:
                for text in socket:
                    event = json.loads(text)
                    seen.take(event)
                    state = event["state"]
        except (OSError, WebSocketException) as raised:
            error = raised
        if error is None and (seen.lost or state not in ENDED):
            error = LostEventsError(f"{seen.lost} events are missing, the last state is {state or 'unknown'}")
        self.notes.lost_events += seen.lost
        self.notes.take(began, name, (time.time() - began) * 1000, None, error)
        return state

    def list_jobs(self) -> None:
        answer = self.get("/v1/jobs?limit=20", "/v1/jobs")
        if answer.status_code == 200:
            self.seen = [job["id"] for job in answer.json()["jobs"]]

    def look_at_media(self) -> None:
        self.get(f"/v1/media?source={self.dice.choice(self.given.clips)}", "/v1/media")

    def see_picture(self) -> None:
        photo, width = self.dice.choice(self.given.photos), self.dice.choice(WIDTHS)
        self.get(f"/v1/images?source={photo}&w={width}&format=webp", "/v1/images")


class Viewer(Person):
    """Somebody with the console open."""

    abstract = True

    def wait_time(self) -> float:
        return self.given.pause * self.dice.uniform(*THINKS_S)

    @task(6)
    def browse(self) -> None:
        self.list_jobs()

    @task(3)
    def look(self) -> None:
        if self.seen:
            self.get(f"/v1/jobs/{self.dice.choice(self.seen)}", "/v1/jobs/{id}")
        else:
            self.list_jobs()

    @task(4)
    def media(self) -> None:
        self.look_at_media()

    @task(5)
    def picture(self) -> None:
        self.see_picture()

    @task(2)
    def still(self) -> None:
        """Submit a small job, watch it to its end, fetch what it made."""
        photo = self.dice.choice(self.given.photos)
        job = self.post_job({"operation": "image-thumbnails", "source": photo, "params": {"sizes": ["320"]}})
        if job is None:
            return
        if job["state"] not in ENDED and self.watch(job["id"], "WS /v1/jobs/{id}/events, to its end") != "succeeded":
            return
        answer = self.get(f"/v1/jobs/{job['id']}", "/v1/jobs/{id}")
        if answer.status_code == 200:
            self.get(answer.json()["artifacts"][0]["url"], "/v1/jobs/{id}/artifacts/{name}")


class Owner(Viewer):
    """A viewer who has a film in the works all the time, and watches it."""

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self._films = gevent.spawn(self._own)

    def on_stop(self) -> None:
        self._films.kill(block=False)

    def _own(self) -> None:
        turn = 0
        while True:
            turn += 1
            output = f"{self.given.output}/{self.given.seed}-{self.number}-{turn}.mp4"
            params = film_params(self.given.film_s, self.number + 1000 * turn, output)
            job = self.post_job({"operation": "transcode", "source": self.given.film, "params": params}, FILM)
            if job is None or (job["state"] not in ENDED and not self.watch(job["id"], FILM_WATCHED)):
                gevent.sleep(1)


class Hurried(Person):
    """Somebody's script without a pause between requests, which waits as long as it is told to when it is refused."""

    abstract = True
    wait_time = constant(0)

    def ask(self, method: str, path: str, name: str, **more: Any) -> Any:
        answer = super().ask(method, path, name, **more)
        if answer.status_code in (429, 503):
            gevent.sleep(float(answer.headers.get("Retry-After") or 0))
        elif answer.status_code == 0:
            gevent.sleep(1)
        return answer

    @task(4)
    def browse(self) -> None:
        self.list_jobs()

    @task(3)
    def media(self) -> None:
        self.look_at_media()

    @task(2)
    def picture(self) -> None:
        self.see_picture()

    @task(1)
    def probe(self) -> None:
        self.post_job({"operation": "probe", "source": self.dice.choice(self.given.clips), "params": {"fresh": True}})


KINDS = {"viewer": Viewer, "owner": Owner, "hurried": Hurried}
