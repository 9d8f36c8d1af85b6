"""Jobs on pictures: one, many or folders of them. A unit is a batch of them, done in one call of the child.

What is wrong with one picture stands in its place and holds up no other. A job fails where none of its pictures could
be done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from cluster.errors import ChildFailedError, StorageError
from cluster.locations import location_of
from pipelines.jobs.build import build_id, shape_of
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.file_sources import PICTURES as PICTURE_FILES
from pipelines.jobs.file_sources import Entry, entries_of, left_out_warning
from pipelines.jobs.libraries import PICTURES as PICTURE_LIBRARIES
from pipelines.jobs.models import JobError, Plan, Unit
from pipelines.jobs.picture_claims import MOST_THREADS, claims_of, largest, room_of, typical
from pipelines.jobs.picture_outputs import check_outputs
from pipelines.jobs.picture_report import PICTURES, Failure, Manifest, Pictures, each_of, join, told
from pipelines.jobs.place_faults import PlaceError
from pipelines.jobs.work_metrics import PICTURES as PICTURES_DONE
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.images.info import ImageInfo, ImageResult

R = TypeVar("R", bound=ImageResult)

_LOOK = "pipelines.media.images.header:look"


@dataclass(frozen=True)
class PictureWork(Generic[R]):
    """What is done with each picture: ``function`` of the child takes ``source``, ``target``, ``spec`` and ``room``.

    ``estimate_s`` are rough seconds on one core; ``memory_bytes`` what it holds at most; ``endings`` of the files that
    it makes, where they are known before; ``untold`` is left out of what a command shows of one picture's result.
    """

    function: str
    spec: type[BaseModel]
    result: type[R]
    estimate_s: Callable[[ImageInfo, Any], float]
    memory_bytes: Callable[[ImageInfo, Any], int]
    endings: Callable[[Any], Sequence[str]] = lambda _spec: ()
    untold: frozenset[str] = frozenset()


def picture_operation(
    name: str,
    summary: str,
    params: type[BaseModel],
    work: PictureWork[Any],
    output: Literal["none", "folder"] = "folder",
    cached: Literal["metadata", "analysis"] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
) -> Operation:
    """The operation that does ``work`` with each of its pictures."""
    result = Pictures[work.result]  # type: ignore[name-defined]

    def plan(bench: Workbench) -> Plan:
        return _plan(bench, work)

    def run(bench: Workbench, unit: Unit) -> Manifest:
        manifest = _run(bench, unit, work)
        PICTURES_DONE.labels(name).inc(sum(each is not None for each in manifest.results))
        return manifest

    def joined(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
        return join(bench, units, result)

    return Operation(
        name=name,
        summary=summary,
        params=params,
        result=result,
        plan=plan,
        run=run,
        join=joined,
        many=True,
        kinds=frozenset({"image"}),
        each=each_of,
        output=output,
        interactive=True,
        told=partial(told, without=work.untold),
        cached=cached,
        libraries=PICTURE_LIBRARIES,
        examples=examples,
    )


def _plan(bench: Workbench, work: PictureWork[Any]) -> Plan:
    output = getattr(bench.params, "output", None)
    entries, left_out = entries_of(bench.sources, bench.roots, location_of(output) if output else None, PICTURE_FILES)
    spec = bench.params_as(work.spec)
    check_outputs(bench, entries, work.endings(spec))
    infos, large = _look(bench, entries)
    made_by = (build_id("pieces"), shape_of(Manifest), work.function)
    claims = claims_of(len(entries), infos, large, work.estimate_s, work.memory_bytes, spec)
    units = tuple(
        Unit(
            name=f"pictures-{number:04d}",
            needs=claims.needs(len(batch)),
            payload={PICTURES: [entry.model_dump() for entry in batch]},
            key=bench.content_key([entry.source for entry in batch], *made_by, spec.model_dump_json())
            if len(entries) > 1
            else None,
        )
        for number, batch in enumerate(claims.batches(entries, bench.slots))
    )
    explain: dict[str, Any] = {"pictures": len(entries), "estimated_seconds": round(claims.seconds, 2)}
    if len(entries) == 1:
        explain["source"] = infos[0].model_dump()
    return Plan(units=units, explain=explain, warnings=left_out_warning(left_out))


def _look(bench: Workbench, entries: Sequence[Entry]) -> tuple[list[ImageInfo], list[ImageInfo]]:
    """What some of the pictures are, and the largest files. Raises where there is but one, and it is none."""
    if len(entries) == 1:
        return [bench.call(_LOOK, ImageInfo, entries[0].source)], []
    some = typical(len(entries))
    sizes = [_size_bytes(bench, entry) for entry in entries]
    chosen = [*some, *(at for at in largest(sizes) if at not in some)]
    looked = bench.call_each(_LOOK, ImageInfo, [entries[at].source for at in chosen], [{}] * len(chosen))
    infos, large = looked[: len(some)], looked[len(some) :]
    return [each for each in infos if isinstance(each, ImageInfo)], [
        each for each in large if isinstance(each, ImageInfo)
    ]


def _size_bytes(bench: Workbench, entry: Entry) -> int:
    try:
        return bench.size_bytes(entry.source)
    except StorageError:  # it's told in its place
        return 0


def _run(bench: Workbench, unit: Unit, work: PictureWork[Any]) -> Manifest:
    entries = [Entry.model_validate(each) for each in unit.payload[PICTURES]]
    targets = [bench.scratch / f"{number:04d}" for number in range(len(entries))]
    made = bench.call_each(
        work.function,
        work.result,
        [entry.source for entry in entries],
        [{"target": str(target)} for target in targets],
        most_threads=MOST_THREADS,
        spec=bench.params_as(work.spec),
        room=room_of(unit.needs),
    )
    failed = [each for each in made if isinstance(each, JobError)]
    if len(failed) == len(made) and all(each.retryable for each in failed):
        raise ChildFailedError(failed[0].code, failed[0].message, {})  # the work is at fault: the unit is tried again
    for target, each in zip(targets, made, strict=True):
        if isinstance(each, JobError):  # it may have left a part
            for left in target.parent.glob(f"{target.name}[-.]*"):
                left.unlink()
    return Manifest(
        results=[None if isinstance(each, JobError) else each.model_dump(mode="json") for each in made],
        errors=[Failure(code=each.code, message=each.message) if isinstance(each, JobError) else None for each in made],
        lasting=not any(each.retryable or isinstance(each, PlaceError) for each in failed),
    )
