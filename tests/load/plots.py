"""Lines over an axis, drawn as PNG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT = 1440, 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 40, 110, 80
_PAPER, _INK, _QUIET, _GRID = "#ffffff", "#1c2733", "#5d6b79", "#dfe4e9"
_COLOURS = ("#3b6ea5", "#c4572f", "#4d8a4d", "#8a5aa0", "#7a7a7a")
_HEADING_PX, _TEXT_PX, _LINE_PX = 28, 22, 3
_TICKS = 6


@dataclass
class Plot:
    """``lines`` are points ``(x, y)`` by name. A logarithmic axis takes values above 0."""

    title: str
    x: str
    y: str
    lines: dict[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False


class _Axis:
    """From values to pixels."""

    def __init__(self, values: Sequence[float], begin: int, end: int, *, log: bool) -> None:
        self._log, self._begin, self._end = log, begin, end
        if log:
            low, high = (math.log10(max(1e-3, each)) for each in (min(values), max(values)))
            self.low, self.high = math.floor(low), max(math.floor(low) + 1, math.ceil(high))
        else:
            self.low, self.high = min(0.0, min(values)), max(values) or 1.0

    def at(self, value: float) -> float:
        told = math.log10(max(1e-3, value)) if self._log else value
        return self._begin + (told - self.low) / ((self.high - self.low) or 1) * (self._end - self._begin)

    def ticks(self) -> list[float]:
        if self._log:
            return [10.0**power for power in range(int(self.low), int(self.high) + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / _TICKS))
        step *= next((by for by in (1, 2, 5) if (self.high - self.low) / (step * by) <= _TICKS), 10)
        return [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def draw(plot: Plot, path: Path) -> None:
    """Write it, 1440 pixels wide."""
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    pen, text = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT_PX)
    pen.text((_LEFT, 20), plot.title, _INK, ImageFont.load_default(_HEADING_PX))
    points = [point for line in plot.lines.values() for point in line] or [(0.0, 0.0), (1.0, 1.0)]
    across = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT, log=plot.log_x)
    up = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP, log=plot.log_y)
    for value in across.ticks():
        pen.line((across.at(value), _TOP, across.at(value), _HEIGHT - _BOTTOM), _GRID)
        pen.text((across.at(value), _HEIGHT - _BOTTOM + 8), f"{value:g}", _QUIET, text, anchor="ma")
    for value in up.ticks():
        pen.line((_LEFT, up.at(value), _WIDTH - _RIGHT, up.at(value)), _GRID)
        pen.text((_LEFT - 8, up.at(value)), f"{value:g}", _QUIET, text, anchor="rm")
    pen.text((_WIDTH - _RIGHT, _HEIGHT - 34), plot.x, _QUIET, text, anchor="ra")
    pen.text((_LEFT, 66), plot.y, _QUIET, text)
    right = float(_WIDTH - _RIGHT)
    for (name, line), colour in reversed(list(zip(plot.lines.items(), _COLOURS * 9, strict=False))):
        ends = [(across.at(x), up.at(y)) for x, y in line]
        if len(ends) > 1:
            pen.line(ends, colour, _LINE_PX, joint="curve")
        for x, y in ends if len(ends) < 30 else ():
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), colour)
        right -= pen.textlength(name, text)
        pen.text((right, 66), name, colour, text)
        right -= 30
    picture.save(path, "PNG", optimize=True)
