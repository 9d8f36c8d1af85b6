"""``image-thumbnails``: renditions of a picture, in several sizes of one decode."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.thumbnail_spec import MEDIA_TYPES, ThumbnailSpec, ThumbnailsResult, estimate_s

_UNIT = "renditions"


class Params(ThumbnailSpec, CommonParams):
    """Which renditions, in which format."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.images.header:look", ImageInfo, bench.sources[0])
    spec = bench.params_as(ThumbnailSpec)
    seconds = estimate_s(info, spec)
    needs = Needs(cpus=0 if seconds < 1 else 1, max_cpus=1, seconds=seconds)
    explain = {"source": info.model_dump(), "sizes": list(spec.sizes), "estimated_seconds": seconds}
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain=explain)


def run(bench: Workbench, _unit: Unit) -> ThumbnailsResult:
    return bench.call(
        "pipelines.media.images.thumbnails:thumbnails",
        ThumbnailsResult,
        bench.sources[0],
        folder=str(bench.scratch),
        spec=bench.params_as(ThumbnailSpec),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    finished = units[_UNIT]
    result = ThumbnailsResult.model_validate(finished.manifest)
    media_type = MEDIA_TYPES[bench.params_as(ThumbnailSpec).format]
    named = [each.model_copy(update={"name": f"{bench.source_stem}-{each.name}"}) for each in result.renditions]
    made = [
        Made(finished.folder / each.name, told.name, media_type)
        for each, told in zip(result.renditions, named, strict=True)
    ]
    return Outcome(result.model_copy(update={"renditions": tuple(named)}), made, result.warnings)


OPERATION = Operation(
    name="image-thumbnails",
    summary="Make renditions of a picture in several sizes: upright, in sRGB, without its metadata.",
    params=Params,
    result=ThumbnailsResult,
    plan=plan,
    run=run,
    join=join,
    output="folder",
    interactive=True,
    examples=({"sources": ["/photos/example.jpg"], "params": {"sizes": ["720", "square"]}},),
)
