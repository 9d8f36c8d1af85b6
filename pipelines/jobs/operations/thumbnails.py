"""``thumbnails``: stills of videos, at given times, evenly spread, or their most telling frames.

A unit is a film. What is wrong with one of many stands in its place and holds up no other.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from cluster.errors import ChildFailedError
from cluster.locations import location_of
from pipelines.jobs.build import build_id, shape_of
from pipelines.jobs.catalogue import CommonParams, Each, Made, Operation, Outcome
from pipelines.jobs.errors import told_error
from pipelines.jobs.file_sources import FILMS, Entry, entries_of, left_out_warning
from pipelines.jobs.models import JobError, Needs, Plan, Unit
from pipelines.jobs.picture_report import Failure
from pipelines.jobs.place_faults import PlaceError
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_spec import picture_memory_bytes
from pipelines.media.stills_spec import StillsResult, StillsSpec, estimate_s

_PROBE, _STILLS = "pipelines.media.probing.probe:probe", "pipelines.media.stills:stills"
_MOST_CPUS = 4  # of a film by itself
_FILM, _ALONE = "film", "alone"  # in a unit's payload
_LOOKED_AT = 6  # of many, to tell how long all take
_TOLD = 1000  # stills in a job's result; all are in its report
_REPORT = "report.jsonl"


class Params(StillsSpec, CommonParams):
    """Which stills, in which sizes and formats."""


class Film(BaseModel, frozen=True, extra="forbid"):
    """What came of one film: a result or an error. Of several, ``name`` is the folder that its stills are in."""

    source: str
    name: str
    result: StillsResult | None = None
    error: Failure | None = None


class _Manifest(BaseModel):
    """A unit's. It is ``lasting`` where another try would come to the same."""

    film: Film
    lasting: bool = True


class ThumbnailsResult(BaseModel, frozen=True, extra="forbid"):
    """What came of a job: of more than 1000 stills, the films that failed and the first; its report has all."""

    count: int
    failed: int
    files: int
    size_bytes: int
    films: tuple[Film, ...]


def plan(bench: Workbench) -> Plan:
    output = bench.params.output
    entries, left_out = entries_of(bench.sources, bench.roots, location_of(output) if output else None, FILMS)
    spec = bench.params_as(StillsSpec)
    alone = [entry.source for entry in entries] == list(bench.sources[:1])
    infos = _look(bench, entries, alone=alone)
    known = [estimate_s(info, spec) for info in infos]
    each_s = sum(known) / len(known) if known else 1.0
    needs = Needs(
        cpus=0 if each_s < 1 else 1,
        max_cpus=_MOST_CPUS if alone else 1,
        memory_bytes=max(map(picture_memory_bytes, infos), default=0),
        seconds=each_s,
    )
    made_of = (build_id("pieces"), shape_of(_Manifest), _STILLS, spec.model_dump_json())
    units = tuple(
        Unit(
            name=f"film-{number:04d}",
            needs=needs,
            payload={_FILM: entry.model_dump(), _ALONE: alone},
            key=None if alone else bench.content_key([entry.source], *made_of, entry.model_dump_json()),
        )
        for number, entry in enumerate(entries)
    )
    explain = {"films": len(entries), "estimated_seconds": round(each_s * len(entries), 3)}
    return Plan(units=units, explain=explain, warnings=left_out_warning(left_out))


