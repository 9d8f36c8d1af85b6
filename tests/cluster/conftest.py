"""One small local Ray for the session, with a real registry, a real dispatcher and a private Redis."""

import os

# Ray reads these when it is imported.
os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_worker_niceness="0",
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
    RAY_USAGE_STATS_ENABLED="0",
)

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from unit.pipelines.jobs.makers import short_folder, submission
from unit.pipelines.jobs.pretend import until_state

from cluster.home import Home
from cluster.identity import stamp_of
from cluster.redis_server import PrivateRedis
from cluster.settings import Settings
from pipelines.jobs.actors import start_dispatcher, start_registry
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.orders import NAMESPACE, WorkerConfig
from pipelines.media.sample import make_sample

MODULES = [
    "pipelines.jobs.operations.probe",
    "pipelines.jobs.operations.transcode",
    "pipelines.bulk.operations.collection_import",
    "pipelines.bulk.operations.collection_process",
    "pipelines.bulk.operations.collection_export",
    "pipelines.bulk.operations.collection_enrich",
    "pipelines.bulk.operations.collection_duplicates",
    "pipelines.bulk.operations.collection_cleanup",
]
LIMIT_S = 60.0


class Cluster:
    """The actors, the store, and what a test does with them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.home = Home.create(folder / "home")
        settings = Settings(
            home=self.home.path,
            roots=(str(folder),),
            output_roots=(str(folder),),
            lease_s=2.0,
            pause_grace_s=0.0,
            interactive_slots=1,
        )
        self.config = config = WorkerConfig(settings, url, url)
        self.registry = start_registry(config)
        self.dispatcher = start_dispatcher(config, MODULES, "1")
        self.runner = asyncio.Runner()
        self.store = LeaderStore(url, patience=20)
        ray.get([self.registry.ready.remote(), self.dispatcher.ready.remote()], timeout=LIMIT_S)

    def close(self) -> None:
        self.do(self.store.close())
        self.runner.close()

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def submit(self, operation: str, source: Path | str, **params: Any) -> str:
        targets = (params["output"],) if "output" in params else ()
        wanted = submission(
            operation=operation,
            sources=(str(source),),
            params=params,
            created_at=int(time.time() * 1000),
            targets=targets,
        )
        job_id, _ = self.do(self.store.submit(wanted))
        return job_id

    def submit_alone(self, operation: str, source: Path) -> str:
        """Submit from a thread and a loop of its own."""

        async def body() -> str:
            store = LeaderStore(self.url, patience=20)
            try:
                return (await store.submit(submission(operation=operation, sources=(str(source),), params={})))[0]
            finally:
                await store.close()

        return asyncio.run(body())

    def job(self, job_id: str) -> Any:
        return self.do(self.store.get(job_id))

    def ended(self, job_id: str) -> str:
        return self.do(until_state(self.store, job_id, "succeeded", "failed", "cancelled", limit_s=LIMIT_S))

    def reaches(self, job_id: str, *states: str) -> None:
        self.do(until_state(self.store, job_id, *states, limit_s=LIMIT_S))

    def worker_of(self, job_id: str, unit: str) -> int:
        """Wait for the process that does a unit, and give its id."""
        notes: list[Path] = []

        def found() -> bool:
            notes[:] = self.home.units.glob(f"{job_id}.{unit}.*")
            return bool(notes)

        self.until(found)
        return int(json.loads(notes[0].read_text())["pid"])

    def encoding(self, job_id: str) -> int:
        """Wait until the media child of a job's film encodes; the id of the worker that holds the child."""
        pid = self.worker_of(job_id, "film")
        self.until(lambda: list((self.home.scratch / job_id).glob("film.*/film.*")))
        return pid

    def lost(self, job_id: str, unit: str) -> int:
        units = self.do(self.store.load(job_id)).units
        return units[unit].lost if unit in units else 0

    @staticmethod
    def until(true: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
        """Wait for what nobody announces: processes and files."""
        deadline = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < deadline, "it didn't happen in time"
            time.sleep(0.02)

    @staticmethod
    def is_gone(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    @staticmethod
    def actor_pid(name: str) -> int:
        """The process of an actor of ours, by its class."""
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[:1] == [f"ray::{name}"]:
                    return process.pid
        raise LookupError(name)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with short_folder() as folder:
        server = PrivateRedis("redis", folder, folder, ["appendonly yes", "appendfsync always", 'save ""'])
        server.spawn()
        server.wait_ready()
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            namespace=NAMESPACE,
            _temp_dir=str(folder / "ray"),
        )
        cluster = Cluster(folder, server.url)
        yield cluster
        cluster.close()
        ray.shutdown()
        server.stop()


@pytest.fixture(scope="session")
def clip(cluster: Cluster) -> Path:
    """A film that is done in a moment."""
    return make_sample(cluster.folder / "clip.mkv", duration_s=1, width=128, height=72)


@pytest.fixture(scope="session")
def film(cluster: Cluster) -> Path:
    """A film whose encoding (see ``SLOW``) takes some seconds; settled, so that what is made of it is kept."""
    path = make_sample(cluster.folder / "film.mkv", duration_s=6, width=640, height=360)
    cluster.until(lambda: stamp_of(path.stat()).settled)
    return path
