"""``transcode``: one file into another codec, size or container."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.plan import TranscodePlan, TranscodeResult
from pipelines.media.profiles import Profile, TranscodeParams, merge
from pipelines.media.streams import plan_streams

_FILE = "film"
_MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
_MEMORY_BYTES = 2 << 30  # SVT-AV1 at 1080p has 0.7 GB resident; larger pictures more
_MIN_HEAVY_S = 1.0  # encoders start threads and look ahead: never a thing for the interactive lane


class Params(TranscodeParams, CommonParams):
    """A profile, and what differs from it."""

    profile: str = Field("web-1080p", description="A profile's name; `mediaray profiles` lists them.")


def _profile(name: str, profiles: Mapping[str, Profile]) -> Profile:
    if name not in profiles:
        raise InvalidError(
            f"There is no profile {name!r}. There are: {', '.join(sorted(profiles))}.", "profile_unknown"
        )
    return profiles[name]


def suffix(params: Params, profiles: Mapping[str, Profile]) -> str:
    return f".{_profile(params.profile, profiles).container}"


def plan(bench: Workbench) -> Plan:
    params: Params = bench.params
    overrides = TranscodeParams.model_validate(params.model_dump(include=set(TranscodeParams.model_fields)))
    settings = merge(_profile(params.profile, bench.profiles()), overrides)
    info = bench.call("pipelines.media.probe:probe", MediaInfo, bench.sources[0])
    streams = plan_streams(info, settings)
    seconds = max(_MIN_HEAVY_S, streams.estimated_seconds or _MIN_HEAVY_S)
    encodes = any(stream.action == "encode" and stream.kind == "video" for stream in streams.streams)
    needs = Needs(cpus=1, max_cpus=16 if encodes else 1, memory_bytes=_MEMORY_BYTES, seconds=seconds)
    return Plan(
        units=(Unit(name=_FILE, needs=needs, payload=streams.model_dump(mode="json")),),
        explain=_explain(streams),
        warnings=streams.warnings,
    )


def _explain(streams: TranscodePlan) -> dict[str, Any]:
    return {
        "container": streams.container,
        "streams": [
            {"index": each.source_index, "kind": each.kind, "action": each.action, "reason": each.reason}
            for each in streams.streams
        ],
        "estimated_seconds": streams.estimated_seconds,
        "estimated_size_bytes": streams.estimated_size_bytes,
        "estimated_frames": streams.estimated_frames,
    }


def run(bench: Workbench, unit: Unit) -> TranscodeResult:
    streams = TranscodePlan.model_validate(unit.payload).model_copy(update={"threads": bench.cpus})
    return bench.call(
        "pipelines.media.transcode:transcode_verified",
        TranscodeResult,
        bench.sources[0],
        target=str(bench.scratch / f"{_FILE}.{streams.container}"),
        plan=streams,
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    film = units[_FILE]
    result = TranscodeResult.model_validate(film.manifest)
    container = _profile(bench.params.profile, bench.profiles()).container
    made = Made(film.folder / f"{_FILE}.{container}", f"{bench.source_stem}.{container}", _MEDIA_TYPES[container])
    return Outcome(result.model_copy(update={"name": made.name}), (made,), result.warnings)


OPERATION = Operation(
    name="transcode",
    summary="Encode a film or a sound file to a profile: streams that conform are copied, the output is verified.",
    params=Params,
    result=TranscodeResult,
    plan=plan,
    run=run,
    join=join,
    output="file",
    suffix=suffix,
    examples=(
        {
            "sources": ["/films/example.mkv"],
            "params": {"profile": "web-1080p", "output": "/films/example-web.mp4"},
        },
    ),
)
