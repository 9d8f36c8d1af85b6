"""``collection-process``: an operation done with each file of a collection; what is done stays done."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from cluster.locations import location_of
from pipelines.bulk.choosing import chosen
from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import Where
from pipelines.bulk.driving import RUN, driven, is_waited_for
from pipelines.bulk.long_files import do_unit
from pipelines.bulk.name_template import checked_template
from pipelines.bulk.processing import Processed, failed_report, failures, process
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.tasks import Task, task_of
from pipelines.bulk.view import selected
from pipelines.jobs.catalogue import CommonParams, Operation, Outcome
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.models import Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench


def _object(value: object) -> object:
    """A JSON object, also where it is given as text."""
    return json.loads(value) if isinstance(value, str) else value


class Params(CommonParams):
    """Which operation, with which of its parameters."""

    task: str = Field(description="The operation that is done with each file: image-thumbnails, validate, ...")
    task_params: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(
        default={}, description='That operation\'s parameters, as JSON: {"sizes": ["320"]}'
    )
    where: Where = None
    template: Annotated[str, AfterValidator(checked_template)] | None = Field(
        None,
        max_length=1000,
        description="Names below the output folder, without extensions, with fields of the collection in braces: "
        "{kind}/{year}/{stem}. Else they are those of the files.",
    )
    again: bool = Field(False, description="Also with the files that it couldn't be done with before.")

    @model_validator(mode="after")
    def _checked(self) -> "Params":
        try:
            task_of(self.task, self.task_params)
        except InvalidError as error:
            raise ValueError(error.message) from error
        if self.template is not None and self.output is None:
            raise ValueError("A template names files below a folder. Name that as output.")
        return self


class ProcessResult(Processed):
    """What came of it."""

    collection: str


def _task(bench: Workbench) -> Task:
    params = bench.params
    output = str(location_of(params.output)) if params.output else None
    return task_of(params.task, params.task_params, output, params.template)


def plan(bench: Workbench) -> Plan:
    collection, task, where = Collection.of_job(bench), _task(bench), bench.params.where
    explain: dict[str, Any] = {
        "collection": collection.name,
        "operation": task.operation,
        "parameters": task.params,
    }
    if where is not None:
        explain["meet the condition"] = len(selected(collection, where, waited_for=is_waited_for(bench)))
    return driven(explain)


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    if unit.name != RUN:
        return do_unit(bench, unit)
    collection, params = Collection.of_job(bench), bench.params
    processed = process(
        bench,
        collection,
        _task(bench),
        overwrite=params.overwrite,
        fresh=params.fresh,
        again=params.again,
        among=chosen(bench, collection, params.where),
        runner=runner,
    )
    return ProcessResult(collection=collection.name, **processed.model_dump())


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result = ProcessResult.model_validate(units[RUN].manifest)
    if not result.failed:
        return Outcome(result)
    collection = Collection.of_job(bench)
    among = chosen(bench, collection, bench.params.where)
    report = failed_report(bench, failures(bench, collection, _task(bench), among))
    told = f"{result.failed} of {result.files} files could not be done; {report.name} tells why."
    return Outcome(result, (report,), (told,))


OPERATION = Operation(
    name="collection-process",
    summary="Do an operation with each file of a collection. What is done stays done, also for a file that is renamed.",
    params=Params,
    result=ProcessResult,
    plan=plan,
    run=run,
    join=join,
    sources=("collection",),
    output="folder",
    interactive=True,
    examples=(
        {"sources": ["collection:photos"], "params": {"task": "image-thumbnails", "task_params": {"sizes": ["320"]}}},
        {
            "sources": ["collection:films"],
            "params": {
                "task": "transcode",
                "task_params": {"profile": "web-720p"},
                "output": "/phone",
                "template": "{year}/{stem}",
            },
        },
    ),
)
