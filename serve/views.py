"""What the API answers with."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from cluster.checks import Check, Status
from pipelines.jobs.board import Event
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.models import Artifact, Job, JobError, Needs, Plan, Priority, State, rfc3339
from pipelines.jobs.states import TERMINAL
from pipelines.jobs.store_records import ARTIFACTS_WITH_JOB

V1 = "/v1"


class JobRequest(BaseModel, extra="forbid"):
    """A job to do. ``sources`` may be given as one ``source``."""

    operation: str = Field(examples=["transcode"])
    source: str | None = Field(None, description="A path or file: URI on the server.")
    sources: list[str] = Field(default=[], max_length=1000)
    params: dict[str, Any] = Field(default={}, description="Parameters of the operation; see GET /v1/operations.")
    priority: Priority = Priority.NORMAL
    webhook: str | None = Field(
        None, max_length=2000, description="A URL that the job's end is told to, on a host of MEDIARAY_WEBHOOK_HOSTS."
    )

    def all_sources(self) -> tuple[str, ...]:
        return (*([self.source] if self.source is not None else []), *self.sources)


class PriorityChange(BaseModel, extra="forbid"):
    priority: Priority


class ArtifactView(BaseModel):
    name: str
    size_bytes: int
    media_type: str
    path: str
    url: str


class JobView(BaseModel):
    """A job. Times are RFC 3339; ``progress`` goes from 0 to 1."""

    id: str
    operation: str
    state: State
    priority: Priority
    progress: float
    fps: float | None = None
    speed: float | None = Field(None, description="Seconds of media a second of wall time.")
    eta_s: float | None = None
    attempt: int
    retry_of: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    sources: tuple[str, ...]
    params: dict[str, Any]
    artifacts: list[ArtifactView] = Field(
        description=f"At most the first {ARTIFACTS_WITH_JOB} that were made; GET …/artifacts has all."
    )
    artifact_count: int
    result: dict[str, Any] | None
    cached: bool = Field(False, description="The result is what an earlier job of the same came to.")
    error: JobError | None
    warnings: tuple[str, ...]
    webhook: str | None = None
    links: dict[str, str]


class JobPage(BaseModel):
    jobs: list[JobView]
    next_cursor: str | None


class ArtifactPage(BaseModel):
    artifacts: list[ArtifactView]
    next_cursor: str | None


class UnitView(BaseModel):
    name: str
    needs: Needs


class PlanView(BaseModel):
    """What a job would do."""

    operation: str
    units: list[UnitView]
    explain: dict[str, Any]
    warnings: tuple[str, ...]


class OperationView(BaseModel):
    name: str
    summary: str
    output: str
    params_schema: dict[str, Any]
    result_schema: dict[str, Any]
    examples: list[dict[str, Any]]


class OperationList(BaseModel):
    operations: list[OperationView]


class BackupHealth(BaseModel):
    """How it goes with the backups that are made by the clock.

    ``state`` is ``ok``, ``waiting`` for the first, ``failed``: the last attempt did, or ``overdue``.
    """

    state: str
    folder: str
    every_h: float
    last: str | None
    last_at: str | None
    last_size_bytes: int | None
    error: str | None


class Dependency(BaseModel):
    """Something that the server depends on, as it was found."""

    name: str = Field(
        description="store, cache, ray tables, nodes, versions, clocks, disks, sandbox, object storage, backup or "
        "settings."
    )
    status: Status = Field(description="fail: jobs fail or aren't taken. warn: it works, but not as it should.")
    found: str = Field(description="What was found, for people.")
    advice: str = Field(description="What to do; empty where all is well.")


class Health(BaseModel):
    """``status`` is ``ok``, or ``degraded`` with the reasons in ``checks`` and ``depends_on``.

    ``cache`` counts its hits and misses since it was started, and tells what it holds; nothing while it is away.
    ``backup``: how it goes with backups, where they are made by the clock.
    """

    status: str
    version: str
    checks: dict[str, str]
    jobs: dict[str, int] = {}
    cache: dict[str, int] | None = None
    backup: BackupHealth | None = None
    depends_on: list[Dependency] | None = Field(None, description="What was looked at, where that was asked for.")

    def with_looks(self, seen: Iterable[Check]) -> "Health":
        """The same, with all that was looked at."""
        looked = [Dependency(name=each.name, status=each.status, found=each.found, advice=each.advice) for each in seen]
        failed = any(each.status == "fail" for each in looked)
        return self.model_copy(update={"depends_on": looked, **({"status": "degraded"} if failed else {})})


def job_view(job: Job, latest: Event | None) -> JobView:
    """A job with its live progress, where the feed has it."""
    live = latest if latest is not None and job.state not in TERMINAL else {}
    done = 1.0 if job.state == State.SUCCEEDED else 0.0
    here = f"{V1}/jobs/{job.id}"
    return JobView(
        id=job.id,
        operation=job.operation,
        state=job.state,
        priority=job.priority,
        progress=live.get("progress", latest["progress"] if latest and not done else done),
        fps=live.get("fps"),
        speed=live.get("speed"),
        eta_s=live.get("eta_s"),
        attempt=job.attempt,
        retry_of=job.retry_of,
        created_at=rfc3339(job.created_at) or "",
        started_at=rfc3339(job.started_at),
        finished_at=rfc3339(job.finished_at),
        sources=job.sources,
        params=job.params,
        artifacts=[artifact_view(job.id, artifact) for artifact in job.artifacts],
        artifact_count=job.artifact_count,
        result=job.result,
        cached=job.cached,
        error=job.error,
        warnings=job.warnings,
        webhook=job.webhook,
        links={
            "self": here,
            "events": f"{here}/events",
            "artifacts": f"{here}/artifacts",
            "cancel": f"{here}/cancel",
        },
    )


def artifact_view(job_id: str, artifact: Artifact) -> ArtifactView:
    return ArtifactView(**artifact.model_dump(), url=f"{V1}/jobs/{job_id}/artifacts/{quote(artifact.name)}")


def event_of(job: Job, epoch: int, seq: int) -> Event:
    """A job of the store as a snapshot event."""
    event: Event = {
        "job_id": job.id,
        "epoch": epoch,
        "seq": seq,
        "at": rfc3339(job.finished_at or job.started_at or job.created_at),
        "type": "snapshot",
        "state": job.state,
        "progress": 1.0 if job.state == State.SUCCEEDED else 0.0,
        "fps": None,
        "speed": None,
        "eta_s": None,
    }
    if job.error:
        event["error"] = job.error.model_dump()
    return event


def plan_view(operation: str, plan: Plan) -> PlanView:
    units = [UnitView(name=unit.name, needs=unit.needs) for unit in plan.units]
    return PlanView(operation=operation, units=units, explain=plan.explain, warnings=plan.warnings)


def operation_view(operation: Operation) -> OperationView:
    return OperationView(
        name=operation.name,
        summary=operation.summary,
        output=operation.output,
        params_schema=operation.params.model_json_schema(),
        result_schema=operation.result.model_json_schema(),
        examples=[{"operation": operation.name, **example} for example in operation.examples],
    )
