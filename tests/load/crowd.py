"""The profiles ``users`` and ``watchers``: many people, and many sockets, while films and pictures are in the works."""

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.edge import quiet_jobs, start_reporter
from tests.live_server import LiveServer
from tests.load.helpers import Asked, Background, Crowd, Helper, cpu_between, cpu_seconds, sleep_until
from tests.load.material import Material
from tests.load.plots import Plot
from tests.load.report import Line, Section, percentile, table

GET_P50_MS, GET_P99_MS, SUBMIT_P99_MS = 50.0, 250.0, 500.0
EVENT_P50_MS, EVENT_P99_MS = 5.0, 25.0
_BUCKET_S = 5
_LATER_S, _LEAST_S = 10, 3  # sockets are watched for so much less than people ask, and so long at least
_TOLD = 5  # failures that are shown


@dataclass(frozen=True)
class Given:
    """``watchers`` 0: none."""

    users: int
    watchers: int
    seconds: float
    transcodes: int
    images: int
    pause: float


class Watched:
    """Sockets, each on a job of its own, and who reports of these jobs from inside the cluster."""

    def __init__(self, server: LiveServer, material: Material, count: int, seconds: int) -> None:
        self._server, self._seconds = server, seconds
        self.sent = count * seconds
        self._jobs = quiet_jobs(server, material.clips[0], count)
        base = float(int(time.monotonic()))
        (server.root / "base").write_text(str(base))
        task = {"url": server.url, "headers": server.headers, "jobs": self._jobs, "base": base}
        self._clients = Helper("watchers", task, server.root)
        assert self._clients.process.stdout is not None
        said = self._clients.process.stdout.readline()
        assert said == b"watching\n", said
        self._reporter: subprocess.Popen[bytes] | None = None

    def report(self) -> None:
        (self._server.root / "watching").unlink(missing_ok=True)
        self._reporter = start_reporter(self._server, self._jobs, self._seconds)
        (self._server.root / "watching").write_text("x" * len(self._jobs))

    def told(self) -> dict[str, Any]:
        """Wait until all is reported; what the clients noted."""
        assert self._reporter is not None
        try:
            assert self._reporter.wait(self._seconds + 120) == 0
        finally:
            self._reporter.kill()
        return self._clients.notes(60)

    def end(self) -> None:
        self._clients.end()


def crowd(server: LiveServer, material: Material, given: Given) -> list[Section]:
    """Run it; the sections of both profiles."""
    ramp_s = max(1.0, given.users / 50)
    with contextlib.ExitStack() as stack:
        watched = None
        if given.watchers:
            watched = Watched(server, material, given.watchers, max(_LEAST_S, int(given.seconds) - _LATER_S))
            stack.callback(watched.end)
        background = stack.enter_context(Background(server, material, given.transcodes, given.images))
        people = Crowd.of(
            server.url,
            server.headers,
            material,
            server.folder,
            "viewer",
            users=given.users,
            ramp_s=ramp_s,
            seconds=given.seconds,
            pause=given.pause,
        )
        stack.callback(people.helper.end)
        sleep_until(time.time() + ramp_s)
        before, since = cpu_seconds(server), time.monotonic()
        if watched:
            watched.report()
        told = watched.told() if watched else None
        if not watched:
            sleep_until(time.time() + given.seconds * 0.95)
        spent, over_s = cpu_between(before, cpu_seconds(server)), time.monotonic() - since
        asked = people.asked()
        in_system = Counter(background.ended)
    sections = [_users(given, asked, in_system, background)]
    sections[0].text.append(_cpu_table(spent, over_s, asked, told))
    if told is not None and watched is not None:
        sections.append(_watchers(given, watched.sent, told))
    return sections


