"""Errors a person can do something about, as a message or as JSON, with the right exit code."""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer
from pydantic import ValidationError

from cluster.errors import ClusterError, StartupError
from serve.cli import render
from serve.cli.launch import NotStartedError

FAILED, USAGE, UNREACHABLE = 1, 2, 3
WRONG_USAGE = "wrong_usage"
# Codes, of the server and of jobs, for what was asked wrongly, whatever the sources hold, or needs another setting.
_USAGE_CODES = frozenset(
    {
        *("params_invalid", "parameter_invalid", "request_invalid", "sources_invalid", "source_invalid"),
        *("operation_unknown", "profile_unknown", "profile_invalid", "output_extension"),
        *("source_outside_roots", "output_outside_roots", "collection_name_invalid"),
        *("webhook_invalid", "webhook_refused", "webhooks_missing"),
    }
)
_AS_LIST = """write it as a list in JSON: '["one", "two"]'"""
P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with a message instead of a traceback. It has the parameter ``json_output``."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except render.OutputError as error:
            _end_without_stdout(error)
        except Exception as error:
            told = _explained(error)
            if told is None:
                raise
            _fail(*told, as_json=bool(kwargs.get("json_output")))

    return run


def _explained(error: Exception) -> tuple[int, str, str] | None:
    """Exit code, stable code, message; None for a bug of ours."""
    if isinstance(error, ValidationError):
        problems = settings_problems(error).replace("Input should be a valid tuple", _AS_LIST)
        return USAGE, "settings_invalid", f"A setting is wrong.\n{problems}"
    if isinstance(error, StartupError):
        return UNREACHABLE if isinstance(error, NotStartedError) else FAILED, "startup_failed", str(error)
    if isinstance(error, ClusterError):
        return FAILED, getattr(error, "code", "failed"), str(error)
    from pydantic_settings import SettingsError  # slow to import

    from serve.client import ProblemError, ServerUnreachableError  # slow to import

    if isinstance(error, SettingsError):  # a list that can't be missing; of others pydantic says what is wrong
        return USAGE, "settings_invalid", f"A setting is wrong.\n{no_json(str(error))}"
    if isinstance(error, ServerUnreachableError):
        return UNREACHABLE, "server_unreachable", str(error)
    if isinstance(error, ProblemError):
        return exit_code_of(error.code), error.code, error.detail
    if isinstance(error, OSError) and error.filename:
        return FAILED, "file_error", f"{error.filename}: {error.strerror}"
    return None


def exit_code_of(code: str) -> int:
    """By the code of the server's or a job's error."""
    return USAGE if code in _USAGE_CODES else FAILED


def _end_without_stdout(error: render.OutputError) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or what is left fails again when Python ends
    render.Screen(stderr=True).error(str(error))
    raise typer.Exit(FAILED) from None


def settings_problems(error: ValidationError) -> str:
    def told(where: tuple[int | str, ...], what: str) -> str:
        return f"  MEDIARAY_{'__'.join(str(part).upper() for part in where)}: {what}" if where else f"  {what}"

    return "\n".join(told(each["loc"], each["msg"]) for each in error.errors())


def warn_of_unknown_settings() -> None:
    """Tell, on standard error, of variables that were to be settings."""
    from cluster.unknown_settings import unknown_settings  # slow to import

    screen = render.Screen(stderr=True)
    for sentence in unknown_settings(os.environ):
        screen.say(f"Warning: {sentence}", style="yellow")


def no_json(message: str) -> str:
    """Of a setting that is a list and wasn't written as one; what was written isn't told."""
    field = re.search(r'field "(\w+)"', message)
    return f"  {f'MEDIARAY_{field[1].upper()}' if field else 'a list'}: {_AS_LIST}"


def _fail(exit_code: int, code: str, message: str, *, as_json: bool) -> NoReturn:
    if as_json:
        render.print_error(code, message)
    else:
        sys.stdout.flush()
        render.Screen(stderr=True).error(message)
    raise typer.Exit(exit_code)
