"""Operations on collections done without Ray: the driver's batches are run here and now, one after the other."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
from unit.pipelines.jobs.operating import place

from cluster.roots import ObjectAccess, Roots
from pipelines.bulk.collection import Collection
from pipelines.bulk.driving import RUN
from pipelines.bulk.streaming import ROWS, Batching, Runner
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Unit
from pipelines.jobs.workbench import Finished, Workbench

DAY_S = 86_400
_NUMBERS = count()  # no two batches have the same name


@dataclass
class Desk:
    """A place with a library that may be read and written, and the state of a server beside it."""

    folder: Path
    child: Any
    jobs: int = 0
    told: list[float] = field(default_factory=list)
    objects: ObjectAccess | None = None

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def out(self) -> Path:
        """A folder that may be written, and isn't there yet."""
        return self.folder / "out"

    def collection(self, name: str = "all") -> Collection:
        return Collection.named(self.home, name)

    def begin(self, operation: Operation, /, *sources: str | Path, **params: Any) -> Workbench:
        """A job's place."""
        self.jobs += 1
        return place(
            self.home,
            Roots((self.library,), (self.library, self.out), self.objects),
            params=operation.params(**params),
            sources=tuple(map(str, sources)),
            scratch=self.home / "scratch" / f"job-{self.jobs}" / "run.1",
            child=self.child,
            slots=2,
            driver=Driver(f"job-{self.jobs:04d}", RUN, 1),
            on_progress=lambda progress: self.told.append(progress["fraction"]),
        )

    def do(self, operation: Operation, /, *sources: str | Path, **params: Any) -> Outcome:
        bench = self.begin(operation, *sources, **params)
        operation.plan(bench)
        run: Any = operation.run
        manifest = run(bench, Unit(name=RUN), HereAndNow(operation, bench)).model_dump(mode="json")
        outcome = operation.join(bench, {RUN: Finished(bench.scratch, manifest, {})})
        assert isinstance(outcome, Outcome)
        return outcome


class HereAndNow(Runner):
    """Batches are run by ``operation``, one after the other, instead of through Ray Data and a dispatcher.

    ``most``: so many batches, then the driver is taken away.
    """

    def __init__(self, operation: Operation, bench: Workbench, most: int | None = None) -> None:
        self._run: Any = operation.run
        self._bench = bench
        self._left = most
        self.sizes: list[int] = []
        self.pauses: list[float] = []

    def stream(
        self, listing: Path, rows: pa.Table, batching: Batching, driver: Driver, slots: int
    ) -> Iterator[pa.Table]:
        every = rows.to_pylist()
        for begin in range(0, len(every), batching.size):
            if self._left is not None and len(self.sizes) >= self._left:
                raise UnitDroppedError
            payload = {**batching.common, ROWS: every[begin : begin + batching.size]}
            unit = Unit(name=f"batch-{driver.fence}-{next(_NUMBERS)}", payload=json.loads(json.dumps(payload)))
            scratch = self._bench.scratch.parent / f"{unit.name}.1"
            self._run(self._bench.of(self._bench.params, self._bench.sources, scratch, {}, 1.0), unit)
            self.sizes.append(len(payload[ROWS]))
            yield batching.told(unit.name, [row[batching.key] for row in payload[ROWS]])

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


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
