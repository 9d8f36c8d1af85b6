"""``collection-export``: files of a collection in a folder or an archive, named by a template, and what is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from cluster.disk import free_space
from cluster.locations import location_of
from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import Where
from pipelines.bulk.driving import RUN, driven, is_waited_for
from pipelines.bulk.exporting.archive_export import pack_all
from pipelines.bulk.exporting.archive_formats import FORMATS
from pipelines.bulk.exporting.archiving import archive_batch
from pipelines.bulk.exporting.copying import copy_batch
from pipelines.bulk.exporting.export_plan import Export, planned, size_of
from pipelines.bulk.exporting.folder_export import Exported, copy_all
from pipelines.bulk.name_template import checked_template
from pipelines.bulk.processing import FAILED, failed_report
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.watch_notes import imported
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.publishing import check_output
from pipelines.jobs.workbench import Finished, Workbench

_SHOWN = 5


class Params(CommonParams):
    """Which files, and what they are called there."""

    where: Where = None
    template: Annotated[str, AfterValidator(checked_template)] = Field(
        "{root}/{path}",
        max_length=1000,
        description="Names below the folder, with fields of the collection in braces: {kind}/{year}/{name}. "
        "What a file system wouldn't take is replaced, and names that would be the same are told apart.",
    )
    link: bool = Field(False, description="Hard links where the file system has them, instead of copies.")


class ExportResult(Exported):
    """What came of it."""

    collection: str


def _export(bench: Workbench) -> Export:
    """Raises InvalidError where no folder is named, or links are to be in an archive."""
    params = bench.params
    if params.output is None:
        raise InvalidError("Name the folder to copy to, or an archive, as output.")
    export = Export(
        collection=Collection.of_job(bench),
        where=params.where,
        template=params.template,
        output=location_of(params.output),
        overwrite=params.overwrite,
        link=params.link,
        access=bench.roots.objects,
    )
    if export.link and (export.packs or not isinstance(export.output, Path)):
        raise InvalidError("An archive and object storage hold copies. Leave link out, or name a folder on a disk.")
    return export


def plan(bench: Workbench) -> Plan:
    export = _export(bench)
    check_output(export.output, bench.roots, folder=not export.packs, overwrite=export.overwrite)
    rows, place = planned(export, waited_for=is_waited_for(bench)), _place(bench, export)
    size_bytes, free_bytes = size_of(rows), None if place is None else free_space(place)
    made = driven(
        {
            "collection": export.collection.name,
            "files": len(rows),
            "size_bytes": size_bytes,
            "free_bytes": free_bytes,
            "first": rows["target"].to_pylist()[:_SHOWN],
        }
    )
    warnings = [
        f"{export.output} lies in {root}, where this collection is from: the next import takes it in, too."
        for root in _roots(export)
    ]
    if free_bytes is not None and size_bytes > free_bytes and not export.link:
        warnings.append(f"The files take {size_bytes >> 20} MiB; in {place} {free_bytes >> 20} MiB are free.")
    return made.model_copy(update={"warnings": tuple(warnings)})


def _roots(export: Export) -> list[str]:
    """The folders with the output in them that were imported into the collection. An import looks into no archives."""
    if not isinstance(export.output, Path) or export.packs:
        return []
    output = export.output.resolve()
    return sorted(each for each in imported(export.collection).folders if output.is_relative_to(Path(each).resolve()))


def _place(bench: Workbench, export: Export) -> Path | None:
    """The folder on a disk that takes the files; none takes those that go to object storage one by one."""
    if isinstance(export.output, Path):
        return export.output.parent if export.packs else export.output
    return bench.scratch if export.packs else None


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    export = _export(bench)
    if unit.name != RUN:
        bench = bench.reading(export.collection.folder)  # what was unpacked lies there
        return archive_batch(bench, unit) if export.packs else copy_batch(bench, unit)
    figures, failed = (pack_all if export.packs else copy_all)(bench, export, runner)
    if failed:
        failed_report(bench, failed)
    return ExportResult(collection=export.collection.name, **figures.model_dump())


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    driver = units[RUN]
    result = ExportResult.model_validate(driver.manifest)
    warnings = []
    if bench.params.link and result.copied:
        warnings.append("Files that got another name are to be imported again before they are processed.")
    if not result.failed:
        return Outcome(result, warnings=warnings)
    warnings.append(f"{result.failed} of {result.files} files could not be copied; {FAILED} tells why.")
    return Outcome(result, (Made(driver.folder / FAILED, FAILED, "application/jsonl", own=True),), warnings)


OPERATION = Operation(
    name="collection-export",
    summary="Copy files of a collection to a folder, on a disk or in object storage, or into an archive (.zip, .tar), "
    "by a template of names that every file system takes, with a Parquet catalogue of what is known of them. What is "
    "in the folder already isn't copied again; no source is changed.",
    params=Params,
    result=ExportResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    output="folder",
    packs=frozenset(FORMATS),
    interactive=True,
    examples=(
        {
            "sources": ["collection:photos"],
            "params": {"output": "/backup/photos", "where": "kind = 'image'", "template": "{year}/{name}"},
        },
        {"sources": ["collection:films"], "params": {"output": "/backup/films.tar"}},
    ),
)
