"""The profile ``soak``: ten thousand probes and five hundred transcodes. Nothing of a job stays behind in a process.

After a warm-up, what each process has of memory for itself (USS: what would be free if it ended, glibc's arenas and
all) is noted every hundred jobs. Files and processes are counted before and after, when no job is there.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.sync.client import ClientConnection

from tests.live_server import TERMINAL, LiveServer, until
from tests.load.helpers import active, processes
from tests.load.material import SHORT_S, Material
from tests.load.orders import film_params
from tests.load.plots import Plot
from tests.load.report import Line, Section, table
from tests.load.trend import Trend, trend

MOST_MB = 5.0  # in 10,000 jobs
_PER = 10_000
_MB = 1e6
_IN_FLIGHT = 64
_EVERY, _FEWEST_SAMPLES = 100, 20  # jobs from one sample to the next, and in a short run so many samples
_PATIENCE_S = 120.0  # for the next end of a job
_IDLE_S = 120.0
_TOLD = 5  # failures that are shown
# A pool of connections keeps as many as were ever in use at once, which may be a few more than in the warm-up: each of
# them is a handle at both its ends. One that is left by each job, or by each process that ends, comes to hundreds.
_MOST_SOCKETS = 32
# Those that live as long as the server does. Media processes are replaced every 200 calls, and Redis keeps the jobs.
_LASTING = {
    "replica": "API",
    "dispatcher": "dispatcher",
    "registry": "progress registry",
    "runner": "runner",
    "others": "mediaray up",
}


@dataclass(frozen=True)
class Lot:
    """Jobs that are done, and those before them. The warm-up is never scaled: it is what processes take to load all."""

    warm_up: int
    probes: int
    transcodes: int
    settle_s: float = 60.0  # that what is left may take to go

    def scaled(self, by: float) -> "Lot":
        return replace(
            self, probes=max(_FEWEST_SAMPLES, round(self.probes * by)), transcodes=round(self.transcodes * by)
        )

    @property
    def jobs(self) -> int:
        return self.probes + self.transcodes

    def operations(self, count: int) -> Iterator[str]:
        """Operations of so many jobs, mixed in these shares."""
        for number in range(count):
            films_before, films = (each * self.transcodes // self.jobs for each in (number, number + 1))
            yield "transcode" if films > films_before else "probe"


@dataclass
class Held:
    """What the server's processes hold, by kind: bytes of their own, open files, sockets; and how many there are."""

    memory: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    sockets: Counter[str] = field(default_factory=Counter)
    processes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def by(cls, server: LiveServer, *, memory: bool = True) -> "Held":
        """As it is now; without ``memory``, which takes the kernel a while to count, where it isn't wanted."""
        held = cls()
        for process, kind in processes(server).items():
            held.processes[kind] += 1
            with contextlib.suppress(psutil.Error):
                held.memory[kind] += process.memory_full_info().uss if memory else 0
            for link in _handles(process.pid):
                (held.sockets if link.startswith("socket:") else held.files)[kind] += 1
        return held

    def more_than(self, before: "Held") -> "Held":
        """What there is more of than before, without memory."""
        return Held(
            files=self.files - before.files,
            sockets=self.sockets - before.sockets,
            processes=self.processes - before.processes,
        )


class Jobs:
    """One job after another, ``_IN_FLIGHT`` at once."""

    def __init__(self, client: httpx.Client, changes: ClientConnection, material: Material, folder: Path) -> None:
        self._client, self._changes = client, changes
        self._material, self._folder = material, folder
        self._under_way: set[str] = set()
        self._submitted = 0
        self.done = 0
        self.failed: list[str] = []

    def do(self, operations: Iterator[str], note: Callable[[int], None] = lambda _done: None) -> None:
        """Do them all, and call ``note`` with how many have ended whenever one has."""
        already, left = self.done, True
        while left or self._under_way:
            while left and len(self._under_way) < _IN_FLIGHT:
                operation = next(operations, None)
                if operation is None:
                    left = False
                else:
                    self._submit(operation)
            if self._under_way and self._hear_of_an_end():
                note(self.done - already)

    def _submit(self, operation: str) -> None:
        self._submitted += 1
        params: dict[str, Any] = {"fresh": True}  # else the cache answers
        if operation == "transcode":
            output = self._folder / f"soak-{self._submitted}.mp4"
            params = {**film_params(SHORT_S, self._submitted % 500, str(output)), "preset": "veryfast"}
        body = {"operation": operation, "source": str(self._material.short), "params": params}
        answer = self._client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        self._under_way.add(answer.json()["id"])

    def _hear_of_an_end(self) -> bool:
        change = json.loads(self._changes.recv(timeout=_PATIENCE_S))
        if change["job_id"] not in self._under_way or change["state"] not in TERMINAL:
            return False
        self._under_way.remove(change["job_id"])
        self.done += 1
        if change["state"] != "succeeded":
            self.failed.append(change["job_id"])
        return True


