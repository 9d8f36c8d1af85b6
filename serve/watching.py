"""What goes on beside the dispatcher, wired together there: the watching of collections."""

from pipelines.bulk.watching import Watchers
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import WorkerConfig
from pipelines.jobs.service import JobService
from pipelines.jobs.store import JobStore
from serve.actors import RayInteractiveLane

_PATIENCE = 10  # tries while Redis is away, before watching begins anew


async def run(config: WorkerConfig, catalogue: Catalogue) -> None:
    """Watch what is to be watched, until it fails or is cancelled."""
    store = JobStore(config.redis_url, patience=_PATIENCE)
    try:
        jobs = JobService(config.settings, store, catalogue, RayInteractiveLane())
        await Watchers(jobs, config.settings.home).run()
    finally:
        await store.close()
