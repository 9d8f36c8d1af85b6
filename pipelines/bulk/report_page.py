"""A report as a page: one file, which loads nothing and runs nothing. Bars are SVG, so that they show anywhere."""

from collections.abc import Iterable, Sequence
from html import escape

from rich.filesize import decimal

from pipelines.bulk.reporting import Bin, Group, Report
from pipelines.media.charts_spec import Bar, Chart
from pipelines.media.wording import counted

_WIDTH, _ROW, _LABEL, _FIGURES = 720, 24, 190, 200  # pixels of a chart, and what its texts take of it
_COLOUR, _INK, _QUIET = "#3b6ea5", "#1c2733", "#5d6b79"
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #1c2733; max-width: 960px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem }}
p {{ color: #5d6b79; margin: .2rem 0 }} svg {{ max-width: 100%; height: auto }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px }} th {{ text-align: left; color: #5d6b79 }}
td, th {{ padding: .25rem .5rem; border-bottom: 1px solid #e3e8ed; overflow-wrap: anywhere; vertical-align: top }}
td.n, th.n {{ text-align: right; white-space: nowrap }}
</style></head><body>
"""
_GROUPED = {
    "kinds": "Kinds",
    "formats": "Formats",
    "video_codecs": "Video codecs",
    "audio_codecs": "Audio codecs",
    "heights": "Heights of pictures, in pixels",
    "sizes": "Sizes of files",
    "years": "Years of last change",
}


def page_of(report: Report) -> str:
    """The HTML."""
    parts = [_HEAD.format(title=escape(f"Collection {report.collection}")), f"<h1>{escape(report.collection)}</h1>"]
    parts.append(f"<p>{_totals(report)}</p>")
    parts += [_section(chart.heading, _svg(chart.bars)) for chart in charts_of(report)]
    parts.append(_section("Waste", _waste(report)))
    parts.append(_section("Failures", _failures(report)))
    return "\n".join((*parts, "</body></html>\n"))


def charts_of(report: Report) -> tuple[Chart, ...]:
    """What the page shows as bars."""
    charts = []
    for name, heading in _GROUPED.items():
        groups: Sequence[Group] = getattr(report, name)
        if len(groups) > 1 or (groups and groups[0].name is not None):
            charts.append(Chart(name=name, heading=heading, bars=tuple(map(_group_bar, groups))))
    for kind in dict.fromkeys(each.kind for each in report.quality):
        bins = [each for each in report.quality if each.kind == kind]
        charts.append(Chart(name=f"quality-{kind}", heading=f"Quality scores: {kind}", bars=_score_bars(bins)))
    return tuple(charts)


def _totals(report: Report) -> str:
    told = [counted(report.files, "file"), decimal(report.size_bytes)]
    if report.duration_s:
        told.append(f"{report.duration_s / 3600:,.1f} hours")
    if report.described < report.files:
        told.append(f"{report.files - report.described:,} not looked into yet")
    told += [
        f"{count:,} {what}" for count, what in ((report.missing, "missing"), (report.unreadable, "unreadable")) if count
    ]
    return escape(", ".join(told))


def _section(heading: str, content: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{content}"


def _group_bar(group: Group) -> Bar:
    told = f"{counted(group.files, 'file')}, {decimal(group.size_bytes)}"
    return Bar(label=group.name or "not known", value=group.size_bytes, told=told)


def _score_bars(bins: Sequence[Bin]) -> tuple[Bar, ...]:
    counts = {each.least: each.files for each in bins}
    return tuple(
        Bar(label=f"{least} to {least + 10}", value=counts.get(least, 0), told=counted(counts.get(least, 0), "file"))
        for least in range(0, 100, 10)
    )


def _svg(bars: Sequence[Bar]) -> str:
    most = max((bar.value for bar in bars), default=0) or 1
    room = _WIDTH - _LABEL - _FIGURES
    drawn = []
    for number, bar in enumerate(bars):
        at, width = number * _ROW, max(1.0, room * bar.value / most) if bar.value else 0.0
        shown = bar.label if len(bar.label) <= 26 else f"{bar.label[:25]}…"
        drawn.append(
            f'<text x="{_LABEL - 8}" y="{at + 16}" text-anchor="end" fill="{_INK}">{escape(shown)}'
            f"<title>{escape(bar.label)}</title></text>"
            f'<rect x="{_LABEL}" y="{at + 4}" width="{width:.1f}" height="16" rx="2" fill="{_COLOUR}"/>'
            f'<text x="{_LABEL + width + 8:.1f}" y="{at + 16}" fill="{_QUIET}">{escape(bar.told)}</text>'
        )
    height = len(bars) * _ROW
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">{"".join(drawn)}</svg>'
    )


def _waste(report: Report) -> str:
    waste = report.waste
    if not waste.files:
        return "<p>No file has far more bits for each pixel than its kind.</p>"
    head = (
        f"<p>More than three times the bits for each pixel that are usual here for their kind and codec: "
        f"{counted(waste.files, 'file')}. With as many as is usual they were {decimal(waste.gain_bytes)} smaller.</p>"
    )
    rows = (
        (
            each.path,
            each.codec,
            decimal(each.size_bytes),
            f"{each.bits_per_pixel:.3g}",
            f"{each.usual:.3g}",
            decimal(each.gain_bytes),
        )
        for each in waste.listed
    )
    return head + _table(("File", "Codec", "Size", "Bits a pixel", "Usual", "Gain"), 2, rows)


def _failures(report: Report) -> str:
    if not report.failures:
        return "<p>None.</p>"
    rows = ((each.task or "import", each.code, each.example, f"{each.files:,}") for each in report.failures)
    return _table(("Task", "Code", "For example", "Files"), 3, rows)


def _table(headings: Sequence[str], figures_from: int, rows: Iterable[Sequence[str]]) -> str:
    """``figures_from``: the number of the first column of figures."""

    def row(cells: Sequence[str], tag: str) -> str:
        told = (
            f"<{tag}{' class=n' if number >= figures_from else ''}>{escape(cell)}</{tag}>"
            for number, cell in enumerate(cells)
        )
        return f"<tr>{''.join(told)}</tr>"

    return f"<table>{row(headings, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"
