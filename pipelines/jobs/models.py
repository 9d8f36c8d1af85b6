"""The values a job is made of. Times are milliseconds since 1970 inside, RFC 3339 at the edge."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class State(StrEnum):
    QUEUED = "queued"
    PLANNING = "planning"
    RUNNING = "running"
    PAUSED = "paused"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


Want = Literal["run", "pause", "cancel"]
Stage = Literal["plan", "unit", "join", "publish"]


class Value(BaseModel):
    """Base of what travels: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Needs(Value):
    """What a unit claims: ``cpus`` are kept free of others. ``max_cpus`` > ``cpus``: it can use more.

    A heavy one that claims no CPU takes long: others start beside it as if it weren't there, and the kernel shares.
    One that ``drives`` does no work itself: it asks the dispatcher for units of its own job, its batches.
    """

    cpus: int = Field(1, ge=0)
    max_cpus: int = Field(1, ge=0)
    memory_bytes: int = Field(0, ge=0)
    seconds: float = Field(1.0, ge=0, description="Estimated wall time on one slot.")
    drives: bool = False

    @property
    def interactive(self) -> bool:
        return self.seconds < 1.0 and not self.drives


class Unit(Value):
    """A small idempotent piece of a job. ``payload`` is what its operation needs to do it.

    ``key`` is the content address of what it makes: a digest of all its bytes depend on. With one, what it made is kept
    beyond the job's failure, and another job whose plan has the same key takes it over.
    """

    name: str
    needs: Needs = Needs()
    payload: dict[str, Any] = {}
    key: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class Found(Value):
    """What an earlier job came to."""

    result: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Lookup(Value):
    """Where a job's result lies in the cache, and what was found there when the job was planned.

    ``stamps`` tell its sources from what they become when they are changed, ``generations`` from when on its result
    counts.
    """

    key: str
    tags: tuple[str, ...]
    generations: tuple[str, ...]
    stamps: tuple[str, ...]
    found: Found | None = None


class Plan(Value):
    """What will be done: ``units`` in any order, the first ones first, then one join.

    ``shared`` is what all units need. ``explain`` is for people and ``--explain``. ``replanned``: a join made it, since
    what the first plan's units made couldn't be joined. ``lookup``: where the cache is asked for the job's result; with
    one that was found, there are no units. ``media_s``: the playing time of what is worked on, where that is known.
    """

    units: tuple[Unit, ...]
    shared: dict[str, Any] = {}
    replanned: bool = False
    lookup: Lookup | None = None
    media_s: float | None = None
    join: Needs = Needs(cpus=0, max_cpus=0, seconds=0.1)
    explain: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()


class Artifact(Value):
    """A finished file. ``path`` is where it is, or will be once published."""

    name: str
    path: str
    size_bytes: int
    media_type: str = "application/octet-stream"


class Joined(Value):
    """The join's manifest: the result, and each file with the temporary name it lies under beside its target.

    ``cached``: it is what an earlier job came to.
    """

    result: dict[str, Any]
    artifacts: tuple[Artifact, ...] = ()
    staged: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cached: bool = False


class JobError(Value):
    code: str
    message: str
    retryable: bool = False
    unit: str | None = None


class Job(Value):
    """A job as the store has it. ``artifacts`` are the first that were made, of ``artifact_count``.

    ``cached``: its result is what an earlier job came to. ``webhook``: where its end is told, beside the settings' own.
    ``trace``: the span it was submitted in, as ``cluster.tracing`` writes it.
    """

    id: str
    operation: str
    state: State
    want: Want
    priority: Priority
    owner: str
    sources: tuple[str, ...]
    params: dict[str, Any]
    attempt: int = 1
    retry_of: str | None = None
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    result: dict[str, Any] | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    artifact_count: int = 0
    cached: bool = False
    webhook: str | None = None
    trace: str | None = None


class UnitStatus(BaseModel):
    """Where a unit stands. ``fence`` is that of its newest lease; ``began``: its worker has it."""

    model_config = ConfigDict(frozen=True)

    state: Literal["waiting", "running", "done"] = "waiting"
    fence: int = 0
    attempts: int = 0
    lost: int = 0
    began: bool = False


class Progress(Value):
    """A unit's report. ``fraction`` 0–1 of this unit; latest wins. ``at``: when it was made, if that was told."""

    job_id: str
    unit: str
    fence: int
    fraction: float = Field(ge=0, le=1)
    frames: int = 0
    position_s: float = 0.0
    elapsed_s: float = 0.0
    at: int | None = None


def rfc3339(at_ms: int | None) -> str | None:
    """``2026-01-31T12:00:00.123Z``, or None."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
