"""``inspect``: what is in a file, is it whole, how good is it, and what does it look like; all of one pass over it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel

from cluster.errors import ChildCrashedError
from cluster.locations import location_of
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.crashes import crashed, survived
from pipelines.jobs.models import JobError, Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import MEDIA_TYPES
from pipelines.media.inspection.inspect_spec import Inspection, InspectionPlan, InspectSpec, Seen, conclude
from pipelines.media.parts import Part
from pipelines.media.probing.probe_result import PictureFindings
from pipelines.media.probing.probe_spec import picture_cost_s, picture_memory_bytes, sound_cost_s
from pipelines.media.quality.quality_spec import memory_bytes, part_cost_s
from pipelines.media.stills_spec import StillsResult, estimate_s
from pipelines.media.storyboard.storyboard_spec import JSON, VTT, StoryboardResult
from pipelines.media.validation.report import verdict_warning

_PART, _PICTURE, _STILLS = "part", "picture", "stills"
_INSPECTION = "pipelines.media.inspection.inspection"
_FILE = "inspection.json"
_TILES = "tiles.npz"
_NEVER_CUT_S = 1e9
_MAX_SERIAL_CPUS, _MOST_PICTURE_CPUS = 16, 4
_TOLD_OF_PROBE = ("container", "size_bytes", "duration_s", "bit_rate_bps")
_SHOWN = 20


class Params(InspectSpec, CommonParams):
    """How many pictures to make of it."""


class _Parts(BaseModel, frozen=True, extra="forbid"):
    """What was seen of a part: in one piece, or, where a decoder crashed, stream by stream."""

    seen: tuple[Seen, ...]


class _Beside(BaseModel, frozen=True, extra="forbid"):
    """What was found beside the pass, or why it couldn't be."""

    picture: PictureFindings | None = None
    stills: StillsResult | None = None
    failed: tuple[str, ...] = ()


def plan(bench: Workbench) -> Plan:
    source = bench.sources[0]
    identity = bench.identity(source)
    planned = _planned(bench)
    units = [*_part_units(planned), *_units_beside(planned, bench.params)]
    return Plan(
        units=tuple(sorted(units, key=lambda unit: -unit.needs.seconds)),
        shared={
            "plan": planned.model_copy(update={"parts": ()}).model_dump(mode="json"),
            "identities": {source: identity.digest},
        },
        media_s=planned.info.duration_s if planned.info else None,
        explain={
            "parts": len(planned.parts),
            "reason": planned.reason,
            "estimated_seconds": round(sum(unit.needs.seconds for unit in units), 2),
        },
    )


def _planned(bench: Workbench) -> InspectionPlan:
    function, spec = f"{_INSPECTION}:plan_inspection", bench.params_as(InspectSpec)
    call = partial(bench.call, function, InspectionPlan, bench.sources[0], spec=spec)
    planned = survived(partial(call, slots=bench.slots), partial(call, slots=1, whole_s=_NEVER_CUT_S))
    if isinstance(planned, ChildCrashedError):
        return InspectionPlan(looked=crashed(planned), reason="looking at it crashes")
    return planned


def _part_units(planned: InspectionPlan) -> Iterator[Unit]:
    if planned.info is None:
        return
    frames = sum(part.frames for part in planned.parts)
    points = 0.0 if planned.every_s is None else (planned.info.duration_s or 0.0) / planned.every_s
    audio = {track.index for track in planned.info.audio}
    alone = len(planned.parts) == 1
    for number, part in enumerate(planned.parts):
        seconds = part_cost_s(part, points * part.frames / max(1, frames))
        seconds += sound_cost_s(planned.info) if audio & set(part.streams) else 0.0
        yield Unit(
            name=f"{_PART}-{number:04d}",
            needs=_needs(seconds, memory_bytes(planned.info), _MAX_SERIAL_CPUS if alone else 1),
            payload={_PART: part.model_dump(mode="json")},
        )


def _units_beside(planned: InspectionPlan, params: Params) -> Iterator[Unit]:
    """What looks at a few frames of a film, however long it is, and goes to them."""
    info = planned.info
    if info is None:
        return
    memory = picture_memory_bytes(info)
    if info.video is not None:
        yield Unit(name=_PICTURE, needs=_needs(picture_cost_s(info), memory, _MOST_PICTURE_CPUS))
    if params.stills and (info.video or info.cover) is not None:
        yield Unit(name=_STILLS, needs=_needs(estimate_s(info, params.telling), memory, _MOST_PICTURE_CPUS))


def _needs(seconds: float, memory: int, most_cpus: int) -> Needs:
    return Needs(cpus=0 if seconds < 1 else 1, max_cpus=most_cpus, memory_bytes=memory, seconds=seconds)


def run(bench: Workbench, unit: Unit) -> BaseModel:
    planned = InspectionPlan.model_validate(bench.shared["plan"])
    if unit.name == _PICTURE:
        return _picture(bench, planned)
    if unit.name == _STILLS:
        return _stills(bench)
    return _Parts(seen=tuple(_seen(bench, planned, Part.model_validate(unit.payload[_PART]), _TILES)))


