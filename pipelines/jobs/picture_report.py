"""What came of a job on pictures, of each and of all: its result, its files, its warnings and its report."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from cluster.errors import ChildFailedError
from pipelines.jobs.catalogue import Each, Made, Outcome
from pipelines.jobs.errors import told_error
from pipelines.jobs.picture_outputs import spare_sources
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import MEDIA_TYPES, ImageResult

R = TypeVar("R", bound=ImageResult)

PICTURES = "pictures"  # in a unit's payload
_TOLD = 50  # pictures in a job's result; all are in its report
_REPORT = "report.jsonl"
_OF_JOB = ("files", "warnings")  # of a result, told beside it


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


class Manifest(BaseModel):
    """A batch's: for each of its pictures, in order, a result as JSON or an error.

    It is ``lasting`` where another try would come to the same.
    """

    results: list[dict[str, Any] | None]
    errors: list[Failure | None]
    lasting: bool = True


@dataclass
class _Gathered:
    pictures: list[Picture[Any]] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    warnings: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # each of which sources


def join(bench: Workbench, units: Mapping[str, Finished], model: type[Pictures[Any]]) -> Outcome:
    """The outcome of a job of these units, as ``model``.

    Raises:
        ChildFailedError: none of its pictures could be done.
        StorageError: see ``spare_sources``.
    """
    gathered = _Gathered()
    for name in sorted(units):
        _gather(gathered, units[name])
    pictures, made = gathered.pictures, gathered.made
    spare_sources(bench, (each.source for each in pictures), made)
    failed = [each for each in pictures if each.error]
    if len(failed) == len(pictures) and failed[0].error:
        raise ChildFailedError(failed[0].error.code, _all_failed(failed), {})
    # The first ones that failed, and the first of the others: enough to look at, and a job's record stays small.
    shown = pictures if len(pictures) <= _TOLD else [*failed, *(each for each in pictures if each.result)][:_TOLD]
    result = model.model_validate(
        {
            "count": len(pictures),
            "failed": len(failed),
            "reused": sum(len(unit.payload[PICTURES]) for unit in units.values() if unit.reused),
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


def _gather(gathered: _Gathered, unit: Finished) -> None:
    for entry, each in _rows(unit):
        error = Failure(code=each.error.code, message=each.error.message) if each.error else None
        gathered.pictures.append(Picture[Any](source=each.source, name=entry["name"], result=each.result, error=error))
        gathered.made += [replace(made, name=entry["name"] + made.name) for made in each.made]
        for text in each.result["warnings"] if each.result else ():
            gathered.warnings[text].append(each.source)


def each_of(units: Mapping[str, Finished]) -> Iterator[Each]:
    """What came of each picture of these units."""
    for name in sorted(units):
        for _, each in _rows(units[name]):
            yield each


def _rows(unit: Finished) -> Iterator[tuple[Mapping[str, Any], Each]]:
    """A unit's entries, with what came of each."""
    manifest = Manifest.model_validate(unit.manifest)
    rows = zip(unit.payload[PICTURES], manifest.results, manifest.errors, strict=True)
    for number, (entry, result, error) in enumerate(rows):
        files = ImageResult.model_validate(result, extra="ignore").files if result is not None else ()
        made = [Made(unit.folder / f"{number:04d}{file.name}", file.name, MEDIA_TYPES[file.format]) for file in files]
        problem = told_error(error.code, error.message) if error else None
        yield entry, Each(entry["source"], result, problem, made)


def told(result: Mapping[str, Any], without: Collection[str] = ()) -> Mapping[str, Any]:
    """Of one picture what came of it, ``without`` some of that and what a job tells itself; of several how many."""
    if result["count"] == 1:
        left_out = {*without, *_OF_JOB}
        return {name: each for name, each in result["pictures"][0]["result"].items() if name not in left_out}
    return {name: result[name] for name in ("count", "failed", "reused", "files", "size_bytes")}


def _all_failed(failed: Sequence[Picture[Any]]) -> str:
    first = failed[0].error.message if failed[0].error else ""
    return first if len(failed) == 1 else f"None of {len(failed)} pictures could be done; the first: {first}"


def _warnings(told: Mapping[str, Sequence[str]], failed: Sequence[Picture[Any]], count: int) -> tuple[str, ...]:
    warnings = [
        text if count == 1 else f"{len(sources)} of {count} pictures, the first {sources[0]}: {text}"
        for text, sources in told.items()
    ]
    if failed:
        first = failed[0]
        reason = f"{first.source}: {first.error.message}" if first.error else ""
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        warnings.insert(0, f"{len(failed)} of {count} pictures could not be done: {reason}{more} ({_REPORT})")
    return tuple(warnings)
