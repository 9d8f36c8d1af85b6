"""Jobs as they go: bars on a terminal, short lines in a file, JSON lines for programs, or nothing."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from serve.cli.render import Screen, duration, print_json_line, printable

if TYPE_CHECKING:
    from serve.answers import JobEvent, JobView

_LINE_STEP = 0.25  # a line in a file for each quarter


class Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def show(self, job: "JobView", event: "JobEvent") -> None:
        """Something changed."""

    def end(self, job: "JobView") -> None:
        """The job is finished."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def show(self, job: "JobView", event: "JobEvent") -> None:
        pass

    def end(self, job: "JobView") -> None:
        pass


class JsonLines(Quiet):
    """Each event as a line of JSON."""

    def show(self, job: "JobView", event: "JobEvent") -> None:  # noqa: ARG002
        print_json_line(event)


class Lines(Quiet):
    """A line when a job's state changes and at each quarter."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told: dict[str, tuple[str, int]] = {}

    def show(self, job: "JobView", event: "JobEvent") -> None:
        now = (event.state, int(event.progress / _LINE_STEP))
        if now != self._told.get(job.id) and not event.finished:
            self._told[job.id] = now
            self._screen.say(f"{job.operation} {job.source_name}: {event.state} {event.progress:.0%} {_pace(event)}")

    def end(self, job: "JobView") -> None:
        self._screen.outcome(job)


class Bars(Quiet):
    """A bar for each running job, one for all where there are several; outcomes are printed above them."""

    def __init__(self, screen: Screen, count: int) -> None:
        self._screen = screen
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TextColumn("{task.fields[pace]}", markup=False, style="dim"),
            console=screen.console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._all = self._progress.add_task(f"all {count} jobs", total=count, pace="") if count > 1 else None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, job: "JobView", event: "JobEvent") -> None:
        if job.id not in self._bars:
            name = printable(f"{job.operation} {job.source_name}")
            self._bars[job.id] = self._progress.add_task(name, total=1.0, pace="")
        pace = _pace(event) if event.state == "running" else event.state
        self._progress.update(self._bars[job.id], completed=event.progress, pace=pace)

    def end(self, job: "JobView") -> None:
        if job.id in self._bars:
            self._progress.remove_task(self._bars.pop(job.id))
        if self._all is not None:
            self._progress.advance(self._all)
        self._screen.outcome(job)


def display_for(jobs: Sequence["JobView"], *, as_json: bool) -> Display:
    """For people on stdout. With ``--json`` that belongs to the document: bars go to a terminal on stderr."""
    screen = Screen(stderr=as_json)
    if screen.live:
        return Bars(screen, len(jobs))
    return Quiet() if as_json else Lines(screen)


def _pace(event: "JobEvent") -> str:
    parts = []
    if event.fps is not None:
        parts.append(f"{event.fps:.0f} fps")
    if event.speed is not None:
        parts.append(f"{event.speed:.1f}x")
    if event.eta_s is not None:
        parts.append(f"{duration(event.eta_s)} left")
    return "  ".join(parts)
