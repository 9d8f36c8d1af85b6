"""What ``appendfsync always`` costs against ``everysec``: accepted jobs, in turn and eight at a time."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from cluster.home import Home
from cluster.redis_server import RedisServers
from cluster.settings import Settings
from pipelines.jobs.models import Priority
from pipelines.jobs.service import uuid7
from pipelines.jobs.store import JobStore
from pipelines.jobs.store_records import Submission
from tests.bench.figures import Figure, percentile

COUNT = 1000


def fsync() -> list[Figure]:
    figures = []
    for policy in ("everysec", "always"):
        folder = Path(tempfile.mkdtemp(prefix="mrt-"))
        settings = Settings(home=folder / "home", redis_fsync=policy)
        servers = RedisServers(settings, Home.create(settings.home), folder)
        servers.start()
        servers.wait_ready()
        try:
            alone, together = asyncio.run(_submissions(servers.urls.jobs))
        finally:
            servers.stop()
            shutil.rmtree(folder)
        figures += [
            Figure(f"accept a job, appendfsync {policy}, p50", percentile(alone, 50) * 1000, "ms"),
            Figure(f"accept a job, appendfsync {policy}, p99", percentile(alone, 99) * 1000, "ms"),
            Figure(f"accept jobs, 8 at a time, appendfsync {policy}", COUNT / together, "jobs/s"),
        ]
    return figures


async def _submissions(url: str) -> tuple[list[float], float]:
    store = JobStore(url, patience=1)
    alone = []
    for _ in range(COUNT):
        began = time.monotonic()
        await store.submit(_submission())
        alone.append(time.monotonic() - began)
    began = time.monotonic()

    async def some() -> None:
        for _ in range(COUNT // 8):
            await store.submit(_submission())

    await asyncio.gather(*(some() for _ in range(8)))
    together = time.monotonic() - began
    await store.close()
    return alone, together


def _submission() -> Submission:
    return Submission(str(uuid7()), "probe", ("/films/a.mkv",), {}, Priority.NORMAL, "local", 0)
