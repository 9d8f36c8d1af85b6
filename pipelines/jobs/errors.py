"""The codes of the API that jobs can end with, and whether doing the same work again may help."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from cluster.errors import (
    ChildCrashedError,
    ChildFailedError,
    ChildKilledError,
    ChildLimitError,
    ClusterError,
    StorageError,
)
from pipelines.jobs.models import JobError
from pipelines.media.errors import MediaError


class JobsError(Exception):
    """Base of what a caller of the job service did wrong; ``code`` is stable."""

    code = "bad_request"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message, code)
        self.code = code or type(self).code
        self.message = message

    def __str__(self) -> str:
        return self.message


class UnknownError(JobsError):
    """There is no such job, operation, profile or artifact."""

    code = "not_found"


class InvalidError(JobsError):
    """A parameter is wrong; ``problems`` lists each with its place."""

    code = "parameter_invalid"

    def __init__(self, message: str, code: str | None = None, problems: tuple[Mapping[str, str], ...] = ()) -> None:
        super().__init__(message, code)
        self.problems = problems


class ConflictError(JobsError):
    """The job's state, another job or an earlier request stands against it."""

    code = "conflict"


class CacheAwayError(JobsError):
    """The cache doesn't answer, and what was asked can't be done without it."""

    code = "cache_unavailable"

    def __init__(self) -> None:
        super().__init__("The cache doesn't answer. Try again in a moment.")


class BusyError(JobsError):
    """So many wait already for what answers at once that this one would wait too long."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("All media processes are at work. Try again in a moment.")


class StaleLeaderError(Exception):
    """This dispatcher isn't the leader any more."""


class UnitDroppedError(Exception):
    """The unit was taken away from this worker: its fence has moved on."""


# The work is at fault, not the input: another try, in a fresh process, may do.
_RETRYABLE = frozenset(
    {
        *("encode_failed", "output_invalid", "piece_invalid", "child_crashed", "internal", "limit_time", "output_lost"),
        "storage_unavailable",
    }
)


def wording(error: ErrorDetails) -> str:
    """What pydantic says of a wrong value, without its own terms."""
    if error["type"] == "too_short":
        return f"give at least {error['ctx']['min_length']}"
    if error["type"] == "too_long":
        return f"give at most {error['ctx']['max_length']}"
    return error["msg"].removeprefix("Value error, ")


def job_error(error: Exception, unit: str | None = None) -> JobError:
    """What the client is told about a failed unit. No traceback, no type of a library."""
    if isinstance(error, ChildFailedError | StorageError):
        code, message = error.code, error.message
    elif isinstance(error, ChildCrashedError):
        code, message = "child_crashed", f"The media process crashed: {error}."
    elif isinstance(error, ChildLimitError):
        code, message = "limit_time", f"It took too long: {error}."
    elif isinstance(error, ChildKilledError):
        code, message = "internal", "The media process was ended."
    elif isinstance(error, MediaError):
        code, message = error.code, str(error)
    elif isinstance(error, JobsError):
        code, message = error.code, error.message
    elif isinstance(error, ClusterError):
        code, message = "internal", str(error)
    else:
        code, message = (
            "internal",
            f"An unexpected error ({type(error).__name__}); the server's log has the details.",
        )
    return told_error(code, message, unit)


def told_error(code: str, message: str, unit: str | None = None) -> JobError:
    """An error by its code, which says whether another try may help."""
    return JobError(code=code, message=message, retryable=code in _RETRYABLE, unit=unit)
