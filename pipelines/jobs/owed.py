"""What is told by webhooks, and to whom. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.settings import Settings
from cluster.webhook_urls import webhook_url
from pipelines.jobs.models import Job, JobError, Priority, State, rfc3339

TEST = "webhook.test"
BY_JOB = "job"  # the endpoint of what jobs themselves named before there was one for each host
_MOST_CHARACTERS = 2000


@dataclass(frozen=True)
class Owed:
    """A message to deliver. ``endpoints``: by name, the URL of the one that a job names, and "" for the others."""

    message: str
    type: str
    data: Mapping[str, Any]
    endpoints: Mapping[str, str]


def endpoints_of(settings: Settings) -> dict[str, str]:
    """The URLs of the settings by name. Names are digests: a URL may be a secret."""
    urls = [url.get_secret_value() for url in settings.webhook_urls]
    return {hashlib.sha256(url.encode()).hexdigest()[:12]: url for url in urls}


def to_all(settings: Settings) -> dict[str, str]:
    """The settings' endpoints, as ``Owed`` has them."""
    return dict.fromkeys(endpoints_of(settings), "")


def by_job(place: str) -> str:
    """The endpoint of what jobs themselves name on a host: ``WebhookUrl.place``."""
    return f"{BY_JOB}:{place}"


def is_by_job(endpoint: str) -> bool:
    return endpoint.partition(":")[0] == BY_JOB


def owed_at_end(
    settings: Settings,
    job: Job,
    state: State,
    priority: Priority,
    *,
    error: JobError | None,
    warnings: int,
    artifacts: int,
) -> Owed | None:
    """The message of a job's end; None where nobody wants it. Its id is the job's, which ends once."""
    kind = f"job.{state}"
    endpoints = to_all(settings) if kind in settings.webhook_events else {}
    if job.webhook is not None and settings.webhooks_signed:
        endpoints[by_job(webhook_url(job.webhook).place)] = job.webhook
    if not endpoints:
        return None
    data = {
        "id": job.id,
        "operation": job.operation,
        "state": str(state),
        "priority": str(priority),
        "attempt": job.attempt,
        "retry_of": job.retry_of,
        "created_at": rfc3339(job.created_at),
        "error": error and {**error.model_dump(), "message": error.message[:_MOST_CHARACTERS]},
        "warnings": warnings,
        "artifact_count": artifacts,
        "links": {"self": f"/v1/jobs/{job.id}", "artifacts": f"/v1/jobs/{job.id}/artifacts"},
    }
    return Owed(f"msg_{job.id}", kind, data, endpoints)
