"""Command line options from an operation's parameter model, and the way back."""

import inspect
import os
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, PlainValidator, ValidationError, WrapValidator
from pydantic.fields import FieldInfo

from pipelines.jobs.errors import wording

_VALIDATORS = (BeforeValidator, PlainValidator, WrapValidator)
_LISTS = (list, tuple, set, frozenset)


def option_parameters(model: type[BaseModel], without: frozenset[str]) -> list[inspect.Parameter]:
    """One keyword parameter per field, as typer reads them. None: not given, the server's default holds."""
    return [_parameter(name, field) for name, field in model.model_fields.items() if name not in without]


def given_params(model: type[BaseModel], options: Mapping[str, Any], output: str | None = None) -> dict[str, Any]:
    """What was given, as JSON values, after the model has checked it beside the ``output`` that a job gets.

    Raises:
        typer.BadParameter: the model refuses a value; names the option.
    """
    fields = model.model_fields
    given = {name: _plain(value, fields[name]) for name, value in options.items() if value is not None and value != []}
    given |= {name: os.path.abspath(path) for name, path in _paths(model, given)}  # noqa: PTH100
    try:
        model.model_validate(given if output is None else {**given, "output": output})
    except ValidationError as error:
        first = error.errors()[0]
        message = wording(first)
        hint = option_name(str(first["loc"][0])) if first["loc"] else None
        raise typer.BadParameter(message, param_hint=hint) from error
    return given


def files_of(model: type[BaseModel], params: Mapping[str, Any]) -> list[str]:
    """The files that parameters name, beside sources and output."""
    return [path for _, path in _paths(model, params)]


def folders_of(model: type[BaseModel], params: Mapping[str, Any]) -> list[str]:
    """The folders that parameters name to be written to, beside output: those whose schema says ``writes``."""
    extras = {name: model.model_fields[name].json_schema_extra for name in params}
    return [path for name, path in _paths(model, params) if (extras[name] or {}).get("writes")]  # type: ignore[union-attr]


def _paths(model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameters that name a file of this machine: those whose schema says ``format: path``."""
    for name, value in given.items():
        extra = model.model_fields[name].json_schema_extra
        if isinstance(extra, dict) and extra.get("format") == "path" and "://" not in value:
            yield name, value


def option_name(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    core = _core(field.annotation, field.metadata)
    flag = option_name(name)
    annotation: Any = core
    limits: dict[str, Any] = {}
    if core is bool:
        declared = f"{flag}/--no-{name.replace('_', '-')}"
    else:
        declared = flag
        if core in (int, float):
            limits = _limits(field)
    help_text = field.description or ""
    if core == list[str] and not _has_fixed_length(field.annotation):
        help_text = f"{help_text} Repeat it, or separate with commas.".strip()
    option = typer.Option(declared, help=help_text, show_default=_shown(field.default), **limits)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, option]
    )


def _core(annotation: Any, metadata: list[Any]) -> Any:
    """What typer should read: a flag, a choice, a number, a list, or a text that the model itself parses."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _core(inner, [*metadata, *more])
    if any(isinstance(each, _VALIDATORS) for each in metadata):
        listed = any(get_origin(each) in _LISTS for each in _members(annotation))
        return list[str] if listed else str
    if origin in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if each is not type(None)]
        return _core(members[0], []) if len(members) == 1 else str
    if origin in _LISTS:
        return list[str]
    if origin is Literal:
        return Literal.__getitem__(tuple(map(str, get_args(annotation))))
    if annotation in (bool, int, float) or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return annotation
    return str


def _literals(annotation: Any, metadata: list[Any]) -> Iterator[Any]:
    """The values that an annotation names, but where the model itself parses them."""
    if any(isinstance(each, _VALIDATORS) for each in metadata):
        return
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _literals(inner, more)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for inner in get_args(annotation):
            yield from _literals(inner, [])


def _members(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        yield from get_args(annotation)
    else:
        yield annotation


def _has_fixed_length(annotation: Any) -> bool:
    """Whether it is a tuple of so many parts, as a point is."""
    return any(get_origin(each) is tuple and Ellipsis not in get_args(each) for each in _members(annotation))


def _limits(field: FieldInfo) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for each in field.metadata:
        if isinstance(each, Ge):
            limits["min"] = each.ge
        if isinstance(each, Le):
            limits["max"] = each.le
    return limits


def _shown(default: Any) -> bool | str:
    if isinstance(default, tuple) and default and all(isinstance(each, str) for each in default):
        return ",".join(default)
    if default is None or not isinstance(default, (bool, str, int, float, Enum)):
        return False
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default.value if isinstance(default, Enum) else default)


def _plain(value: Any, field: FieldInfo) -> Any:
    named = {str(each): each for each in _literals(field.annotation, field.metadata)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        parts = [part.strip() for each in value for part in str(each).split(",")]
        return [named.get(part, part) for part in parts if part]
    return named.get(value, value)
