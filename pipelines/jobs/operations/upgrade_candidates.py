"""``upgrade-candidates``: which films of a library to replace, encode again or put into another container, and why.

A unit is a batch of films. What is wrong with one stands in its place and holds up no other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, Field

from cluster.errors import ChildFailedError
from cluster.locations import location_of
from pipelines.jobs.build import build_id, shape_of
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.file_sources import FILMS, Entry, entries_of, left_out_warning
from pipelines.jobs.models import JobError, Needs, Plan, Unit
from pipelines.jobs.picture_report import Failure
from pipelines.jobs.place_faults import PlaceError
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.info import MediaInfo
from pipelines.media.profiles import TranscodeParams, TranscodeSettings, merge
from pipelines.media.quality.quality_spec import memory_bytes
from pipelines.media.upgrades.ranking import Totals, rank_key, totals_of
from pipelines.media.upgrades.upgrades_spec import REENCODE, Advice, UpgradeSpec, cost_s

_PROBE, _ADVISE = "pipelines.media.probing.probe:probe", "pipelines.media.upgrades.advice:advise"
_ENTRIES = "films"  # in a unit's payload
_LIBRARY = replace(FILMS, most=20_000)
_LOOKED_AT = 6  # of many, to tell how long all take
_BATCH, _BATCH_S = 16, 30.0
_LEAST_MEMORY_BYTES = 1 << 30
_ARCHIVE = "archive-hevc"  # keeps size, depth, HDR, sound, subtitles, chapters
_COPYING = ("web-1080p", "av1-1080p", "archive-hevc", "webm-vp9")  # may copy a film into another container
_LISTED, _SHOWN = 50, 15  # films in a job's result, and those that a person is shown; all are in its report
_REPORT, _SUFFIX = "report.jsonl", ".plan.json"
_UPGRADED = ".upgraded"


class Params(UpgradeSpec, CommonParams):
    """What is worth an upgrade, and where it goes."""

    output: str | None = Field(None, description="The plan's file. Default: kept with the job, as an artifact.")
    into: str | None = Field(
        None,
        description="Folder for the films that the plan makes, with the tree of their sources. Default: beside them.",
        json_schema_extra={"format": "path"},
    )


class Candidate(BaseModel, frozen=True, extra="forbid"):
    """A film, with what to do with it or an error."""

    source: str
    name: str
    advice: Advice | None = None
    error: Failure | None = None


class Candidates(BaseModel, frozen=True, extra="forbid"):
    """A library's films, the most worth first: those that failed and the first 50; the report has all.

    ``jobs`` of transcodes are in the plan.
    """

    count: int
    failed: int
    jobs: int
    totals: Totals
    candidates: tuple[Candidate, ...]


class PlannedJob(BaseModel, frozen=True, extra="forbid"):
    """A job as ``POST /v1/jobs`` takes it; ``note``, for people, goes no further."""

    operation: str
    sources: tuple[str, ...]
    params: dict[str, Any]
    note: str


class _Manifest(BaseModel):
    """A batch's: for each of its films, in order, advice or an error.

    It is ``lasting`` where another try would come to the same.
    """

    advices: list[Advice | None]
    errors: list[Failure | None]
    lasting: bool = True


def plan(bench: Workbench) -> Plan:
    entries, left_out = entries_of(bench.sources, bench.roots, None, _LIBRARY)
    settings = {name: each.model_dump_json() for name, each in _settings(bench).items()}
    chosen = sorted({len(entries) * part // _LOOKED_AT for part in range(_LOOKED_AT)})
    looked = bench.call_each(_PROBE, MediaInfo, [entries[at].source for at in chosen], [{}] * len(chosen))
    infos = [each for each in looked if isinstance(each, MediaInfo)]
    each_s = sum(map(cost_s, infos)) / len(infos) if infos else 1.0
    size = max(1, min(_BATCH, int(_BATCH_S / each_s), -(-len(entries) // bench.slots)))
    batches = [entries[begin : begin + size] for begin in range(0, len(entries), size)]
    memory = max([_LEAST_MEMORY_BYTES, *map(memory_bytes, infos)])
    spec = bench.params_as(UpgradeSpec).model_dump_json()
    made_of = (build_id("pieces"), shape_of(_Manifest), _ADVISE, spec, json.dumps(settings, sort_keys=True))
    units = tuple(
        Unit(
            name=f"films-{number:04d}",
            needs=Needs(cpus=1, max_cpus=1, seconds=each_s * len(batch), memory_bytes=memory),
            payload={_ENTRIES: [entry.model_dump() for entry in batch]},
            key=bench.content_key([entry.source for entry in batch], *made_of),
        )
        for number, batch in enumerate(batches)
    )
    explain = {"films": len(entries), "estimated_seconds": round(each_s * len(entries), 2)}
    return Plan(units=units, explain=explain, warnings=left_out_warning(left_out))


def _settings(bench: Workbench) -> dict[str, TranscodeSettings]:
    """Of the re-encode, and of those profiles that may copy a film."""
    profiles, spec = bench.profiles(), bench.params_as(UpgradeSpec)
    if _ARCHIVE not in profiles:
        raise InvalidError(f"There is no profile {_ARCHIVE}, which films are encoded by.", "profile_unknown")
    copied = TranscodeParams(audio_codec="copy")
    return {
        REENCODE: merge(profiles[_ARCHIVE], TranscodeParams(codec=spec.codec)),
        **{name: merge(profiles[name], copied) for name in _COPYING if name in profiles},
    }


def run(bench: Workbench, unit: Unit) -> _Manifest:
    entries = [Entry.model_validate(each) for each in unit.payload[_ENTRIES]]
    made = bench.call_each(
        _ADVISE,
        Advice,
        [entry.source for entry in entries],
        [{}] * len(entries),
        spec=bench.params_as(UpgradeSpec),
        settings={name: each.model_dump(mode="json") for name, each in _settings(bench).items()},
    )
    return _Manifest(
        advices=[None if isinstance(each, JobError) else each for each in made],
        errors=[Failure(code=each.code, message=each.message) if isinstance(each, JobError) else None for each in made],
        lasting=not any(
            isinstance(each, PlaceError) or (isinstance(each, JobError) and each.retryable) for each in made
        ),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    found = [candidate for name in sorted(units) for candidate in _candidates(units[name])]
    failed = [each for each in found if each.error]
    if len(failed) == len(found) and failed[0].error:
        first = failed[0].error
        told = first.message if len(failed) == 1 else f"None of {len(failed)} films can be judged; {first.message}"
        raise ChildFailedError(first.code, told, {})
    judged = [(each, each.advice) for each in found if each.advice is not None]
    judged.sort(key=lambda pair: rank_key(pair[1]))
    ranked = [each for each, _ in judged]
    planned = list(_jobs(judged, bench.params.into))
    result = Candidates(
        count=len(found),
        failed=len(failed),
        jobs=len(planned),
        totals=totals_of(advice for _, advice in judged),
        candidates=(*failed[:_LISTED], *ranked[:_LISTED]),
    )
    plan_file, report = bench.scratch / f"upgrades{_SUFFIX}", bench.scratch / _REPORT
    plan_file.write_text(json.dumps({"jobs": [job.model_dump(mode="json") for job in planned]}, indent=1))
    report.write_text("".join(f"{each.model_dump_json()}\n" for each in (*failed, *ranked)))
    made = (
        Made(plan_file, f"{bench.source_stem}{_SUFFIX}", "application/json"),
        Made(report, _REPORT, "application/jsonl", own=True),
    )
    return Outcome(result, made, _warnings(failed, len(found)))


def _candidates(unit: Finished) -> Iterator[Candidate]:
    manifest = _Manifest.model_validate(unit.manifest)
    for entry, advice, error in zip(unit.payload[_ENTRIES], manifest.advices, manifest.errors, strict=True):
        yield Candidate(source=entry["source"], name=entry["name"], advice=advice, error=error)


def _jobs(judged: Sequence[tuple[Candidate, Advice]], into: str | None) -> Iterator[PlannedJob]:
    """Of each film that a transcode improves: into a file beside it, or into the tree of ``into``."""
    for candidate, advice in judged:
        recipe = advice.recipe
        if recipe is None:
            continue
        name, folder = PurePosixPath(candidate.name).name, location_of(candidate.source).parent
        target = folder / f"{name}{_UPGRADED}.{recipe.container}"
        if into is not None:
            target = location_of(into) / f"{candidate.name}.{recipe.container}"
        yield PlannedJob(
            operation="transcode",
            sources=(candidate.source,),
            params={**recipe.params, "output": str(target)},
            note=_line(advice),
        )


def _warnings(failed: Sequence[Candidate], count: int) -> tuple[str, ...]:
    if not failed or failed[0].error is None:
        return ()
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    reason = f"{failed[0].source}: {failed[0].error.message}{more}"
    return (f"{len(failed)} of {count} films can't be judged: {reason} ({_REPORT})",)


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The library in a few lines, then the first candidates by rank, a line each."""
    found = Candidates.model_validate(result)
    totals, shown = found.totals, [each for each in found.candidates if each.advice and each.advice.action != "keep"]
    told: dict[str, Any] = {
        "films": f"{found.count}, {_size(totals.size_bytes)}",
        **{action: count for action, count in totals.actions.items() if count},
        "broken": totals.broken or None,
        "failed": found.failed or None,
    }
    if totals.bytes_saved:
        told["saves"] = f"{_size(totals.bytes_saved)} ({_size(totals.least_bytes)} to {_size(totals.most_bytes)})"
    told["candidates"] = {
        f"{rank} {each.source}": _line(each.advice) for rank, each in enumerate(shown[:_SHOWN], 1) if each.advice
    }
    if found.jobs:
        told["plan"] = f"{found.jobs} jobs; start them with: mediaray jobs submit PLAN"
    return told


