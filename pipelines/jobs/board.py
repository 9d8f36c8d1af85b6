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
from pipelines.jobs.states import JOIN, TERMINAL

MIN_GAP_S = 0.25
RING = 256
TAIL = 4096
KEEP_FINISHED_S, KEEP_FINISHED = 120.0, 500  # so long, and so many at most: in that time thousands may end
SILENT_S = 3.0  # a unit that hasn't reported for this long, or for three of its usual gaps, isn't counted as running
LOOK_S = 1.0  # how often it is looked for such units
WINDOW_S = 30.0  # how far back the number of slots is measured that a job has
_FEWEST_SLOTS = 0.1
_ENOUGH = 0.01  # of the work: with less done there is no telling how long the rest takes

Event = dict[str, Any]


@dataclass
class _Unit:
    fence: int = 0
    fraction: float = 0.0
    frames: int = 0
    position_s: float = 0.0
    elapsed_s: float = 0.0  # 0: nobody has told, as of a unit that was taken over or done before this board's life
    running: bool = False
    done: bool = False
    reported_at: float = float("-inf")
    gap_s: float = 0.0  # between its last two reports

    def counts(self, now: float) -> bool:
        return self.running and now - self.reported_at <= max(SILENT_S, 3 * self.gap_s)


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
    reported_at_ms: int | None = None  # of the newest report that the next event tells
    worked_s: float = 0.0  # seconds of all units together, also of those done again
    window: deque[tuple[float, float]] = field(default_factory=deque)  # (when, worked_s) of the last ``WINDOW_S``
    finished: bool = False