def soak(server: LiveServer, material: Material, lot: Lot) -> Section:
    """Run it."""
    every = max(1, min(_EVERY, lot.jobs // _FEWEST_SAMPLES))
    samples: list[tuple[int, Held]] = []

    def note(done: int) -> None:
        if done % every == 0:
            samples.append((done, Held.by(server)))

    with server.client() as client, server.all_events() as changes:
        jobs = Jobs(client, changes, material, server.folder)
        jobs.do(lot.operations(lot.warm_up))
        before = _idle(server, client)
        began = time.monotonic()
        jobs.do(lot.operations(lot.jobs), note)
        took_s = time.monotonic() - began
        _idle(server, client)
        with contextlib.suppress(AssertionError):  # what doesn't go is told
            until(lambda: _none_left(server, before), lot.settle_s, lambda: "something is left")
        after = Held.by(server)
        errors = [client.get(f"/v1/jobs/{job_id}").json()["error"] for job_id in jobs.failed[:_TOLD]]
    section = Section(
        f"soak: {lot.probes} probes and {lot.transcodes} transcodes, {_IN_FLIGHT} at once, after {lot.warm_up} jobs"
    )
    left = after.more_than(before)
    trends = {kind: _trend(samples, kind) for kind in after.memory}
    section.lines = [
        Line("jobs that didn't succeed", len(jobs.failed), most=0),
        *(
            Line(
                f"memory of the {name}: 95 % bound of its growth", trends[kind].most, "MB in 10,000 jobs", most=MOST_MB
            )
            for kind, name in _LASTING.items()
        ),
        Line("file handles left", left.files.total(), most=0),
        Line("sockets more than after the warm-up", left.sockets.total(), most=_MOST_SOCKETS),
        Line("processes left", left.processes.total(), most=0),
        Line("jobs a second", lot.jobs / took_s, "/s"),
    ]
    section.failures = [f"a job: {error}" for error in errors]
    section.text.append(_by_kind(before, [held for _, held in samples], after, trends))
    section.plots["soak"] = Plot(
        "Memory of each process while jobs are done",
        "jobs",
        "MB",
        {name: [(done, held.memory[kind] / _MB) for done, held in samples] for kind, name in _LASTING.items()},
    )
    return section


def _idle(server: LiveServer, client: httpx.Client) -> Held:
    """What is held when no job is there any more."""
    until(lambda: not active(client), _IDLE_S, lambda: "jobs don't end")
    return Held.by(server)


def _none_left(server: LiveServer, before: Held) -> bool:
    left = Held.by(server, memory=False).more_than(before)
    return not (left.files or left.processes) and left.sockets.total() <= _MOST_SOCKETS


def _handles(pid: int) -> Iterator[str]:
    """What the open files of a process are; none, where it has ended."""
    with contextlib.suppress(OSError):
        for number in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                yield str(number.readlink())


def _trend(samples: list[tuple[int, Held]], kind: str) -> Trend:
    return trend([(done / _PER, held.memory[kind] / _MB) for done, held in samples])


def _by_kind(before: Held, meanwhile: Sequence[Held], after: Held, trends: dict[str, Trend]) -> str:
    def counted(what: str, kind: str) -> str:
        first, *between, last = (getattr(held, what)[kind] for held in (before, *meanwhile, after))
        return f"{first} → {max(between)} → {last}"

    rows = [
        (
            _LASTING.get(kind, kind),
            *(counted(what, kind) for what in ("processes", "files", "sockets")),
            f"{before.memory[kind] / _MB:.1f} → {after.memory[kind] / _MB:.1f}",
            f"{trends[kind].slope:+.1f}, at most {trends[kind].most:+.1f}",
        )
        for kind in sorted(after.processes)
    ]
    told = "after the warm-up → most meanwhile → at the end"
    return table((told, "processes", "files", "sockets", "MB", "MB in 10,000 jobs"), rows)
