"""Operations on collections done without Ray: the driver's batches are run here and now, one after the other."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.storage import Roots
from pipelines.bulk import processing, sidecars
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import ATTEMPTS, RUN
from pipelines.bulk.operations import collection_import
from pipelines.bulk.streaming import ROWS, Batching
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.driver import Driver
from pipelines.jobs.models import Unit
from pipelines.jobs.workbench import Finished, Workbench

DAY_S = 86_400


@dataclass
class Desk:
    """A place with a library that may be read and written, and the state of a server beside it."""

    folder: Path
    child: Any
    jobs: int = 0
    told: list[float] = field(default_factory=list)

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def collection(self, name: str = "all") -> Collection:
        return Collection.named(self.home, name)

    def begin(self, operation: Operation, /, *sources: str | Path, **params: Any) -> Workbench:
        """A job's place."""
        self.jobs += 1
        return Workbench(
            params=operation.params(**params),
            sources=tuple(map(str, sources)),
            scratch=self.home / "scratch" / f"job-{self.jobs}" / "run.1",
            roots=Roots((self.library,), (self.library,)),
            child=self.child,
            cpus=1,
            slots=2,
            shared={},
            estimate_s=1.0,
            profiles=dict,
            home=self.home,
            driver=Driver(f"job-{self.jobs:04d}", RUN, 1),
            on_progress=lambda progress: self.told.append(progress["fraction"]),
        )

    def do(self, operation: Operation, /, *sources: str | Path, **params: Any) -> Outcome:
        bench = self.begin(operation, *sources, **params)
        operation.plan(bench)
        with running_batches(operation):
            manifest = operation.run(bench, Unit(name=RUN)).model_dump(mode="json")
        outcome = operation.join(bench, {RUN: Finished(bench.scratch, manifest, {})})
        assert isinstance(outcome, Outcome)
        return outcome


@contextlib.contextmanager
def running_batches(operation: Operation) -> Iterator[None]:
    """Batches are run by ``operation``, here and now, instead of through Ray Data and a dispatcher."""

    def have_all_done(bench: Workbench, rows: pa.Table, batching: Batching) -> None:
        every = rows.to_pylist()
        for begin in range(0, len(every), batching.size):
            payload = {**batching.common, ATTEMPTS: 1, ROWS: every[begin : begin + batching.size]}
            unit = Unit(name=f"batch-{bench.driver.job_id}-{begin}", payload=json.loads(json.dumps(payload)))
            operation.run(bench.of(bench.params, bench.sources, bench.scratch / unit.name, {}, 1.0), unit)
            bench.tell((begin + 1) / len(every))

    modules = (processing, sidecars, collection_import)
    originals = [module.have_all_done for module in modules]
    for module in modules:
        module.have_all_done = have_all_done
    try:
        yield
    finally:
        for module, original in zip(modules, originals, strict=True):
            module.have_all_done = original


def report(outcome: Outcome, name: str) -> list[dict[str, Any]]:
    """The rows of a file that a job made."""
    (made,) = [each for each in outcome.made if each.name == name]
    return [json.loads(line) for line in made.path.read_text().splitlines()]


def settle(folder: Path) -> None:
    """Make files a day old, in the order of their names."""
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            at = time.time() - DAY_S + number
            os.utime(path, (at, at))