def _users(given: Given, asked: Asked, ended: Counter[tuple[str, str]], background: Background) -> Section:
    section = Section(
        f"users: {given.users} people for {asked.seconds:.0f} s, while {given.transcodes} transcodes and "
        f"{given.images} image jobs are in the system"
    )
    gets, submits = asked.took_ms("GET"), asked.took_ms("POST")
    failed = asked.failed()
    section.lines = [
        Line("requests failed", len(failed), most=0),
        Line("GET, p50", percentile(gets, 50), "ms", most=GET_P50_MS),
        Line("GET, p99", percentile(gets, 99), "ms", most=GET_P99_MS),
        Line("submit, p99", percentile(submits, 99), "ms", most=SUBMIT_P99_MS),
        Line("events lost by people who watched their jobs", asked.lost_events, most=0),
        Line("requests a second", len(asked.measured()) / asked.seconds, "/s"),
        *(Line(f"{kind} jobs {state} meanwhile", count) for (kind, state), count in sorted(ended.items())),
    ]
    section.failures = [f"{name}: {status} {error}" for _, name, _, status, _, error in failed[:_TOLD]]
    if background.error is not None:
        section.failures.append(f"the jobs in the background: {background.error!r}")
    section.failures += [f"{count} {kind} jobs failed" for (kind, state), count in ended.items() if state == "failed"]
    section.text.append(_by_name(asked))
    section.plots["users"] = Plot(
        "Requests over time", "seconds", "ms", _over_time(asked.measured(), asked.began), log_y=True
    )
    return section


def _by_name(asked: Asked) -> str:
    names = sorted({each[1] for each in asked.measured()})
    rows = []
    for name in names:
        took = [each[2] for each in asked.measured() if each[1] == name]
        figures = (percentile(took, 50), percentile(took, 99), max(took))
        rows.append((f"`{name}`", len(took), *(f"{each:.0f}" for each in figures)))
    return table(("request", "how many", "p50, ms", "p99, ms", "slowest, ms"), rows)


def _over_time(samples: Sequence[Sequence[Any]], began: float) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, begin in (("GET", "GET"), ("submit", "POST")):
        for percent in (50, 99):
            chosen = [(each[0] - began, each[2]) for each in samples if each[1].startswith(begin)]
            lines[f"{name} p{percent}"] = list(buckets(chosen, percent))
    return lines


def buckets(samples: Sequence[tuple[float, float]], percent: int) -> Iterator[tuple[float, float]]:
    by_bucket: dict[int, list[float]] = {}
    for at, value in samples:
        by_bucket.setdefault(int(at // _BUCKET_S), []).append(value)
    for bucket, values in sorted(by_bucket.items()):
        yield bucket * _BUCKET_S, percentile(values, percent)


def _cpu_table(spent: Counter[str], over_s: float, asked: Asked, told: dict[str, Any] | None) -> str:
    rows = [
        (kind, f"{100 * seconds / over_s:.0f} %") for kind, seconds in spent.most_common() if seconds > 0.005 * over_s
    ]
    rows.append(("people of the load", f"{100 * asked.cpu_s / asked.seconds:.0f} %"))
    if told is not None:
        rows.append(("watchers of the load", f"{100 * told['cpu_s'] / over_s:.0f} %"))
    return table(("CPU time", "of one CPU"), rows)


def _watchers(given: Given, sent: int, told: dict[str, Any]) -> Section:
    section = Section(
        f"watchers: {given.watchers} sockets, each on a job of its own, an event a second each, meanwhile"
    )
    took = [ms * 1000 for _, ms in told["samples"]]
    section.lines = [
        Line("report → client, p50", percentile(took, 50), "ms", most=EVENT_P50_MS),
        Line("report → client, p99", percentile(took, 99), "ms", most=EVENT_P99_MS),
        Line("events lost: gaps in the numbers", told["lost"], most=0),
        Line("events that a snapshot stood for, as for slow clients", told["summed_up"], most=0),
        Line("sockets that broke off", len(told["broken"]), most=0),
        Line("sockets that heard nothing", told["silent"], most=0),
        Line("reports sent", sent),
        Line("events of them that came, two close reports being one", len(took)),
    ]
    section.failures = [f"a socket: {each}" for each in told["broken"][:_TOLD]]
    if told["lost"]:
        section.failures.append(f"{told['lost']} events were lost")
    first = told["samples"][0][0] if told["samples"] else 0.0
    samples = [(at - first, seconds * 1000) for at, seconds in told["samples"]]
    lines = {f"p{percent}": list(buckets(samples, percent)) for percent in (50, 99)}
    section.plots["watchers"] = Plot("From a report to the client", "seconds", "ms", lines, log_y=True)
    return section
