"""A file of jobs to submit: ``{"jobs": [{operation, source or sources, params, priority, note}]}``."""

from pathlib import Path

import typer
from pydantic import BaseModel, Field, ValidationError

from serve.cli.operations import Order
from serve.cli.targets import Target


class _Planned(BaseModel, frozen=True, extra="forbid"):
    """A job as ``POST /v1/jobs`` takes it. ``note`` is for who reads the plan."""

    operation: str
    source: str | None = None
    sources: tuple[str, ...] = ()
    params: dict[str, object] = {}
    priority: str = "normal"
    note: str | None = None


class _Plan(BaseModel, frozen=True):
    jobs: tuple[_Planned, ...] = Field(max_length=20_000)


def orders_of(path: Path, priority: str | None) -> list[Order]:
    """The jobs of a plan, in its order; ``priority`` stands for their own.

    Raises:
        typer.BadParameter: the file isn't there, or isn't a plan.
    """
    try:
        plan = _Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}", param_hint="PLAN") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise typer.BadParameter(f"{path} is no plan: {where} {first['msg']}", param_hint="PLAN") from error
    return [_order(each, priority) for each in plan.jobs]


def _order(job: _Planned, priority: str | None) -> Order:
    sources = (*((job.source,) if job.source else ()), *job.sources)
    if not sources:
        raise typer.BadParameter("a job of it names no source", param_hint="PLAN")
    output = job.params.get("output")
    target = Target(sources, output if isinstance(output, str) else None)
    return Order(job.operation, target, job.params, priority or job.priority)