def _line(advice: Advice) -> str:
    gain = advice.gain
    parts: list[str] = ["broken" if advice.broken else advice.action]
    if gain and gain.bytes_saved is not None:
        parts.append(
            f"{_size(advice.size_bytes)} less {_size(gain.bytes_saved)} "
            f"({_size(gain.least_bytes or 0)} to {_size(gain.most_bytes or 0)})"
        )
    if gain and gain.points:
        parts.append(f"{gain.points:+.0f} points")
    return f"{', '.join(parts)}: {' '.join(advice.reasons)}"


def _size(size_bytes: int) -> str:
    value, unit = next(
        ((size_bytes / scale, unit) for scale, unit in ((10**9, "GB"), (10**6, "MB")) if size_bytes >= scale),
        (size_bytes / 1000, "kB"),
    )
    return f"{value:.1f} {unit}"


OPERATION = Operation(
    name="upgrade-candidates",
    summary="Tell which films of a library to replace, encode again or put into another container, and why, with the "
    "gain in bytes and quality; and write a plan of the transcodes.",
    params=Params,
    result=Candidates,
    plan=plan,
    run=run,
    join=join,
    many=True,
    output="file",
    suffix=lambda _params, _profiles: _SUFFIX,
    told=_told,
    examples=({"sources": ["/films"], "params": {"output": "/films/upgrades.plan.json"}},),
)
