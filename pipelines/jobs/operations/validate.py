"""``validate``: does a file decode to its end, and is it whole?"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from cluster.errors import ChildCrashedError
from cluster.locations import location_of
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.crashes import crashed, survived
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.parts import Part
from pipelines.media.validation.hash_file import HashComparison, HashFile
from pipelines.media.validation.report import Checked, ValidationResult, conclude, merge, verdict_warning
from pipelines.media.validation.validate_spec import QUICK_BYTES, ValidationPlan, ValidationSpec

_QUICK, _PART = "quick", "part"
_HASHES_FILE, _HASHES_TYPE = "frames.parquet", "application/vnd.apache.parquet"
_SUFFIX = ".hashes.parquet"
_QUICK_S, _QUICK_BYTES_PER_S = 0.3, 400e6
_MIN_HEAVY_S = 1.0
_MEMORY_BYTES, _BYTES_PER_PIXEL = 192 << 20, 100
_MAX_SERIAL_CPUS = 16
_HASHES_PER_S, _HASH_BYTES = 1e6, 200  # joined and compared, both files in memory
_TIMED = frozenset({"video", "audio"})
_NEVER_CUT_S = 1e9
_JOIN_NEEDS: Needs = Plan.model_fields["join"].default
_NO_HASHES = "No frame has a hash: nothing could be decoded."
_TOLD = ("verdict", "findings", "frames", "samples", "packets_read", "decoded", "worked_s")
_TOLD_OF_COMPARED = ("compared", "changed", "missing", "added", "moved")


class Params(ValidationSpec, CommonParams):
    """How thoroughly, and what to compare with."""

    against: str | None = Field(
        None,
        description="A file of frame hashes that an earlier validation kept: tells each frame that differs.",
        json_schema_extra={"format": "path"},
    )

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if self.level == "quick" and (self.hashes or self.against):
            raise ValueError("quick decodes only the first and last frames; for hashes, set level to full")
        if self.output is not None and not self.hashes:
            raise ValueError("output is where the frame hashes go; set hashes, too")
        return self


class Result(ValidationResult):
    """``compared`` is what ``against`` came to."""

    compared: HashComparison | None = None


def plan(bench: Workbench) -> Plan:
    params: Params = bench.params
    source = bench.sources[0]
    if params.level == "quick":
        seconds = _QUICK_S + min(QUICK_BYTES, bench.size_bytes(source)) / _QUICK_BYTES_PER_S
        cpus = 0 if seconds < _MIN_HEAVY_S else 1
        return Plan(units=(Unit(name=_QUICK, needs=Needs(cpus=cpus, max_cpus=cpus, seconds=seconds)),))
    identity = bench.identity(source)
    planned = _planned(bench)
    return plan_of(planned, {source: identity.digest}, _join_needs(planned) if _keeps_hashes(bench) else _JOIN_NEEDS)


def _planned(bench: Workbench) -> ValidationPlan:
    call = partial(bench.call, "pipelines.media.validation.full:plan_validation", ValidationPlan, bench.sources[0])
    planned = survived(partial(call, slots=bench.slots), partial(call, slots=1, whole_s=_NEVER_CUT_S))
    if isinstance(planned, ChildCrashedError):
        return ValidationPlan(looked=crashed(planned), parts=(), packets_read=False, reason="looking at it crashes")
    return planned


def _join_needs(planned: ValidationPlan) -> Needs:
    """Of a join that has a hash of each frame and packet."""
    hashes = sum(stream.packets for stream in planned.looked.streams if stream.kind in _TIMED)
    seconds = _JOIN_NEEDS.seconds + hashes / _HASHES_PER_S
    cpus = 0 if seconds < _MIN_HEAVY_S else 1
    return Needs(cpus=cpus, max_cpus=cpus, memory_bytes=_MEMORY_BYTES + _HASH_BYTES * hashes, seconds=seconds)


def plan_of(planned: ValidationPlan, identities: Mapping[str, str], join: Needs = _JOIN_NEEDS) -> Plan:
    """The units that decode the parts of ``planned``, the longest first."""
    units = [
        Unit(
            name=f"{_PART}-{number:04d}",
            needs=_needs(part, alone=len(planned.parts) == 1),
            payload={_PART: part.model_dump(mode="json")},
        )
        for number, part in enumerate(planned.parts)
    ]
    return Plan(
        units=tuple(sorted(units, key=lambda unit: -unit.needs.seconds)),
        shared={
            "looked": planned.looked.model_dump(mode="json"),
            "packets_read": planned.packets_read,
            "identities": dict(identities),
        },
        join=join,
        media_s=max((stream.end_s for stream in planned.looked.streams if stream.end_s is not None), default=None),
        explain={
            "parts": len(planned.parts),
            "reason": planned.reason,
            "estimated_seconds": round(sum(part.cost_s for part in planned.parts), 2),
        },
    )


def _needs(part: Part, *, alone: bool) -> Needs:
    memory_bytes = _MEMORY_BYTES + _BYTES_PER_PIXEL * part.pixels
    if alone and part.cost_s < _MIN_HEAVY_S:
        return Needs(cpus=0, max_cpus=0, memory_bytes=memory_bytes, seconds=part.cost_s)
    most = _MAX_SERIAL_CPUS if alone else 1
    return Needs(cpus=1, max_cpus=most, memory_bytes=memory_bytes, seconds=max(_MIN_HEAVY_S, part.cost_s))


def run(bench: Workbench, unit: Unit) -> BaseModel:
    if unit.name == _QUICK:
        return _quick(bench)
    return _checked(bench, Part.model_validate(unit.payload[_PART]), _HASHES_FILE)


def _quick(bench: Workbench) -> ValidationResult:
    call = partial(bench.call, "pipelines.media.validation.quick:validate_quick", ValidationResult, bench.sources[0])
    result = survived(call, call)
    if isinstance(result, ChildCrashedError):
        return conclude(crashed(result), level="quick", packets_read="none", decoded="none")
    return result


def _checked(bench: Workbench, part: Part, hashes: str) -> Checked:
    """Check a part; of one that crashes a decoder each stream by itself, so that the others are told of."""
    call = partial(
        bench.call,
        "pipelines.media.validation.full:check_part_hashed",
        Checked,
        bench.sources[0],
        part=part,
        threads=max(1, bench.cpus),
        hashes=str(bench.scratch / hashes) if _keeps_hashes(bench) else None,
    )
    checked = survived(call, call)
    if not isinstance(checked, ChildCrashedError):
        return checked
    if len(part.streams) == 1:
        return crashed(checked, part)
    apart = {f"{index}-{hashes}": part.model_copy(update={"streams": (index,)}) for index in part.streams}
    pieces = [_checked(bench, stream, own) for own, stream in apart.items()]
    _join_hashes(bench, [bench.scratch / own for own in apart], hashes)
    return merge(pieces)


def _keeps_hashes(bench: Workbench) -> bool:
    return bool(bench.params.hashes or bench.params.against)


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    name = location_of(bench.sources[0]).name
    if _QUICK in units:
        quick = Result.model_validate(units[_QUICK].manifest)
        return Outcome(quick, warnings=verdict_warning(name, quick))
    pieces = [Checked.model_validate(unit.manifest) for unit in units.values()]
    compared, made = None, []
    hashes = _join_hashes(bench, [units[name].folder / _HASHES_FILE for name in sorted(units)], _HASHES_FILE)
    if hashes is not None:
        if bench.params.hashes:
            made.append(Made(hashes, f"{bench.source_stem}{_SUFFIX}", _HASHES_TYPE))
        if bench.params.against is not None:
            compared = bench.call(
                "pipelines.media.validation.hash_comparison:compare",
                HashComparison,
                bench.params.against,
                hashes=str(hashes),
            )
            pieces.append(Checked(findings=compared.findings))
    result = conclude(
        merge([Checked.model_validate(bench.shared["looked"]), *pieces]),
        level="full",
        packets_read="all" if bench.shared["packets_read"] else "none",
        decoded="all" if units else "none",
    )
    warnings = [*verdict_warning(name, result), *([_NO_HASHES] if _keeps_hashes(bench) and hashes is None else [])]
    return Outcome(Result(**dict(result), compared=compared), made, warnings)


def _join_hashes(bench: Workbench, paths: Sequence[Path], name: str) -> Path | None:
    """Join those that were kept, if any: of what crashes its decoder there are none."""
    kept = [path for path in paths if path.exists()]
    if not kept:
        return None
    joined = bench.scratch / name
    function = "pipelines.media.validation.hash_file:join_files"
    bench.call_with(function, HashFile, {}, paths=[str(path) for path in kept], target=str(joined))
    return joined


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    told = {name: result[name] for name in _TOLD if name in result}
    compared = result.get("compared")
    return told | ({"hashes": {name: compared[name] for name in _TOLD_OF_COMPARED}} if compared else {})


def _suffix(_params: Any, _profiles: Mapping[str, Any]) -> str:
    return _SUFFIX


OPERATION = Operation(
    name="validate",
    summary="Tell whether a file is whole: container, times, every frame decoded; and find later rot by frame hashes.",
    params=Params,
    result=Result,
    plan=plan,
    run=run,
    join=join,
    kinds=frozenset({"video", "audio"}),
    output="file",
    interactive=True,
    suffix=_suffix,
    told=_told,
    libraries=("av",),
    examples=(
        {"sources": ["/films/example.mkv"], "params": {"level": "quick"}},
        {"sources": ["/films/example.mkv"], "params": {"hashes": True, "output": "/films/example.hashes.parquet"}},
    ),
)
