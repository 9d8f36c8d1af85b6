"""``fingerprint``: what a film looks like in few words, alike in every encode of it."""

from collections.abc import Mapping

from pydantic import BaseModel

from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.fingerprint_spec import FRAMES, Fingerprint
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_spec import picture_memory_bytes
from pipelines.media.stills_spec import StillsSpec, estimate_s

_UNIT = "look"


class Params(BaseModel, frozen=True, extra="forbid"):
    """Nothing to choose: fingerprints are to be compared."""


def plan(bench: Workbench) -> Plan:
    info = bench.call("pipelines.media.probing.probe:probe", MediaInfo, bench.sources[0])
    seconds = estimate_s(info, StillsSpec(count=FRAMES))
    memory = picture_memory_bytes(info) if info.video else 0
    needs = Needs(cpus=0 if seconds < 1 else 1, max_cpus=1, memory_bytes=memory, seconds=seconds)
    explain = {"frames": FRAMES, "estimated_seconds": seconds}
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain=explain, media_s=info.duration_s)


def run(bench: Workbench, _unit: Unit) -> Fingerprint:
    return bench.call("pipelines.media.fingerprint:fingerprint", Fingerprint, bench.sources[0])


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    return Outcome(Fingerprint.model_validate(units[_UNIT].manifest))


OPERATION = Operation(
    name="fingerprint",
    summary="Tell what a film looks like in few words: perceptual hashes of eight frames, alike in every encode of it.",
    params=Params,
    result=Fingerprint,
    plan=plan,
    run=run,
    join=join,
    interactive=True,
    examples=({"sources": ["/films/example.mkv"], "params": {}},),
)
