"""Jobs on pictures: one, many or folders of them. A unit is a batch of them, done in one call of the child.

What is wrong with one picture stands in its place and holds up no other. A job fails where none of its pictures could
be done.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from cluster.errors import ChildFailedError, StorageError
from cluster.storage import local_path
from pipelines.jobs.catalogue import Made, Operation, Outcome
from pipelines.jobs.file_sources import PICTURES, Entry, entries_of, left_out_warning
from pipelines.jobs.models import JobError, Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, PlaceError, Workbench
from pipelines.media.images.info import MEDIA_TYPES, ImageInfo, ImageResult

R = TypeVar("R", bound=ImageResult)

_LOOK = "pipelines.media.images.header:look"
_PICTURES = "pictures"  # in a unit's payload
_LOOKED_AT = 6  # of many, to tell how long all take
_BATCH, _BATCH_S = 48, 10.0  # fair turns, and little that is lost with one
_LEAST_BATCH = 8
_ROUNDS = 4  # batches a slot, where there are enough pictures
_MIN_HEAVY_S = 1.0
_LARGE_PIXELS = 25_000_000
_LEAST_MEMORY_BYTES = 256 << 20
_THREADS, _SHARED_BYTES = 4, 3 << 29  # at most so many, and no more than what they need together
_TOLD = 50  # pictures in a job's result; all are in its report
_REPORT = "report.jsonl"
BUILD = "-".join(version(name) for name in ("mediaray", "pillow", "opencv-python-headless", "pyvips-binary"))


class Failure(BaseModel, frozen=True, extra="forbid"):
    """What was wrong with a picture."""

    code: str
    message: str


class Picture(BaseModel, Generic[R], frozen=True, extra="forbid"):
    """What came of one picture: a result or an error. ``name`` is what its files' names begin with."""

    source: str
    name: str
    result: R | None = None
    error: Failure | None = None


class Pictures(BaseModel, Generic[R], frozen=True, extra="forbid"):
    """What came of a job: of more than 50 pictures, those that failed and the first; its report has all.

    ``reused`` of them an earlier job had done.
    """

    count: int
    failed: int
    reused: int = 0
    files: int
    size_bytes: int
    pictures: tuple[Picture[R], ...]


class _Manifest(BaseModel):
    """A batch's: for each of its pictures, in order, a result as JSON or an error.

    It is ``lasting`` where another try would come to the same.
    """

    results: list[dict[str, Any] | None]
    errors: list[Failure | None]
    lasting: bool = True


@dataclass(frozen=True)
class PictureWork(Generic[R]):
    """What is done with each picture: ``function`` of the child takes ``source``, ``target`` and ``spec``.

    ``estimate_s`` are rough seconds on one core; ``bytes_per_pixel`` what it needs at most; ``endings`` of the files
    that it makes, where they are known before.
    """

    function: str
    spec: type[BaseModel]
    result: type[R]
    estimate_s: Callable[[ImageInfo, Any], float]
    bytes_per_pixel: int
    endings: Callable[[Any], Sequence[str]] = lambda _spec: ()


def picture_operation(
    name: str,
    summary: str,
    params: type[BaseModel],
    work: PictureWork[Any],
    output: Literal["none", "folder"] = "folder",
    examples: Sequence[Mapping[str, Any]] = (),
) -> Operation:
    """The operation that does ``work`` with each of its pictures."""
    result = Pictures[work.result]  # type: ignore[name-defined]

    def plan(bench: Workbench) -> Plan:
        return _plan(bench, work)

    def run(bench: Workbench, unit: Unit) -> _Manifest:
        return _run(bench, unit, work)

    def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
        return _join(bench, units, result)

    return Operation(
        name=name,
        summary=summary,
        params=params,
        result=result,
        plan=plan,
        run=run,
        join=join,
        many=True,
        output=output,
        interactive=True,
        told=_told,
        examples=examples,
    )


