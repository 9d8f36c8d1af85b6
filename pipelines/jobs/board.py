"""The rules of live progress: newest state of each job, numbered events, a ring to catch up from. Pure: no clock.

Reports are coalesced before they are numbered, so a client's sequence has no holes: at most one progress event per
job in ``MIN_GAP_S``, the latest; a change of state at once. ``epoch`` tells one life of the registry from another.
"""

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.jobs.models import Progress, State, rfc3339
from pipelines.jobs.states import TERMINAL

MIN_GAP_S = 0.25
RING = 256
TAIL = 16_384
KEEP_FINISHED_S = 120.0

Event = dict[str, Any]


@dataclass
class _Unit:
    fence: int = 0
    fraction: float = 0.0
    frames: int = 0
    position_s: float = 0.0
    elapsed_s: float = 0.0
    running: bool = False


@dataclass
class _Job:
    state: str
    at_ms: int
    seq: int = 0
    progress: float = 0.0
    fps: float | None = None
    speed: float | None = None
    eta_s: float | None = None
    error: Mapping[str, Any] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    units: dict[str, _Unit] = field(default_factory=dict)
    ring: deque[Event] = field(default_factory=lambda: deque(maxlen=RING))
    emitted_at: float = float("-inf")
    pending: bool = False
    first: tuple[float, float] | None = None  # (when, progress) of the first report: what the ETA is reckoned from
    finished_at: float | None = None


class ProgressBoard:
    """All jobs' progress. ``now`` is any monotonic clock in seconds, ``at_ms`` wall time in milliseconds."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._jobs: dict[str, _Job] = {}
        self._tail: deque[Event] = deque(maxlen=TAIL)
        self._count = 0

    def knows(self, job_id: str) -> bool:
        return job_id in self._jobs

    def planned(self, job_id: str, weights: Mapping[str, float], done: Sequence[str]) -> None:
        """Learn a job's units and their shares of the work (any unit of measure), and which are done."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        total = sum(weights.values()) or 1.0
        job.weights = {name: weight / total for name, weight in weights.items()}
        for name in done:
            job.units[name] = _Unit(fraction=1.0)
        self._refigure(job, None)

    def state(self, job_id: str, state: str, at_ms: int, now: float, error: Mapping[str, Any] | None = None) -> None:
        """A change of state: told at once."""
        job = self._jobs.setdefault(job_id, _Job(state, at_ms))
        job.state, job.error = state, error
        if state == State.SUCCEEDED:
            job.progress = 1.0
        if state in TERMINAL or state in (State.PAUSED, State.QUEUED):
            job.eta_s = job.fps = job.speed = None
            job.first = None
        if state in TERMINAL:
            job.finished_at = now
        self._emit(job_id, job, "state", at_ms, now)

    def unit_done(self, job_id: str, unit: str, at_ms: int, now: float) -> None:
        job = self._jobs.get(job_id)
        if job is None or unit not in job.weights:
            return
        known = job.units.setdefault(unit, _Unit())
        known.fraction, known.running = 1.0, False
        self._refigure(job, now)
        self._progress(job_id, job, at_ms, now)

    def report(self, report: Progress, at_ms: int, now: float) -> None:
        """A worker's report. One of an older lease, or of a finished job, changes nothing."""
        job = self._jobs.get(report.job_id)
        if job is None or job.state in TERMINAL:
            return
        unit = job.units.setdefault(report.unit, _Unit())
        if report.fence < unit.fence or unit.fraction >= 1.0:
            return
        unit.fence, unit.running = report.fence, True
        unit.fraction, unit.frames = report.fraction, report.frames
        unit.position_s, unit.elapsed_s = report.position_s, report.elapsed_s
        self._refigure(job, now)
        self._progress(report.job_id, job, at_ms, now)

    def due(self, at_ms: int, now: float) -> float | None:
        """Tell what was held back long enough; returns when to come again, or None."""
        next_at = None
        for job_id, job in list(self._jobs.items()):
            if job.pending:
                if now >= job.emitted_at + MIN_GAP_S:
                    self._emit(job_id, job, "progress", at_ms, now)
                else:
                    next_at = min(next_at or float("inf"), job.emitted_at + MIN_GAP_S)
            if job.finished_at is not None and now - job.finished_at > KEEP_FINISHED_S:
                del self._jobs[job_id]
        return next_at

    def after(self, cursor: int) -> tuple[int, list[Event]] | None:
        """Events of all jobs after a cursor, and the new cursor; None where some are gone already."""
        if cursor > self._count:
            return None
        missing = self._count - cursor
        if missing > len(self._tail):
            return None
        return self._count, list(itertools.islice(self._tail, len(self._tail) - missing, None))

    @property
    def cursor(self) -> int:
        return self._count

    def since(self, job_id: str, epoch: int, seq: int) -> list[Event] | None:
        """A job's events after ``epoch:seq``; None where a snapshot must stand for them."""
        job = self._jobs.get(job_id)
        if job is None or epoch != self.epoch or seq > job.seq:
            return None
        events = [event for event in job.ring if event["seq"] > seq]
        return events if len(events) == job.seq - seq else None

    def snapshot(self, job_id: str) -> Event | None:
        """What stands for all events so far."""
        job = self._jobs.get(job_id)
        return None if job is None else self._event(job_id, job, "snapshot", job.at_ms)

    def _refigure(self, job: _Job, now: float | None) -> None:
        running = [unit for unit in job.units.values() if unit.running and unit.elapsed_s > 0]
        reached = sum(job.weights.get(name, 0.0) * unit.fraction for name, unit in job.units.items())
        # A unit that is done again doesn't move the bar back.
        job.progress = min(0.999, max(job.progress, reached))
        if running:
            job.fps = round(sum(unit.frames / unit.elapsed_s for unit in running), 2)
            job.speed = round(sum(unit.position_s / unit.elapsed_s for unit in running), 3)
        if now is None or job.state != State.RUNNING:
            return
        if job.first is None:
            job.first = (now, job.progress)
        began, had = job.first
        if job.progress - had > 0.01 and now > began:
            job.eta_s = round((1.0 - job.progress) * (now - began) / (job.progress - had), 1)

    def _progress(self, job_id: str, job: _Job, at_ms: int, now: float) -> None:
        if now >= job.emitted_at + MIN_GAP_S:
            self._emit(job_id, job, "progress", at_ms, now)
        else:
            job.pending = True

    def _emit(self, job_id: str, job: _Job, kind: str, at_ms: int, now: float) -> None:
        job.seq += 1
        job.at_ms, job.emitted_at, job.pending = at_ms, now, False
        event = self._event(job_id, job, kind, at_ms)
        job.ring.append(event)
        self._count += 1
        self._tail.append(event)

    def _event(self, job_id: str, job: _Job, kind: str, at_ms: int) -> Event:
        event: Event = {
            "job_id": job_id,
            "epoch": self.epoch,
            "seq": job.seq,
            "at": rfc3339(at_ms),
            "type": kind,
            "state": job.state,
            "progress": round(job.progress, 4),
            "fps": job.fps,
            "speed": job.speed,
            "eta_s": job.eta_s,
        }
        if job.error:
            event["error"] = dict(job.error)
        return event
