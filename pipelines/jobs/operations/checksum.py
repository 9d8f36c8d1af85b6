"""``checksum``: the digest of all bytes of a file, which tells it from any other."""

from collections.abc import Mapping

from blake3 import blake3
from pydantic import BaseModel

from cluster.sources import open_source
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.place_faults import changed
from pipelines.jobs.workbench import Finished, Workbench

_UNIT = "read"
_CHUNK_BYTES = 4 << 20
_READ_PER_S = 200e6  # bytes, of a disk
_TOLD_EVERY_BYTES = 256 << 20


class Params(BaseModel, frozen=True, extra="forbid"):
    """Nothing to choose."""


class Checksum(BaseModel, frozen=True, extra="forbid"):
    """``blake3`` as 64 hex digits, as the program ``b3sum`` tells it."""

    blake3: str
    size_bytes: int


def plan(bench: Workbench) -> Plan:
    seconds = 0.01 + bench.size_bytes(bench.sources[0]) / _READ_PER_S
    needs = Needs(cpus=0 if seconds < 1 else 1, max_cpus=1, seconds=seconds)
    return Plan(units=(Unit(name=_UNIT, needs=needs),), explain={"estimated_seconds": round(seconds, 2)})


def run(bench: Workbench, _unit: Unit) -> Checksum:
    digest = blake3()
    with open_source(bench.sources[0], bench.roots) as opened:
        size_bytes = opened.size_bytes
        for begin in range(0, size_bytes, _CHUNK_BYTES):
            digest.update(opened.read(min(_CHUNK_BYTES, size_bytes - begin), begin))
            if begin % _TOLD_EVERY_BYTES == 0:
                bench.tell(begin / size_bytes)
        if opened.is_other():
            raise changed(opened)
    return Checksum(blake3=digest.hexdigest(), size_bytes=size_bytes)


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    return Outcome(Checksum.model_validate(units[_UNIT].manifest))


OPERATION = Operation(
    name="checksum",
    summary="Tell the BLAKE3 digest of all bytes of a file.",
    params=Params,
    result=Checksum,
    plan=plan,
    run=run,
    join=join,
    kinds=frozenset({"video", "audio", "image", "other"}),
    interactive=True,
    libraries=(),
    examples=({"sources": ["/films/example.mkv"], "params": {}},),
)