def _plan(bench: Workbench, work: PictureWork[Any]) -> Plan:
    output = getattr(bench.params, "output", None)
    entries, left_out = entries_of(bench.sources, bench.read_roots, local_path(output) if output else None, PICTURES)
    spec = bench.params_as(work.spec)
    _check_outputs(bench, entries, work.endings(spec))
    infos = _look(bench, entries)
    each_s = sum(work.estimate_s(info, spec) for info in infos) / len(infos) if infos else 0.1
    seconds = each_s * len(entries)
    pixels = max((info.width * info.height for info in infos), default=0)
    heavy = seconds >= _MIN_HEAVY_S or pixels > _LARGE_PIXELS
    batches = _batches(entries, bench.slots, max(1, min(_BATCH, int(_BATCH_S / each_s))))
    # Pillow holds the interpreter while it decodes AVIF: threads would wait for each other.
    one_bytes = max(1, pixels) * work.bytes_per_pixel
    threads = 1 if any(info.format == "avif" for info in infos) else max(1, min(_THREADS, _SHARED_BYTES // one_bytes))
    memory_bytes = _LEAST_MEMORY_BYTES + threads * one_bytes
    units = tuple(
        Unit(
            name=f"pictures-{number:04d}",
            needs=_needs(each_s * len(batch), heavy=heavy, threads=threads, memory_bytes=memory_bytes),
            payload={_PICTURES: [entry.model_dump() for entry in batch]},
            key=bench.content_key([entry.source for entry in batch], BUILD, work.function, spec.model_dump_json())
            if len(entries) > 1
            else None,
        )
        for number, batch in enumerate(batches)
    )
    explain: dict[str, Any] = {"pictures": len(entries), "estimated_seconds": round(seconds, 2)}
    if len(entries) == 1:
        explain["source"] = infos[0].model_dump()
    return Plan(units=units, explain=explain, warnings=left_out_warning(left_out))


def _batches(entries: Sequence[Entry], slots: int, most: int) -> list[Sequence[Entry]]:
    """At most so many in each; as many for each slot, and as equal as can be: all slots are done at one time."""
    least = min(_LEAST_BATCH, most)
    rounds = max(-(-len(entries) // (slots * most)), min(_ROUNDS, len(entries) // (slots * least)), 1)
    count = min(len(entries), slots * rounds) if len(entries) > least else 1
    edges = [len(entries) * number // count for number in range(count + 1)]
    return [entries[start:end] for start, end in pairwise(edges)]


def _check_outputs(bench: Workbench, entries: Sequence[Entry], endings: Sequence[str]) -> None:
    """Refuse before the work what would be refused after it."""
    output = getattr(bench.params, "output", None)
    if output is None:
        return
    sources = {_file_id(local_path(entry.source)) for entry in entries} if bench.params.overwrite else set()
    for entry in entries:
        for ending in endings:
            target = local_path(output) / (entry.name + ending)
            there = _file_id(target)
            if there is not None and not bench.params.overwrite:
                raise StorageError(
                    "output_exists", f"{target} exists already. Choose another folder, or set overwrite."
                )
            if there in sources and there is not None:
                raise _is_source(target)


def _needs(seconds: float, *, heavy: bool, threads: int, memory_bytes: int) -> Needs:
    if not heavy:
        return Needs(cpus=0, max_cpus=0, seconds=min(seconds, 0.99))
    return Needs(cpus=1, max_cpus=threads, seconds=max(seconds, _MIN_HEAVY_S), memory_bytes=memory_bytes)


def _look(bench: Workbench, entries: Sequence[Entry]) -> list[ImageInfo]:
    """What some of the pictures are. Raises where there is but one, and it is none."""
    if len(entries) == 1:
        return [bench.call(_LOOK, ImageInfo, entries[0].source)]
    chosen = sorted({len(entries) * part // _LOOKED_AT for part in range(_LOOKED_AT)})
    looked = bench.call_each(_LOOK, ImageInfo, [entries[at].source for at in chosen], [{}] * len(chosen))
    return [each for each in looked if isinstance(each, ImageInfo)]


def _run(bench: Workbench, unit: Unit, work: PictureWork[Any]) -> _Manifest:
    entries = [Entry.model_validate(each) for each in unit.payload[_PICTURES]]
    targets = [bench.scratch / f"{number:04d}" for number in range(len(entries))]
    made = bench.call_each(
        work.function,
        work.result,
        [entry.source for entry in entries],
        [{"target": str(target)} for target in targets],
        most_threads=_THREADS,
        spec=bench.params_as(work.spec),
    )
    failed = [each for each in made if isinstance(each, JobError)]
    if len(failed) == len(made) and all(each.retryable for each in failed):
        raise ChildFailedError(failed[0].code, failed[0].message, {})  # the work is at fault: the unit is tried again
    for target, each in zip(targets, made, strict=True):
        if isinstance(each, JobError):  # it may have left a part
            for left in target.parent.glob(f"{target.name}[-.]*"):
                left.unlink()
    return _Manifest(
        results=[None if isinstance(each, JobError) else each.model_dump(mode="json") for each in made],
        errors=[Failure(code=each.code, message=each.message) if isinstance(each, JobError) else None for each in made],
        lasting=not any(each.retryable or isinstance(each, PlaceError) for each in failed),
    )


@dataclass
class _Gathered:
    pictures: list[Picture[Any]] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)


def _join(bench: Workbench, units: Mapping[str, Finished], model: type[Pictures[Any]]) -> Outcome:
    gathered = _Gathered()
    for name in sorted(units):
        _gather(gathered, units[name])
    pictures, made = gathered.pictures, gathered.made
    _spare_sources(bench, gathered)
    failed = [each for each in pictures if each.error]
    if len(failed) == len(pictures) and failed[0].error:
        raise ChildFailedError(failed[0].error.code, _all_failed(failed), {})
    # The first ones that failed, and the first of the others: enough to look at, and a job's record stays small.
    shown = pictures if len(pictures) <= _TOLD else [*failed, *(each for each in pictures if each.result)][:_TOLD]
    result = model.model_validate(
        {
            "count": len(pictures),
            "failed": len(failed),
            "reused": sum(len(unit.payload[_PICTURES]) for unit in units.values() if unit.reused),
            "files": len(made),
            "size_bytes": sum(each.path.stat().st_size for each in made),
            "pictures": [each.model_dump() for each in shown],
        }
    )
    if len(pictures) > 1:
        report = bench.scratch / _REPORT
        report.write_text("".join(f"{json.dumps(each.model_dump(mode='json'))}\n" for each in pictures))
        made.insert(0, Made(report, _REPORT, "application/jsonl", own=True))
    warnings = _warnings(gathered.warnings, failed, len(pictures))
    if getattr(bench.params, "output", None) and not result.files and not failed:
        warnings = (*warnings, "No file was made: nothing was to be changed.")
    return Outcome(result, made, warnings)


def _spare_sources(bench: Workbench, gathered: _Gathered) -> None:
    """Also with ``overwrite``, no source is replaced; nor where the file system takes ``A.JPG`` for ``a.jpg``."""
    output = getattr(bench.params, "output", None)
    if output is None:
        return
    sources = {_file_id(local_path(each.source)) for each in gathered.pictures} - {None}
    for made in gathered.made:
        target = local_path(output) / made.name
        if _file_id(target) in sources:
            raise _is_source(target)


def _is_source(target: Path) -> StorageError:
    return StorageError("output_is_source", f"{target} is one of the sources. Choose another output folder.")


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _gather(gathered: _Gathered, unit: Finished) -> None:
    manifest = _Manifest.model_validate(unit.manifest)
    rows = zip(unit.payload[_PICTURES], manifest.results, manifest.errors, strict=True)
    for number, (entry, result, error) in enumerate(rows):
        told = ImageResult.model_validate(result, extra="ignore") if result is not None else None
        gathered.pictures.append(Picture[Any](source=entry["source"], name=entry["name"], result=result, error=error))
        for file in told.files if told else ():
            path = unit.folder / f"{number:04d}{file.name}"
            gathered.made.append(Made(path, entry["name"] + file.name, MEDIA_TYPES[file.format]))
        gathered.warnings.update(told.warnings if told else ())


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of one picture what came of it, of several how many."""
    if result["count"] == 1:
        own: Mapping[str, Any] = result["pictures"][0]["result"]
        return own
    return {name: result[name] for name in ("count", "failed", "reused", "files", "size_bytes")}


def _all_failed(failed: Sequence[Picture[Any]]) -> str:
    first = failed[0].error.message if failed[0].error else ""
    return first if len(failed) == 1 else f"None of {len(failed)} pictures could be done; the first: {first}"


def _warnings(told: Counter[str], failed: Sequence[Picture[Any]], count: int) -> tuple[str, ...]:
    warnings = [text if count == 1 else f"{times} of {count} pictures: {text}" for text, times in told.items()]
    if failed:
        first = failed[0]
        reason = f"{first.source}: {first.error.message}" if first.error else ""
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        warnings.insert(0, f"{len(failed)} of {count} pictures could not be done: {reason}{more} ({_REPORT})")
    return tuple(warnings)
