"""``scenes``: where one shot of a video ends and the next begins."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.scenes.scenes_spec import (
    SUFFIX,
    ScenesPlan,
    ScenesResult,
    ScenesSpec,
    Stretch,
    StretchResult,
    gathered,
)

_STRETCH = "stretch"
_FILE = "scenes.json"


class Params(ScenesSpec, CommonParams):
    """Which scenes."""


def plan(bench: Workbench) -> Plan:
    source = bench.sources[0]
    identity = bench.identity(source)
    scenes = bench.call("pipelines.media.scenes.scenes:plan_scenes", ScenesPlan, source, slots=bench.slots)
    units = tuple(
        Unit(
            name=f"stretch-{number:04d}",
            needs=Needs(
                cpus=0 if stretch.cost_s < 1 else 1,
                max_cpus=1,
                memory_bytes=scenes.memory_bytes,
                seconds=stretch.cost_s,
            ),
            payload={_STRETCH: stretch.model_dump(mode="json")},
        )
        for number, stretch in enumerate(scenes.stretches)
    )
    return Plan(
        units=units,
        media_s=scenes.end_s,
        shared={
            "plan": scenes.model_copy(update={"stretches": ()}).model_dump(mode="json"),
            "identities": {source: identity.digest},
        },
        explain={
            "stretches": len(units),
            "estimated_seconds": round(sum(stretch.cost_s for stretch in scenes.stretches), 3),
        },
        warnings=scenes.warnings,
    )


def run(bench: Workbench, unit: Unit) -> StretchResult:
    return bench.call(
        "pipelines.media.scenes.scenes:find_shots",
        StretchResult,
        bench.sources[0],
        plan=ScenesPlan.model_validate(bench.shared["plan"]),
        stretch=Stretch.model_validate(unit.payload[_STRETCH]),
        threads=max(1, bench.cpus),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    scenes = ScenesPlan.model_validate(bench.shared["plan"])
    found = [StretchResult.model_validate(unit.manifest) for unit in units.values()]
    name = bench.file_name(SUFFIX)
    file, result = gathered(scenes, found, bench.params_as(ScenesSpec), name)
    path = bench.scratch / _FILE
    path.write_text(file.model_dump_json())
    return Outcome(result, (Made(path, name, "application/json"),), result.warnings)


OPERATION = Operation(
    name="scenes",
    summary="Find where one shot of a video ends and the next begins: cuts, dissolves and fades, with how sure it is.",
    params=Params,
    result=ScenesResult,
    plan=plan,
    run=run,
    join=join,
    output="file",
    suffix=lambda _params, _profiles: SUFFIX,
    told=lambda result: {name: value for name, value in result.items() if name != "boundaries"},
    examples=({"sources": ["/films/example.mkv"], "params": {"min_scene_s": 1}},),
)
