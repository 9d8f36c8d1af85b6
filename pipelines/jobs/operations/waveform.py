"""``waveform``: the peaks of a sound track for players and editors, and a picture of them."""

from collections.abc import Mapping

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.waveform.waveform_spec import JSON, MEMORY_BYTES, PICTURE, WaveformResult, WaveformSpec, estimate_s

_UNIT = "peaks"
_MEDIA_TYPES = {JSON: "application/json", PICTURE: "image/png"}


class Params(WaveformSpec, CommonParams):
    """Which peaks, in which colours."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.probing.probe:probe", MediaInfo, bench.sources[0])
    seconds = estimate_s(info)
    needs = Needs(cpus=0 if seconds < 1 else 1, max_cpus=1, memory_bytes=MEMORY_BYTES, seconds=seconds)
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"estimated_seconds": seconds}, media_s=info.duration_s)


def run(bench: Workbench, _unit: Unit) -> WaveformResult:
    return bench.call(
        "pipelines.media.waveform.waveform:waveform",
        WaveformResult,
        bench.sources[0],
        folder=str(bench.scratch),
        spec=bench.params_as(WaveformSpec),
    )


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    finished = units[_UNIT]
    result = WaveformResult.model_validate(finished.manifest)
    made = [Made(finished.folder / name, name, media_type) for name, media_type in _MEDIA_TYPES.items()]
    return Outcome(result, made, result.warnings)


OPERATION = Operation(
    name="waveform",
    summary="Make the waveform of a sound track: its peaks as JSON, as audiowaveform has them, and a picture.",
    params=Params,
    result=WaveformResult,
    plan=plan,
    run=run,
    join=join,
    kinds=frozenset({"video", "audio"}),
    output="folder",
    interactive=True,
    examples=({"sources": ["/music/example.flac"], "params": {"width": 1200, "colour": "#2f6fde"}},),
)
