"""What is told of a job that ends: to the store, and to webhooks. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.settings import Settings
from pipelines.jobs.models import JobError, State
from pipelines.jobs.owed import Owed, owed_at_end
from pipelines.jobs.tracking import Tracked


@dataclass(frozen=True)
class End:
    """The fields of the job's record that its end sets, its ``failure``, and what is owed to webhooks."""

    fields: Mapping[str, Any]
    failure: JobError | None
    owed: Owed | None


def end_of(settings: Settings, tracked: Tracked, state: State) -> End:
    """The end of a job in ``state``."""
    fields: dict[str, Any] = {"warnings": list(tracked.warnings)}
    if state == State.SUCCEEDED and tracked.joined:
        fields["result"] = tracked.joined.result
        fields["artifacts"] = tracked.joined.artifacts
    failure = tracked.failure if state == State.FAILED else None
    if failure:
        fields["error"] = failure.model_dump()
    owed = owed_at_end(
        settings,
        tracked.job,
        state,
        tracked.priority,
        error=failure,
        warnings=len(tracked.warnings),
        artifacts=len(fields.get("artifacts", ())),
    )
    return End(fields, failure, owed)
