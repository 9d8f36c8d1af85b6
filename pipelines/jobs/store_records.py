"""What the store holds, as the program has it: jobs to accept, jobs that were loaded, lines of the log, totals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.jobs.errors import UnknownError
from pipelines.jobs.models import SCHEMA_VERSION, Job, Joined, Plan, Priority, UnitStatus

ARTIFACTS_WITH_JOB = 50  # of a job that has more, these are read with it, and all lie by themselves


@dataclass(frozen=True)
class Submission:
    """A job to accept. ``targets`` are the paths it will write; no other active job may name one of them."""

    id: str
    operation: str
    sources: tuple[str, ...]
    params: Mapping[str, Any]
    priority: Priority
    owner: str
    created_at: int
    targets: tuple[str, ...] = ()
    attempt: int = 1
    retry_of: str | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    webhook: str | None = None
    trace: str | None = None


@dataclass(frozen=True)
class LogEntry:
    """One line of the event log. ``body``: the error of a failed job, the unit's name, or what is wanted."""

    id: str
    job_id: str
    type: str
    state: str
    at: int
    body: str


@dataclass(frozen=True)
class LoadedJob:
    """A job with its units, and what they left: its plan, and what was joined."""

    job: Job
    units: Mapping[str, UnitStatus]
    plan: Plan | None = None
    joined: Joined | None = None


@dataclass(frozen=True)
class Totals:
    """Jobs ever submitted by operation and ever finished by state and operation; records set aside; the Redis itself.

    ``memory_limit_bytes`` 0: none. ``writes``: the last write to its file went well.
    """

    submitted: Mapping[str, int]
    finished: Mapping[tuple[str, str], int]
    quarantined: int
    memory_bytes: int
    memory_limit_bytes: int
    file_bytes: int
    writes: bool


class UnreadableRecordError(Exception):
    """A record of the store doesn't load: another schema, or damage."""

    def __init__(self, job_id: str, reason: Exception) -> None:
        super().__init__(f"{type(reason).__name__}: {reason}")
        self.job_id = job_id


def job_of(fields: Mapping[str, str], job_id: str) -> Job:
    """A job from the fields of its hash. Raises UnknownError, UnreadableRecordError."""
    if not fields:
        raise unknown(job_id)
    try:
        record = _record(fields["record"])
        known = {
            name: json.loads(fields[name])
            for name in ("result", "error", "warnings", "artifacts", "artifact_count", "cached")
            if name in fields
        }
        times = {name: int(fields[name]) for name in ("started_at", "finished_at") if name in fields}
        states = {name: fields[name] for name in ("state", "want", "priority")}
        return Job.model_validate({**record, **known, **times, **states})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableRecordError(job_id, error) from error


def _record(text: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(text)
    if record.pop("v") != SCHEMA_VERSION:
        raise ValueError("written by another version of mediaray")
    del record["targets"]
    return record


def log_entry(entry_id: str, fields: Mapping[str, str]) -> LogEntry:
    return LogEntry(entry_id, fields["job"], fields["type"], fields["state"], int(fields["at"]), fields["body"])


def unknown(job_id: str) -> UnknownError:
    return UnknownError(f"There is no job {job_id}.", "job_not_found")
