"""What a run came to: figures beside their bars, as Markdown with plots."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench import figures
from tests.load.plots import Plot, draw


@dataclass(frozen=True)
class Line:
    """A figure, and its bar: at most, or at least. Without either it is only stated."""

    what: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def row(self) -> str:
        bar = f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}" if self.least is not None else ""
        verdict = ("met" if self.met else "**missed**") if bar else ""
        return f"| {self.what} | {self.value:,.4g} {self.unit} | {bar} {self.unit if bar else ''} | {verdict} |"


@dataclass
class Section:
    """A profile's part of the report. ``failures`` fail a run whatever its bars are: requests, jobs, lost events."""

    title: str
    lines: list[Line] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    plots: dict[str, Plot] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        rows = ["| what | figure | bar | |", "| --- | --- | --- | --- |", *(line.row() for line in self.lines)]
        pictures = [f"![{plot.title}]({name}.png)" for name, plot in self.plots.items()]
        failed = [f"Failed: {each}" for each in self.failures]
        return "\n\n".join([f"## {self.title}", "\n".join(rows), *failed, *self.text, *pictures])


def percentile(samples: Sequence[float], percent: int) -> float:
    """Of none, 0: a trial may be too short for one."""
    return figures.percentile(samples, percent) if samples else 0.0


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def write(folder: Path, sections: Sequence[Section], command: str) -> Path:
    """Write ``report.md`` and the plots."""
    machine = (
        f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    head = [
        "# Load",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, Ray {version('ray')}; `{command}`. "
        "The load is made on the same cores as the work.",
    ]
    for section in sections:
        for name, plot in section.plots.items():
            draw(plot, folder / f"{name}.png")
    path = folder / "report.md"
    path.write_text("\n\n".join([*head, *(section.markdown() for section in sections)]) + "\n")
    return path