def _seen(bench: Workbench, planned: InspectionPlan, part: Part, tiles: str) -> Iterator[Seen]:
    """What a part shows; of one that crashes a decoder each stream by itself, so that the others are told of."""
    call = partial(
        bench.call,
        f"{_INSPECTION}:inspect_part",
        Seen,
        bench.sources[0],
        plan=planned,
        part=part,
        threads=max(1, bench.cpus),
        tiles=str(bench.scratch / tiles),
    )
    seen = survived(call, call)
    if not isinstance(seen, ChildCrashedError):
        yield seen
    elif len(part.streams) == 1:
        yield Seen(checked=crashed(seen, part))
    else:
        for index in part.streams:
            yield from _seen(bench, planned, part.model_copy(update={"streams": (index,)}), f"{index}-{tiles}")


def _picture(bench: Workbench, planned: InspectionPlan) -> _Beside:
    function = "pipelines.media.probing.pictures:look_at_picture"
    (found,) = bench.call_each(
        function, PictureFindings, bench.sources, [{}], info=planned.info, threads=max(1, bench.cpus)
    )
    return _Beside(failed=(found.message,)) if isinstance(found, JobError) else _Beside(picture=found)


def _stills(bench: Workbench) -> _Beside:
    folder, spec, threads = str(bench.scratch), bench.params.telling, max(1, bench.cpus)
    (made,) = bench.call_each(
        "pipelines.media.stills:stills", StillsResult, bench.sources, [{}], folder=folder, spec=spec, threads=threads
    )
    return _Beside(failed=(made.message,)) if isinstance(made, JobError) else _Beside(stills=made)


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    planned = InspectionPlan.model_validate(bench.shared["plan"])
    parts = {
        name: _Parts.model_validate(unit.manifest).seen
        for name, unit in sorted(units.items())
        if name.startswith(_PART)
    }
    picture, taken = (
        _Beside.model_validate(units[name].manifest if name in units else {}) for name in (_PICTURE, _STILLS)
    )
    tiles = [str(units[name].folder / seen.tiles) for name, each in parts.items() for seen in each if seen.tiles]
    board = None if planned.tiles is None else _board(bench, planned, tiles)
    failed = [*picture.failed, *taken.failed]
    if isinstance(board, JobError):
        failed.append(board.message)
        board = None
    seen = tuple(each for pieces in parts.values() for each in pieces)
    result = conclude(planned, seen, picture.picture, taken.stills, board)
    report = bench.scratch / _FILE
    report.write_text(result.model_dump_json())
    made = [Made(report, _FILE, "application/json")]
    made += [
        Made(units[_STILLS].folder / still.name, still.name, MEDIA_TYPES[still.format])
        for still in (taken.stills.items if taken.stills else ())
    ]
    if board is not None:
        types = {sheet.name: MEDIA_TYPES[board.format] for sheet in board.sheets}
        types |= {VTT: "text/vtt", JSON: "application/json"}
        made += [Made(bench.scratch / name, name, media_type) for name, media_type in types.items()]
    verdict = verdict_warning(location_of(bench.sources[0]).name, result.validation)
    return Outcome(result, made, (*verdict, *_warnings(planned, result, failed)))


def _board(bench: Workbench, planned: InspectionPlan, tiles: Sequence[str]) -> StoryboardResult | JobError:
    function, folder = f"{_INSPECTION}:make_storyboard", str(bench.scratch)
    (board,) = bench.call_each(
        function, StoryboardResult, bench.sources, [{}], plan=planned, tiles=tiles, folder=folder
    )
    return board


def _warnings(planned: InspectionPlan, result: Inspection, failed: Sequence[str]) -> tuple[str, ...]:
    warnings = [*planned.warnings, *failed]
    if result.probe is not None:
        found = (result.probe.packets, result.probe.picture, result.probe.sound)
        warnings += [warning for part in found if part is not None for warning in part.warnings]
    for part in (result.quality, result.storyboard):
        warnings += part.warnings if part is not None else ()
    return tuple(dict.fromkeys(warnings))


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a person reads first of each of the five; all of it is in the file."""
    validation = result["validation"]
    told: dict[str, Any] = {"verdict": validation["verdict"]}
    if findings := validation["findings"]:
        told["findings"] = [f"{each['severity']}: {each['message']}" for each in findings[:_SHOWN]]
    if probe := result["probe"]:
        told |= {name: probe[name] for name in _TOLD_OF_PROBE}
        for stream in probe["streams"]:
            size = f" {stream['width']}x{stream['height']}" if stream.get("width") else ""
            told[f"{stream['kind']} {stream['index']}"] = f"{stream['codec']}{size}"
    if quality := result["quality"]:
        told |= {name: quality[name] for name in ("score", "grade", "flawed_s")}
        told["recommendations"] = [each["message"] for each in quality["recommendations"]]
    if stills := result["stills"]:
        told["stills"] = [f"{each['name']} at {each['time_s']:.1f} s" for each in stills["items"]]
    if board := result["storyboard"]:
        told["storyboard"] = {"tiles": board["count"], "interval_s": board["interval_s"]}
    return told


OPERATION = Operation(
    name="inspect",
    summary="Tell all about a file in one pass over it: what is in it, whether it is whole, how good it is, its most "
    "telling frames, and a storyboard.",
    params=Params,
    result=Inspection,
    plan=plan,
    run=run,
    join=join,
    output="folder",
    told=_told,
    examples=(
        {"sources": ["/films/example.mkv"], "params": {}},
        {"sources": ["/films/example.mkv"], "params": {"stills": 10, "storyboard": False}},
    ),
)
