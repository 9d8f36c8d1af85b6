"""What the driver of a bulk job has done: units of its job, each in its turn."""

from cluster.errors import StorageError
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import CacheAwayError, UnitDroppedError
from pipelines.jobs.models import JobError, Unit
from pipelines.jobs.orders import UnitReport

DISK_FULL = "disk_full"
_ENDING = frozenset({DISK_FULL, CacheAwayError.code})  # codes that end a job instead of a row
_OF_PLACE = frozenset({"storage_unavailable", "output_not_writable", "output_lost"})  # whatever the row


def is_of_place(error: JobError | None) -> bool:
    """Whether no row is to blame for a failure, but where things are read from or written to."""
    return error is not None and error.code in _OF_PLACE


def done_in_turn(driver: Driver, unit: Unit) -> UnitReport:
    """Have a unit done, and wait for it; how it went.

    Raises:
        UnitDroppedError: the driver was taken away.
        StorageError: ``disk_full``, ``cache_unavailable``: no row is to blame.
    """
    report = driver.do(unit)
    if report.outcome == "dropped":
        raise UnitDroppedError
    if report.error is not None and report.error.code in _ENDING:
        raise StorageError(report.error.code, report.error.message)
    return report
