"""``storyboard``: small pictures of a video at even times, on sheets, for players to show above their time line."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_spec import picture_memory_bytes
from pipelines.media.storyboard.storyboard_spec import JSON, VTT, StoryboardResult, StoryboardSpec, estimate_s

_UNIT = "tiles"
_MOST_CPUS = 4
_MEDIA_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp"}


class Params(StoryboardSpec, CommonParams):
    """Which tiles, on which sheets."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.probing.probe:probe", MediaInfo, bench.sources[0])
    seconds = estimate_s(info, bench.params_as(StoryboardSpec))
    needs = Needs(
        cpus=0 if seconds < 1 else 1, max_cpus=_MOST_CPUS, memory_bytes=picture_memory_bytes(info), seconds=seconds
    )
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"estimated_seconds": seconds}, media_s=info.duration_s)


def run(bench: Workbench, _unit: Unit) -> StoryboardResult:
    return bench.call(
        "pipelines.media.storyboard.storyboard:storyboard",
        StoryboardResult,
        bench.sources[0],
        folder=str(bench.scratch),
        spec=bench.params_as(StoryboardSpec),
        threads=max(1, bench.cpus),
    )


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    finished = units[_UNIT]
    result = StoryboardResult.model_validate(finished.manifest)
    names = {sheet.name: _MEDIA_TYPES[result.format] for sheet in result.sheets}
    names |= {VTT: "text/vtt", JSON: "application/json"}
    made = [Made(finished.folder / name, name, media_type) for name, media_type in names.items()]
    return Outcome(result, made, result.warnings)


OPERATION = Operation(
    name="storyboard",
    summary="Put small pictures of a video at even times on sheets, with WebVTT and JSON for players' previews.",
    params=Params,
    result=StoryboardResult,
    plan=plan,
    run=run,
    join=join,
    output="folder",
    interactive=True,
    examples=({"sources": ["/films/example.mkv"], "params": {"interval_s": 10, "tile": "160"}},),
)
