"""Bar charts drawn as PNG, for what shows no HTML."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipelines.media.charts_spec import Chart, Drawn
from pipelines.media.mux import write_errors

_WIDTH, _ROW, _MARGIN = 1440, 48, 32  # pixels: as many as sharp screens have
_LABEL, _FIGURES = 380, 400  # of a row, what its texts take
_HEADING_PX, _TEXT_PX, _BAR_PX, _GAP_PX = 32, 26, 32, 16
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PAPER, _INK, _QUIET, _COLOUR = "#ffffff", "#1c2733", "#5d6b79", "#3b6ea5"


def draw_charts(charts: tuple[Chart, ...], folder: Path) -> Drawn:
    """Draw each chart as ``NAME.png`` in ``folder``, 1440 pixels wide.

    Raises:
        EncodeError: they can't be written.
    """
    names = [f"{chart.name}.png" for chart in charts]
    for chart, name in zip(charts, names, strict=True):
        picture = drawn(chart)
        with write_errors():
            picture.save(folder / name, "PNG", optimize=True)
    return Drawn(names=tuple(names))


def drawn(chart: Chart) -> Image.Image:
    """The picture, 8 bits RGB: a heading, and a row of 48 pixels for each bar."""
    top = _MARGIN + 2 * _HEADING_PX
    picture = Image.new("RGB", (_WIDTH, top + len(chart.bars) * _ROW + _MARGIN), _PAPER)
    draw, text = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT_PX)
    draw.text((_MARGIN, _MARGIN), chart.heading, _INK, ImageFont.load_default(_HEADING_PX))
    most = max((bar.value for bar in chart.bars), default=0.0) or 1.0
    left = _MARGIN + _LABEL
    room = _WIDTH - left - _FIGURES - _MARGIN
    for number, bar in enumerate(chart.bars):
        middle = top + number * _ROW + _ROW // 2
        label = _fitting(draw, bar.label, text, _LABEL - _GAP_PX)
        draw.text((left - _GAP_PX, middle), label, _INK, text, anchor="rm")
        right = left + (max(2, round(room * bar.value / most)) if bar.value else 0)
        if bar.value:
            draw.rectangle((left, middle - _BAR_PX // 2, right - 1, middle + _BAR_PX // 2 - 1), _COLOUR)
        draw.text((right + _GAP_PX, middle), bar.told, _QUIET, text, anchor="lm")
    return picture


def _fitting(draw: ImageDraw.ImageDraw, label: str, text: _Font, most_px: int) -> str:
    if draw.textlength(label, text) <= most_px:
        return label
    end = len(label)
    while end and draw.textlength(f"{label[:end]}...", text) > most_px:
        end -= 1
    return f"{label[:end]}..."
