"""``probe``: what is in this file."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo


class ProbeParams(BaseModel):
    """Probe takes no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def plan(_bench: Workbench) -> Plan:
    return Plan(units=(Unit(name="headers", needs=Needs(cpus=0, max_cpus=0, seconds=0.05)),))


def run(bench: Workbench, _unit: Unit) -> MediaInfo:
    return bench.call("pipelines.media.probe:probe", MediaInfo, bench.sources[0])


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    return Outcome(MediaInfo.model_validate(units["headers"].manifest))


OPERATION = Operation(
    name="probe",
    summary="Tell what is in a file: container, streams, codecs, duration, colour, chapters and tags.",
    params=ProbeParams,
    result=MediaInfo,
    plan=plan,
    run=run,
    join=join,
    interactive=True,
    examples=({"sources": ["/films/example.mkv"], "params": {}},),
)
