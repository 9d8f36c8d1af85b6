"""``preview``: some seconds of a video's highlights, as an animated WebP or AVIF, or an MP4."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.preview.preview_spec import MEDIA_TYPES, PreviewResult, PreviewSpec, estimate_s, memory_bytes

_UNIT = "preview"
_MOST_CPUS = 4


class Params(PreviewSpec, CommonParams):
    """Which pieces of the video, and as what."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.probing.probe:probe", MediaInfo, bench.sources[0])
    spec = bench.params_as(PreviewSpec)
    seconds = estimate_s(info, spec)
    needs = Needs(
        cpus=0 if seconds < 1 else 1, max_cpus=_MOST_CPUS, memory_bytes=memory_bytes(info, spec), seconds=seconds
    )
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"estimated_seconds": seconds}, media_s=info.duration_s)


def run(bench: Workbench, _unit: Unit) -> PreviewResult:
    return bench.call(
        "pipelines.media.preview.preview:preview",
        PreviewResult,
        bench.sources[0],
        folder=str(bench.scratch),
        spec=bench.params_as(PreviewSpec),
        threads=max(1, bench.cpus),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    finished = units[_UNIT]
    made = PreviewResult.model_validate(finished.manifest)
    result = made.model_copy(update={"name": bench.file_name(f".{made.name}")})
    return Outcome(result, (Made(finished.folder / made.name, result.name, MEDIA_TYPES[made.format]),), result.warnings)


OPERATION = Operation(
    name="preview",
    summary="Show some seconds of a video's highlights as a short moving picture: animated WebP or AVIF, or MP4.",
    params=Params,
    result=PreviewResult,
    plan=plan,
    run=run,
    join=join,
    output="file",
    suffix=lambda params, _profiles: f".preview.{params.format}",
    told=lambda result: {name: value for name, value in result.items() if name != "segments"},
    examples=({"sources": ["/films/example.mkv"], "params": {"format": "mp4", "segments": 8}},),
)
