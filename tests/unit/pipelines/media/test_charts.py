"""Bar charts as pictures."""

import numpy as np
import pytest
from PIL import Image

from pipelines.media.charts import draw_charts, drawn
from pipelines.media.charts_spec import Bar, Chart
from pipelines.media.errors import EncodeError

BLUE = (0x3B, 0x6E, 0xA5)


def chart(*values: float, label: str = "jpeg") -> Chart:
    bars = tuple(Bar(label=label, value=value, told=f"{value} files") for value in values)
    return Chart(name="formats", heading="Formats", bars=bars)


def lengths(picture: Image.Image) -> list[int]:
    """Of the bars, in pixels, from above."""
    blue = (np.asarray(picture) == BLUE).all(axis=2).sum(axis=1)
    return [int(blue[row]) for row in range(1, len(blue)) if blue[row] and not blue[row - 1]]


def test_bars_are_as_long_as_their_values():
    most, half, quarter = lengths(drawn(chart(1000, 500, 250)))
    assert half == pytest.approx(most / 2, abs=1)
    assert quarter == pytest.approx(most / 4, abs=1)


def test_little_is_seen_and_nothing_isn_t():
    _, little = lengths(drawn(chart(1e9, 1, 0)))
    assert little == 2


def test_bars_of_nothing_are_none():
    assert lengths(drawn(chart(0, 0))) == []


def test_no_text_runs_into_a_bar():
    short, long = drawn(chart(5, label="x")), drawn(chart(5, label="long name " * 40))
    bar = slice(32 + 380, 1440)
    assert (np.asarray(short)[:, bar] == np.asarray(long)[:, bar]).all()


def test_each_is_a_file_of_its_name(tmp_path):
    assert draw_charts((chart(1, 2),), tmp_path).names == ("formats.png",)
    with Image.open(tmp_path / "formats.png") as picture:
        assert (picture.format, picture.mode, picture.width) == ("PNG", "RGB", 1440)


def test_what_can_t_be_written_is_told(tmp_path):
    with pytest.raises(EncodeError):
        draw_charts((chart(1),), tmp_path / "nowhere")
