"""What jobs leave behind goes: files of work that is over, and old jobs with all that is theirs."""

import contextlib
import time

from cluster.settings import Settings
from pipelines.jobs.errors import UnknownError
from pipelines.jobs.lanes import Lanes
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.tracking import Tracked


async def clean_up_after(tracked: Tracked, lanes: Lanes, *, succeeded: bool) -> None:
    """Remove what a job that ends left beside its outputs, if it did anything and no worker has done so."""
    if tracked.cleaned_up or not (tracked.launched or tracked.units):
        return
    targets = [artifact.path for artifact in tracked.joined.artifacts] if tracked.joined else []
    if output := tracked.job.params.get("output"):
        targets.append(output)
    # What a failed or cancelled job has finished is kept for a retry, and goes by age.
    keys = [unit.key for unit in tracked.plan.units if unit.key] if succeeded and tracked.plan else []
    await lanes.clean_up(tracked.job.id, targets, keys, artifacts=not succeeded)


async def forget_old(store: LeaderStore, lanes: Lanes, settings: Settings) -> None:
    """Delete jobs that ended too long ago, or are more than are kept, and finished units that nobody took over."""
    await lanes.sweep_kept()
    before = int(time.time() * 1000 - settings.retention_days * 86_400_000)
    while ids := await store.finished_before(before, keep=settings.max_finished_jobs):
        for job_id in ids:
            await lanes.clean_up(job_id, [], [], artifacts=True)
            with contextlib.suppress(UnknownError):  # a user deleted it just now
                await store.delete(job_id)
