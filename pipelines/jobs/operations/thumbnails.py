"""``thumbnails``: stills of a video, at given times, evenly spread, or its most telling frames."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.info import MediaInfo
from pipelines.media.stills_spec import StillsResult, StillsSpec, estimate_s

_UNIT = "stills"


class Params(StillsSpec, CommonParams):
    """Which stills, in which sizes and format."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.probing.probe:probe", MediaInfo, bench.sources[0])
    seconds = estimate_s(info, bench.params_as(StillsSpec))
    needs = Needs(cpus=0 if seconds < 1 else 1, max_cpus=1, seconds=seconds)
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"estimated_seconds": seconds})


def run(bench: Workbench, _unit: Unit) -> StillsResult:
    return bench.call(
        "pipelines.media.stills:stills",
        StillsResult,
        bench.sources[0],
        folder=str(bench.scratch),
        spec=bench.params_as(StillsSpec),
    )


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    finished = units[_UNIT]
    result = StillsResult.model_validate(finished.manifest)
    made = [Made(finished.folder / item.name, item.name, MEDIA_TYPES[item.format]) for item in result.items]
    return Outcome(result, made)


OPERATION = Operation(
    name="thumbnails",
    summary="Take stills of a video: at given times, evenly spread, or its most telling frames.",
    params=Params,
    result=StillsResult,
    plan=plan,
    run=run,
    join=join,
    output="folder",
    interactive=True,
    examples=({"sources": ["/films/example.mkv"], "params": {"count": 6, "sizes": ["320"]}},),
)
