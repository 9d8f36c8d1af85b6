"""What is done with each file of a collection: an operation of the catalogue with its parameters."""

import hashlib
import json
from functools import cache
from typing import Any

from pydantic import Field, ValidationError

from pipelines.jobs.catalogue import Catalogue, CommonParams, Operation, operation_modules
from pipelines.jobs.errors import InvalidError, wording
from pipelines.jobs.models import Value

_PACKAGE = "pipelines.jobs.operations"
_OWN_ENGINE = "2"  # of what is no operation of the catalogue: the reading of side-cars


class Task(Value):
    """An operation, those of its parameters that aren't its defaults, and the folder that what it makes goes to.

    Without ``output`` that is one of the collection's own. Names there are by a ``template``, or those of the sources.
    """

    operation: str
    params: dict[str, Any] = Field(default={})
    output: str | None = None
    template: str | None = None

    @property
    def key(self) -> str:
        """What its results are kept under: they depend on this and on what they are of, on nothing else."""
        place = [each for each in (self.output, self.template) if each is not None]
        known = _operations()
        engine = known[self.operation].engine if self.operation in known else _OWN_ENGINE
        described = json.dumps([self.operation, self.params, engine, *place], sort_keys=True)
        return f"{self.operation}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"

    @property
    def of(self) -> str:
        """The column of files that tells what its results are of: their content; or the file, by what lies beside."""
        return "identity" if self.operation in _operations() else "uri"

    @property
    def declared(self) -> Operation:
        return _operations()[self.operation]

    def checked_params(self) -> Any:
        return self.declared.params.model_validate(self.params)


def task_of(operation: str, params: dict[str, Any], output: str | None = None, template: str | None = None) -> Task:
    """A task, with its parameters in one spelling.

    Raises:
        InvalidError: there is no such operation for each file of a collection, or its parameters are wrong.
    """
    known = _operations()
    able = sorted(each.name for each in known if each.many or len(each.sources) == 1)
    if operation not in able:
        raise InvalidError(f"{operation!r} can't be done with each file. These can: {', '.join(able)}.")
    if taken := sorted(CommonParams.model_fields.keys() & params.keys()):
        raise InvalidError(f"{', '.join(taken)}: to be given beside the parameters of {operation}, not among them.")
    try:
        checked = known[operation].params.model_validate(params)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {wording(each)}" for each in error.errors())
        raise InvalidError(f"Wrong parameters of {operation}: {told}.") from error
    own = checked.model_dump(mode="json", exclude_defaults=True)
    return Task(operation=operation, params=own, output=output, template=template)


@cache
def _operations() -> Catalogue:
    return Catalogue.load(operation_modules(_PACKAGE))