def _look(bench: Workbench, entries: Sequence[Entry], *, alone: bool) -> list[MediaInfo]:
    """What some of the films are. Raises where there is but one, and it is none."""
    if alone:
        return [bench.call(_PROBE, MediaInfo, entries[0].source)]
    chosen = sorted({len(entries) * part // _LOOKED_AT for part in range(_LOOKED_AT)})
    looked = bench.call_each(_PROBE, MediaInfo, [entries[at].source for at in chosen], [{}] * len(chosen))
    return [each for each in looked if isinstance(each, MediaInfo)]


def run(bench: Workbench, unit: Unit) -> _Manifest:
    film = Entry.model_validate(unit.payload[_FILM])
    spec, threads = bench.params_as(StillsSpec), max(1, bench.cpus)
    wanted: dict[str, Any] = {"folder": str(bench.scratch), "spec": spec, "threads": threads}
    if unit.payload[_ALONE]:
        made: StillsResult | JobError = bench.call(_STILLS, StillsResult, film.source, **wanted)
    else:
        (made,) = bench.call_each(_STILLS, StillsResult, [film.source], [{}], **wanted)
    if isinstance(made, JobError):
        error = Failure(code=made.code, message=made.message)
        lasting = not made.retryable and not isinstance(made, PlaceError)
        return _Manifest(film=Film(source=film.source, name=film.name, error=error), lasting=lasting)
    return _Manifest(film=Film(source=film.source, name=film.name, result=made))


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    films = {name: _Manifest.model_validate(units[name].manifest).film for name in sorted(units)}
    made = [
        Made(
            units[name].folder / still.name,
            still.name if units[name].payload[_ALONE] else f"{film.name}/{still.name}",
            MEDIA_TYPES[still.format],
        )
        for name, film in films.items()
        for still in (film.result.items if film.result else ())
    ]
    failed = [film for film in films.values() if film.error is not None]
    if len(failed) == len(films) and failed[0].error:
        first, count = failed[0].error, len(failed)
        told = first.message if count == 1 else f"None of {count} films could be done; the first: {first.message}"
        raise ChildFailedError(first.code, told, {})
    result = ThumbnailsResult(
        count=len(films),
        failed=len(failed),
        files=len(made),
        size_bytes=sum(each.path.stat().st_size for each in made),
        films=tuple(_first([*failed, *(film for film in films.values() if film.result)])),
    )
    if len(films) > 1:
        report = bench.scratch / _REPORT
        report.write_text("".join(f"{json.dumps(film.model_dump(mode='json'))}\n" for film in films.values()))
        made.insert(0, Made(report, _REPORT, "application/jsonl", own=True))
    return Outcome(result, made, (*_warnings(failed, len(films)), *_fewer(films.values())))


def each_of(units: Mapping[str, Finished]) -> Iterator[Each]:
    """What came of each film of these units."""
    for name in sorted(units):
        film = _Manifest.model_validate(units[name].manifest).film
        items = film.result.items if film.result else ()
        made = [Made(units[name].folder / still.name, f"/{still.name}", MEDIA_TYPES[still.format]) for still in items]
        result = film.result.model_dump(mode="json") if film.result else None
        problem = told_error(film.error.code, film.error.message) if film.error else None
        yield Each(film.source, result, problem, made)


def _first(films: Sequence[Film]) -> list[Film]:
    """As many as have ``_TOLD`` stills in all, and one at least: enough to look at, and a job's record stays small."""
    shown: list[Film] = []
    stills = 0
    for film in films:
        stills += len(film.result.items) if film.result else 1
        if shown and stills > _TOLD:
            break
        shown.append(film)
    return shown


def _warnings(failed: Sequence[Film], count: int) -> tuple[str, ...]:
    if not failed or failed[0].error is None:
        return ()
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return (
        f"{len(failed)} of {count} films could not be done: {failed[0].source}: {failed[0].error.message}{more} "
        f"({_REPORT})",
    )


def _fewer(films: Iterable[Film]) -> tuple[str, ...]:
    """Of films with fewer stills than were asked for the first, and how many more there are."""
    told = [warning for film in films if film.result for warning in film.result.warnings]
    more = f" So it is with {len(told) - 1} more ({_REPORT})." if len(told) > 1 else ""
    return (f"{told[0]}{more}",) if told else ()


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of one film its stills, of several how many."""
    if result["count"] == 1:
        return {"items": result["films"][0]["result"]["items"]}
    return {name: result[name] for name in ("count", "failed", "files", "size_bytes")}


OPERATION = Operation(
    name="thumbnails",
    summary="Take stills of videos: at given times, evenly spread, or their most telling frames.",
    params=Params,
    result=ThumbnailsResult,
    plan=plan,
    run=run,
    join=join,
    many=True,
    each=each_of,
    output="folder",
    interactive=True,
    told=_told,
    examples=({"sources": ["/films/example.mkv"], "params": {"count": 6, "sizes": ["320"]}},),
)
