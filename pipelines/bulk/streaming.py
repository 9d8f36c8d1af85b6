"""Rows of a listing, streamed through Ray Data in batches, each of which a dispatcher has done in its turn.

Ray Data reads the listing and holds back what is ahead; the work itself is done where all work is, by batches of the
job. What passes through the object store are a few columns of each row. One process drives all batches: it only waits.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from cluster.errors import StorageError
from pipelines.bulk.tables import AT, Table
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import CacheAwayError, UnitDroppedError
from pipelines.jobs.models import JobError, Needs, Unit

BATCH = "batch"  # what the names of batches begin with
ROWS = "rows"  # in a batch's payload
STATE, CODE, MESSAGE = "state", "code", "message"  # columns that every table of outcomes has
DISK_FULL = "disk_full"
_ENDING = frozenset({DISK_FULL, CacheAwayError.code})  # codes that end a job instead of a row
_AHEAD = 2  # batches asked for at once, for each slot: the next one waits for its turn when one is done


@dataclass(frozen=True)
class Batching:
    """How rows are done in batches: ``size`` rows in each, which claims ``needs``; its payload has ``common``, too.

    A batch appends its outcomes to ``table``, under its own name: a row for each of its rows, told by ``key``. The
    ``state`` of one that couldn't be done is ``failed``. What isn't to be kept with the others goes ``aside``.
    """

    table: Table
    key: str
    size: int
    needs: Needs
    failed: str
    common: Mapping[str, Any]
    aside: Table | None = None

    def told(self, name: str, keys: Sequence[str]) -> pa.Table:
        """What came of a batch: of each row its key, ``state`` and ``code``."""
        columns = (self.key, STATE, CODE)
        try:
            parts = [self.table.part(name, columns)]
        except FileNotFoundError:  # the driver has packed it with others this moment
            rows = self.table.read(columns)
            parts = [rows.filter(pc.is_in(rows[self.key], pa.array(keys)))]
        if self.aside is not None:
            with contextlib.suppress(FileNotFoundError):  # nothing was
                parts.append(self.aside.part(name, columns))
        return pa.concat_tables(parts)


class BatchManifest(BaseModel):
    """What a batch leaves in the store: all else it put into a table."""

    rows: int


class Runner:
    """How rows are done in batches: through Ray Data, each batch in its turn. Tests have them done here and now."""

    def stream(
        self, listing: Path, rows: pa.Table, batching: Batching, driver: Driver, slots: int
    ) -> Iterator[pa.Table]:
        """Have all rows done; what came of each batch, as its key, ``state`` and ``code``, in any order.

        ``listing`` is a file to write the rows to.

        Raises:
            UnitDroppedError: the driver was taken away.
            StorageError: ``disk_full``.
        """
        import ray  # slow to load, and not needed where nothing is to be done
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayTaskError

        from pipelines.bulk.listing import Listing

        pq.write_table(rows, listing, row_group_size=batching.size)
        context = DataContext.get_current()
        context.execution_options.preserve_order = False
        context.execution_no_progress_timeout_s = -1  # films take their time, a paused job for ever
        context.raise_original_map_exception = True  # what was wrong is told by its class
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        at_once = max(2, slots * _AHEAD)
        source = Listing(listing)
        dataset = ray.data.read_datasource(source, num_cpus=0, override_num_blocks=source.batches).map_batches(
            BatchMapper,
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                size=1,
                max_tasks_in_flight_per_actor=at_once,
                max_concurrent_calls_per_actor=at_once,
                enable_true_multi_threading=True,
            ),
            num_cpus=0,
            fn_constructor_args=(batching, driver),
        )
        try:
            yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        except RayTaskError as error:
            if isinstance(error.cause, StorageError | UnitDroppedError):
                raise error.cause from None
            raise

    def pause(self, seconds: float) -> None:
        """Wait before rows are tried again."""
        time.sleep(seconds)


THROUGH_RAY = Runner()


class BatchMapper:
    """What Ray Data calls, from several threads."""

    def __init__(self, batching: Batching, driver: Driver) -> None:
        self._batching = batching
        self._driver = driver

    def __call__(self, rows: pa.Table) -> pa.Table:
        return pa.concat_tables(self._done(rows.to_pylist()))

    def _done(self, rows: Sequence[dict[str, Any]]) -> list[pa.Table]:
        """A batch that fails again and again is halved, down to the row that is to blame."""
        name = f"{BATCH}-{self._driver.fence}-{_digest([self._batching.common, *rows])}"
        unit = Unit(name=name, needs=self._batching.needs, payload={**self._batching.common, ROWS: list(rows)})
        report = self._driver.do(unit)
        if report.outcome == "dropped":
            raise UnitDroppedError
        if report.error is not None and report.error.code in _ENDING:  # of fewer rows it's no less so
            raise StorageError(report.error.code, report.error.message)
        if report.outcome == "failed" and len(rows) > 1:
            half = len(rows) // 2
            return [*self._done(rows[:half]), *self._done(rows[half:])]
        if report.outcome == "failed":
            self._batching.table.append(name, self._blamed(rows[0], report.error))
        return [self._batching.told(name, [row[self._batching.key] for row in rows])]

    def _blamed(self, row: dict[str, Any], error: JobError | None) -> pa.Table:
        told = {STATE: self._batching.failed, AT: datetime.now(UTC)}
        if error is not None:
            told |= {CODE: error.code, MESSAGE: error.message}
        schema = self._batching.table.schema
        return pa.Table.from_pylist([{**row, **self._batching.common, **told}], schema=schema)


def _digest(rows: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:16]
