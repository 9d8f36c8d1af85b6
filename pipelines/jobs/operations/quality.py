"""``quality``: how good a film looks and sounds, measured without its original."""

from collections.abc import Mapping
from typing import Any

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.parts import Part
from pipelines.media.quality.quality_result import conclude
from pipelines.media.quality.quality_spec import (
    Measured,
    QualityPlan,
    QualityResult,
    QualitySpec,
    memory_bytes,
    part_cost_s,
    windows_cost_s,
)

_WINDOWS, _PART = "windows", "part"
_SUFFIX = ".quality.json"
_FILE = "quality.json"
_MOST_CPUS = 4
_SHOWN = 20
_TOLD = ("score", "grade", "summary", "flawed_s", "sampled", "pictures", "samples", "worked_s")


class Params(QualitySpec, CommonParams):
    """How much of it to measure."""


def plan(bench: Workbench) -> Plan:
    source = bench.sources[0]
    identity = bench.identity(source)
    planned = bench.call(
        "pipelines.media.quality.quality:plan_quality",
        QualityPlan,
        source,
        spec=bench.params_as(QualitySpec),
        slots=bench.slots,
    )
    units = _part_units(planned) if bench.params.full else [_windows_unit(planned)]
    return Plan(
        units=tuple(sorted(units, key=lambda unit: -unit.needs.seconds)),
        shared={
            "plan": planned.model_copy(update={"parts": ()}).model_dump(mode="json"),
            "identities": {source: identity.digest},
        },
        media_s=planned.info.duration_s,
        explain={
            "decodes": "all" if bench.params.full else "windows",
            "parts": len(units),
            "estimated_seconds": round(sum(unit.needs.seconds for unit in units), 3),
        },
    )


def _windows_unit(planned: QualityPlan) -> Unit:
    return Unit(name=_WINDOWS, needs=_needs(planned, windows_cost_s(planned.info), most_cpus=_MOST_CPUS))


def _part_units(planned: QualityPlan) -> list[Unit]:
    frames = sum(part.frames for part in planned.parts)
    points = (planned.info.duration_s or 0.0) / planned.every_s
    return [
        Unit(
            name=f"{_PART}-{number:04d}",
            needs=_needs(planned, part_cost_s(part, points * part.frames / max(1, frames)), most_cpus=1),
            payload={_PART: part.model_dump(mode="json")},
        )
        for number, part in enumerate(planned.parts)
    ]


def _needs(planned: QualityPlan, seconds: float, most_cpus: int) -> Needs:
    return Needs(
        cpus=0 if seconds < 1 else 1,
        max_cpus=most_cpus,
        memory_bytes=memory_bytes(planned.info),
        seconds=seconds,
    )


def run(bench: Workbench, unit: Unit) -> Measured:
    planned = QualityPlan.model_validate(bench.shared["plan"])
    source, threads = bench.sources[0], max(1, bench.cpus)
    if unit.name == _WINDOWS:
        function = "pipelines.media.quality.windows:measure_windows"
        return bench.call(function, Measured, source, plan=planned, threads=threads)
    return bench.call(
        "pipelines.media.quality.quality:measure_part",
        Measured,
        source,
        plan=planned,
        part=Part.model_validate(unit.payload[_PART]),
        threads=threads,
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    planned = QualityPlan.model_validate(bench.shared["plan"])
    pieces = [Measured.model_validate(unit.manifest) for unit in units.values()]
    result = conclude(planned, pieces, bench.params_as(QualitySpec))
    path = bench.scratch / _FILE
    path.write_text(result.model_dump_json())
    return Outcome(result, (Made(path, f"{bench.source_stem}{_SUFFIX}", "application/json"),), result.warnings)


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The score and what it came from, the flaws, and what to do; not the curves."""
    told = {name: result[name] for name in _TOLD if result.get(name) is not None}
    for part in result["parts"]:
        told[part["name"]] = (
            f"takes {part['lost']:.0f} points: {part['value']:g} {part['unit']} ({part['source']}); "
            f"by itself it would score {part['score']:.0f}"
        )
    if flaws := result["flaws"]:
        told["flaws"] = [f"{each['kind']} {each['start_s']:.1f}-{each['end_s']:.1f} s" for each in flaws[:_SHOWN]]
    if advice := result["recommendations"]:
        told["recommendations"] = [
            each["message"] + (f" Profile {each['profile']}." if each["profile"] else "") for each in advice
        ]
    return told


OPERATION = Operation(
    name="quality",
    summary="Score how good a film looks, without its original: quantisers, detail, blur, noise, blocks, banding over "
    "time; black, frozen, silent and clipped stretches; and what would make it better.",
    params=Params,
    result=QualityResult,
    plan=plan,
    run=run,
    join=join,
    output="file",
    suffix=lambda _params, _profiles: _SUFFIX,
    told=_told,
    examples=(
        {"sources": ["/films/example.mkv"], "params": {}},
        {"sources": ["/films/example.mkv"], "params": {"full": True}},
    ),
)
