"""``collection-report``: what a collection is like, in figures, as a page and as pictures."""

from collections.abc import Mapping
from typing import Any

from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import Where
from pipelines.bulk.report_page import charts_of, page_of
from pipelines.bulk.reporting import Report, report_on
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.charts_spec import Drawn
from pipelines.media.wording import counted

_UNIT = "figures"
_PAGE = "report.html"
_DRAW = "pipelines.media.charts:draw_charts"
_SHOWN = ("files", "described", "size_bytes", "duration_s", "missing", "unreadable")


class Params(CommonParams):
    """Of which files."""

    where: Where = None


def plan(bench: Workbench) -> Plan:
    collection = Collection.of_job(bench)
    needs = Needs(cpus=1, max_cpus=1, seconds=5.0, memory_bytes=1 << 30)
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"collection": collection.name})


def run(bench: Workbench, _unit: Unit) -> Report:
    report = report_on(Collection.of_job(bench), bench.params.where)
    charts = [chart.model_dump() for chart in charts_of(report)]
    bench.call_with(_DRAW, Drawn, {}, charts=charts, folder=str(bench.scratch))
    (bench.scratch / _PAGE).write_text(page_of(report))
    return report


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    made = units[_UNIT]
    report = Report.model_validate(made.manifest)
    plots = [f"{chart.name}.png" for chart in charts_of(report)]
    files = [Made(made.folder / name, name, "image/png") for name in plots]
    return Outcome(report, (Made(made.folder / _PAGE, _PAGE, "text/html"), *files))


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    told = {name: result[name] for name in _SHOWN}
    told["kinds"] = {each["name"]: counted(each["files"], "file") for each in result["kinds"]}
    told["waste"] = {name: result["waste"][name] for name in ("files", "gain_bytes")}
    told["failures"] = [
        f"{each['task'] or 'import'}: {each['code']}, {counted(each['files'], 'file')}" for each in result["failures"]
    ]
    return told


OPERATION = Operation(
    name="collection-report",
    summary="Tell what a collection is like: kinds, formats, sizes, quality, files with far more bits than their kind, "
    "and what failed and why; as JSON, as a page, and its plots as PNG.",
    params=Params,
    result=Report,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    output="folder",
    interactive=True,
    told=_told,
    examples=({"sources": ["collection:photos"], "params": {}},),
)
