"""What the server answers, as the client gives it on: jobs, their events, artifacts and plans, pages."""

from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, ConfigDict

TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})


class View(BaseModel):
    """What the server tells. A newer server may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ArtifactView(View):
    name: str
    size_bytes: int
    media_type: str = "application/octet-stream"
    path: str | None = None
    url: str | None = None


class ErrorView(View):
    code: str
    message: str
    retryable: bool = False
    unit: str | None = None


class JobView(View):
    """A job. Of many ``artifacts`` it has the first that were made; the client's ``artifacts`` gets all."""

    id: str
    operation: str
    state: str
    priority: str = "normal"
    progress: float = 0.0
    fps: float | None = None
    speed: float | None = None
    eta_s: float | None = None
    attempt: int = 1
    retry_of: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    params: dict[str, Any] = {}
    sources: tuple[str, ...] = ()
    artifacts: tuple[ArtifactView, ...] = ()
    artifact_count: int = 0
    result: dict[str, Any] | None = None
    cached: bool = False
    error: ErrorView | None = None
    warnings: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def source_name(self) -> str:
        """The first source's file name, and how many more there are."""
        more = f" (+{len(self.sources) - 1})" if len(self.sources) > 1 else ""
        return PurePath(self.sources[0]).name + more if self.sources else ""


class ArtifactPage(View):
    artifacts: tuple[ArtifactView, ...]
    next_cursor: str | None = None


class JobEvent(View):
    job_id: str
    epoch: str | int
    seq: int
    at: str | float | None = None
    type: str
    state: str
    progress: float = 0.0
    fps: float | None = None
    speed: float | None = None
    eta_s: float | None = None
    error: ErrorView | None = None

    @property
    def finished(self) -> bool:
        return self.state in TERMINAL_STATES


class JobPage(View):
    jobs: tuple[JobView, ...]
    next_cursor: str | None = None


class RowPage(View):
    rows: tuple[dict[str, Any], ...]
    next_cursor: str | None = None


class PlanView(View):
    operation: str
    units: tuple[dict[str, Any], ...] = ()
    explain: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