class ProgressBoard:
    """All jobs' progress. ``now`` is any monotonic clock in seconds, ``at_ms`` wall time in milliseconds."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._jobs: dict[str, _Job] = {}
        self._finished: deque[tuple[float, str]] = deque()  # (when, id), in order of their ends
        self._pending: dict[str, None] = {}  # jobs with progress that was held back
        self._looked_at = float("-inf")  # when it was looked for units that fell silent
        self._tail: deque[Event] = deque(maxlen=TAIL)
        self._count = 0

    def knows(self, job_id: str) -> bool:
        return job_id in self._jobs

    def planned(self, job_id: str, weights: Mapping[str, float], done: Sequence[str]) -> None:
        """Learn a job's units and their shares of the work (any unit of measure), and which are done.

        A join that takes its time is among them. Called again, it replaces the shares: another plan is carried out.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return
        total = sum(weights.values()) or 1.0
        job.weights = {name: weight / total for name, weight in weights.items()}
        # Another plan has other units, and a join of its own.
        # One that was done and isn't is done again.
        job.units = {
            name: unit
            for name, unit in job.units.items()
            if name in weights and name != JOIN and (not unit.done or name in done)
        }
        for name in done:
            self._finish(job.units.setdefault(name, _Unit()))
        self._tell_progress(job)

    def state(self, job_id: str, state: str, at_ms: int, now: float, error: Mapping[str, Any] | None = None) -> None:
        """A change of state: told at once."""
        job = self._jobs.setdefault(job_id, _Job(state, at_ms))
        job.state, job.error = state, error
        if state == State.SUCCEEDED:
            job.progress = 1.0
        if state in TERMINAL or state in (State.PAUSED, State.QUEUED):
            job.eta_s = job.fps = job.speed = None
            job.window.clear()
            for unit in job.units.values():
                unit.running = False
        self._emit(job_id, job, "state", at_ms, now)
        if state in TERMINAL and not job.finished:
            job.finished, job.weights, job.units = True, {}, {}
            self._finished.append((now, job_id))
            if len(self._finished) > KEEP_FINISHED:
                self._forget_first()

    def unit_done(self, job_id: str, unit: str, at_ms: int, now: float) -> None:
        job = self._jobs.get(job_id)
        if job is None or unit not in job.weights:
            return
        known = job.units.setdefault(unit, _Unit())
        if known.running:  # it worked on since its last report
            since_s = now - known.reported_at
            known.elapsed_s, job.worked_s = known.elapsed_s + since_s, job.worked_s + since_s
        self._finish(known)
        self._progress(job_id, job, at_ms, now)

    def report(self, report: Progress, at_ms: int, now: float) -> None:
        """A worker's report. One of an older lease, or of a finished job, changes nothing."""
        job = self._jobs.get(report.job_id)
        if job is None or job.state in TERMINAL:
            return
        unit = job.units.setdefault(report.unit, _Unit())
        if report.fence < unit.fence or unit.done:
            return
        before_s = unit.elapsed_s if report.fence == unit.fence else 0.0
        job.worked_s += max(0.0, report.elapsed_s - before_s)
        unit.gap_s = now - unit.reported_at if unit.running and report.fence == unit.fence else 0.0
        unit.fence, unit.running, unit.reported_at = report.fence, True, now
        unit.fraction, unit.frames = report.fraction, report.frames
        unit.position_s, unit.elapsed_s = report.position_s, report.elapsed_s
        job.reported_at_ms = report.at
        self._progress(report.job_id, job, at_ms, now)

    def due(self, at_ms: int, now: float) -> float | None:
        """Tell what was held back long enough; returns when to come again, or None."""
        if now >= self._looked_at + LOOK_S:
            self._looked_at = now
            for job_id, job in self._jobs.items():
                if job.fps is not None and (job.fps, job.speed) != self._speeds(job, now):
                    self._pending[job_id] = None
        next_at = None
        for job_id in list(self._pending):
            job = self._jobs[job_id]
            if now >= job.emitted_at + MIN_GAP_S:
                self._emit(job_id, job, "progress", at_ms, now)
            else:
                next_at = min(next_at or float("inf"), job.emitted_at + MIN_GAP_S)
        while self._finished and now - self._finished[0][0] > KEEP_FINISHED_S:
            self._forget_first()
        return next_at

    def after(self, cursor: int) -> tuple[int, list[Event]] | None:
        """Events of all jobs after a cursor, and the new cursor; None where some are gone already."""
        if cursor > self._count:
            return None
        missing = self._count - cursor
        if missing > len(self._tail):
            return None
        newest = list(itertools.islice(reversed(self._tail), missing))  # from the front it would walk through all
        return self._count, newest[::-1]

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

    def _forget_first(self) -> None:
        _, job_id = self._finished.popleft()
        del self._jobs[job_id]
        self._pending.pop(job_id, None)

    def _finish(self, unit: _Unit) -> None:
        unit.fraction, unit.running, unit.done = 1.0, False, True

    def _tell_progress(self, job: _Job) -> None:
        reached = sum(job.weights.get(name, 0.0) * unit.fraction for name, unit in job.units.items())
        # A unit that is done again doesn't move the bar back, nor does another plan.
        job.progress = max(job.progress, min(0.999, reached))

    def _speeds(self, job: _Job, now: float) -> tuple[float | None, float | None]:
        """Frames and seconds of film a second of what runs, added up; None of work that has none."""
        running = [unit for unit in job.units.values() if unit.counts(now) and unit.elapsed_s > 0]
        if not running:
            return None, None
        return (
            round(sum(unit.frames / unit.elapsed_s for unit in running), 2) or None,
            round(sum(unit.position_s / unit.elapsed_s for unit in running), 3) or None,
        )

    def _tell_eta(self, job: _Job, now: float) -> None:
        """Reckon the time left: what the rest costs by what the work so far has cost, over the slots the job has.

        Weights tell shares only: that all estimates are wrong by one factor changes nothing. The slots are measured
        over the last ``WINDOW_S``, as seconds worked in each second: other jobs may take some of them.
        """
        if job.state not in (State.RUNNING, State.VERIFYING):
            return
        job.window.append((now, job.worked_s))
        while len(job.window) > 2 and now - job.window[1][0] >= WINDOW_S:
            job.window.popleft()
        join = job.units.get(JOIN, _Unit())
        if join.fraction > _ENOUGH and join.elapsed_s:
            job.eta_s = round(join.elapsed_s * (1.0 - join.fraction) / join.fraction, 1)
            return
        weights = {name: weight for name, weight in job.weights.items() if name != JOIN}
        measured = {name: unit for name, unit in job.units.items() if name in weights and unit.elapsed_s}
        done = sum(weights[name] * unit.fraction for name, unit in measured.items())
        began_at, worked_s = job.window[0]
        if done < _ENOUGH or now <= began_at:
            return
        cost_s = sum(unit.elapsed_s for unit in measured.values()) / done  # of all the work, on one slot
        left = [weight * (1.0 - job.units.get(name, _Unit()).fraction) for name, weight in weights.items()]
        slots = max(_FEWEST_SLOTS, (job.worked_s - worked_s) / (now - began_at))
        # The join comes by itself, when all others are done.
        side_by_side = max(sum(left) / slots, max(left))
        job.eta_s = round(cost_s * (side_by_side + job.weights.get(JOIN, 0.0)), 1)

    def _progress(self, job_id: str, job: _Job, at_ms: int, now: float) -> None:
        if now >= job.emitted_at + MIN_GAP_S:
            self._emit(job_id, job, "progress", at_ms, now)
        else:
            self._pending[job_id] = None

    def _emit(self, job_id: str, job: _Job, kind: str, at_ms: int, now: float) -> None:
        job.seq += 1
        job.at_ms, job.emitted_at = at_ms, now
        self._pending.pop(job_id, None)
        self._tell_progress(job)
        job.fps, job.speed = self._speeds(job, now)
        self._tell_eta(job, now)
        event = self._event(job_id, job, kind, at_ms)
        if kind == "progress" and job.reported_at_ms is not None:
            event["reported_at"] = rfc3339(job.reported_at_ms)
        job.reported_at_ms = None
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
