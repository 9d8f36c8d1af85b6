"""What crashes the media process each time that it is tried is a fault of the file, which is told of it."""

from collections.abc import Callable
from typing import TypeVar

from cluster.errors import ChildCrashedError
from pipelines.media.parts import Part
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.report import Checked

T = TypeVar("T")


def survived(*calls: Callable[[], T]) -> T | ChildCrashedError:
    """What comes of the first of ``calls`` that doesn't crash the media process, or how the last one crashed it."""
    for call in calls:
        try:
            return call()
        except ChildCrashedError as error:
            if not error.by_fault:
                raise
            crash = error
    return crash


def crashed(crash: ChildCrashedError, part: Part | None = None) -> Checked:
    """The finding that one stream, which ``part`` has, or the whole file can't be checked."""
    log = FindingLog()
    if part is None:
        log.add("decoder_crashed", evidence=crash.message)
    else:
        log.add("decoder_crashed", part.streams[0], part.begin_s, crash.message, last_s=part.end_s)
    return Checked(findings=tuple(log))
