"""What commands show: JSON for programs; tables, trees and short lines for people."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from serve.answers import JobView, PlanView

_LISTED = 12  # files of a job that are named when it ends
_PIPED_WIDTH = 200  # an id or a path is never cut in a file or a pipe
_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "running": "cyan",
}


class OutputError(Exception):
    """What a command shows can't be written: the disk under it is full."""


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever read it has seen enough
        raise
    except OSError as error:
        raise OutputError(f"The output can't be written: {error.strerror}") from error


class Screen:
    """The terminal, or what stands in for it. Takes text as it is: a file name is never markup."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() else _PIPED_WIDTH
        self.console = Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)

    @property
    def live(self) -> bool:
        return self.console.is_terminal

    def _print(self, shown: Any, **how: Any) -> None:
        with _writing():
            self.console.print(shown, **how)

    def note(self, message: str) -> None:
        self.say(message, "dim")

    def say(self, message: str, style: str | None = None) -> None:
        # Styled as text: the style of a print would also colour the bars that are live below it.
        self._print(Text(printable(message), style=style or ""), soft_wrap=True)

    def error(self, message: str) -> None:
        self._print(Text.assemble(("Error: ", "bold red"), printable(message)), soft_wrap=True)

    def waiting(self, message: str) -> AbstractContextManager[Any]:
        return self.console.status(Text(message)) if self.live else nullcontext()

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """A table; the last column takes what room is left."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, no_wrap=number < len(headings) - 1, overflow="fold")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
        self._print(table)

    def details(self, title: str, value: Mapping[str, Any]) -> None:
        """A JSON object as a tree, without what is unknown."""
        self._print(_grown(Tree(Text(printable(title), style="bold")), value))

    def outcome(self, job: "JobView") -> None:
        """How a job ended: one line, then its results, warnings and error."""
        mark = {"succeeded": "✓", "failed": "✗"}.get(job.state, "-")
        name = f"{job.operation} {job.source_name}"
        cached = ", from the cache" if job.cached else ""
        self.say(f"{mark} {name}: {job.state}{_took(job)}{cached}", style=_STYLES.get(job.state))
        for artifact in job.artifacts[:_LISTED]:
            self.say(f"  {artifact.path or artifact.name}  ({decimal(artifact.size_bytes)})")
        if (more := job.artifact_count - _LISTED) > 0:
            self.say(f"  and {more} more: mediaray jobs files {job.id}")
        for warning in job.warnings:
            self.say(f"  warning: {warning}", style="yellow")
        if job.error:
            where = f", in {job.error.unit}" if job.error.unit else ""
            self.say(f"  {job.error.message} ({job.error.code}{where})", style="red")
        if job.state in ("failed", "cancelled"):
            again = f"   again: mediaray jobs retry {job.id}" if job.error is None or job.error.retryable else ""
            self.note(f"  details: mediaray jobs show {job.id}{again}")

    def plan(self, source: str, plan: "PlanView") -> None:
        self.say(f"{plan.operation} {source}: {_size(plan.units)}")
        if plan.explain:
            self.details("plan", plan.explain)
        self.table(
            ("UNIT", "CPUS", "MEMORY", "SECONDS"),
            [(str(unit.get("name", "")), *_needs(unit.get("needs", {}))) for unit in plan.units],
        )
        for warning in plan.warnings:
            self.say(f"warning: {warning}", style="yellow")
        self.note("Nothing was done. Leave out --explain to do it.")

    def jobs(self, jobs: Iterable["JobView"]) -> None:
        self.table(
            ("ID", "OPERATION", "STATE", "DONE", "PRIORITY", "CREATED", "SOURCE"),
            [
                (
                    job.id,
                    job.operation,
                    Text(job.state, style=_STYLES.get(job.state, "")),
                    f"{job.progress:.0%}",
                    job.priority,
                    (job.created_at or "")[:19].replace("T", " "),
                    job.source_name,
                )
                for job in jobs
            ],
        )


def print_json(value: Any) -> None:
    """One document on stdout, indented for a person."""
    with _writing():
        print(json.dumps(jsonable(value), indent=2 if sys.stdout.isatty() else None, ensure_ascii=False), flush=True)


def print_error(code: str, message: str) -> None:
    """As a document, for programs."""
    print_json({"error": {"code": code, "message": message}})


def print_json_line(value: Any) -> None:
    with _writing():
        print(json.dumps(jsonable(value), ensure_ascii=False), flush=True)


def jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: jsonable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(each) for each in value]
    return value


def printable(text: str) -> str:
    """Without control characters: a file's name can't move the cursor."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def duration(seconds: float) -> str:
    """``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def took_s(job: "JobView") -> float | None:
    if not job.started_at or not job.finished_at:
        return None
    return (datetime.fromisoformat(job.finished_at) - datetime.fromisoformat(job.started_at)).total_seconds()


def _took(job: "JobView") -> str:
    seconds = took_s(job)
    return f" in {duration(seconds)}" if seconds is not None else ""


def _size(units: Sequence[Mapping[str, Any]]) -> str:
    """How much work a plan is; of one that drives nobody knows before how many batches it will ask for."""
    if any(unit.get("needs", {}).get("drives") for unit in units):
        return "in batches, as many as there are files for"
    seconds = sum(float(unit.get("needs", {}).get("seconds", 0)) for unit in units)
    return f"{len(units)} unit{'s' * (len(units) != 1)}, about {duration(seconds)} of work"


def _needs(needs: Mapping[str, Any]) -> tuple[str, str, str]:
    least, most = needs.get("cpus", 1), needs.get("max_cpus", 1)
    memory = int(needs.get("memory_bytes") or 0)
    return (
        str(least) if most <= least else f"{least}–{most}",
        decimal(memory) if memory else "-",
        "-" if needs.get("drives") else f"{float(needs.get('seconds', 0)):.1f}",
    )


def _shown(value: Any) -> str:
    """Of a fraction, what tells a person something: three places, six below one."""
    return str(round(value, 3 if abs(value) >= 1 else 6) if isinstance(value, float) else value)


def _grown(tree: Tree, value: Mapping[str, Any]) -> Tree:
    for name, each in value.items():
        if each is None or each in ("", [], {}):
            continue
        if isinstance(each, Mapping):
            _grown(tree.add(Text(printable(name))), each)
        elif isinstance(each, list) and any(isinstance(item, Mapping) for item in each):
            for number, item in enumerate(each):
                entry = item if isinstance(item, Mapping) else {"value": item}
                _grown(tree.add(Text(printable(f"{name} {number}"))), entry)
        else:
            shown = ", ".join(map(_shown, each)) if isinstance(each, list) else _shown(each)
            tree.add(Text.assemble((f"{printable(name)}: ", "dim"), printable(shown)))
    return tree
