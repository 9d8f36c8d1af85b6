"""What is wrong with where a source is, told apart from what is wrong with its content."""

from cluster.errors import StorageError
from cluster.files import source_changed
from cluster.sources import OpenSource
from pipelines.jobs.errors import job_error
from pipelines.jobs.models import JobError


class PlaceError(JobError):
    """What was wrong with where a source is: it couldn't be opened, or changed. Its content is at no fault."""


def place_error(error: StorageError) -> PlaceError:
    """What the client is told about it."""
    return PlaceError.model_validate(job_error(error).model_dump())


def place_fault(opened: OpenSource) -> StorageError | None:
    """Why what was made of an open source is worth nothing: a part couldn't be had, or it has changed since."""
    if opened.failure:
        return opened.failure
    try:
        return changed(opened) if opened.is_other() else None
    except StorageError as error:  # nobody knows
        return error


def changed(opened: OpenSource) -> StorageError:
    """``source_changed``, to be raised of one that ``is_other``."""
    return source_changed(opened.path)
