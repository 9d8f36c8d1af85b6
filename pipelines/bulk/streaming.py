"""Rows of a listing, streamed through Ray Data in batches, each of which a dispatcher has done in its turn.

Ray Data reads the listing and holds back what is ahead; the work itself is done where all work is, by batches of the
job. What passes through the object store are a few columns of each row. One process drives all batches: it only waits,
and cuts them by how long those before have taken.
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
from pipelines.bulk.long_plans import LongPlans
from pipelines.bulk.long_rows import LongRows
from pipelines.bulk.pace import Pace, block_size
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.turns import done_in_turn, is_of_place
from pipelines.jobs.driver import Driver
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import JobError, Needs, Unit

BATCH = "batch"  # what the names of batches begin with
ROWS = "rows"  # in a batch's payload
STATE, CODE, MESSAGE = "state", "code", "message"  # columns that every table of outcomes has
_MOST_AT_ONCE = 512  # each has a thread that waits
_AHEAD = 2  # batches asked for at once, for each slot: the next one waits for its turn when one is done


@dataclass(frozen=True)
class Batching:
    """How rows are done in batches, of which the first have ``size`` rows, and claim ``needs``.

    The payload of each has ``common``, too.

    A batch appends its outcomes to ``table``, under its own name: a row for each of its rows, told by ``key``. The
    ``state`` of one that couldn't be done is ``failed``. What isn't to be kept with the others goes ``aside``. Where
    there is room for ``plans``, a batch may note one of a row instead, which is then carried out unit by unit.
    """

    table: Table
    key: str
    size: int
    needs: Needs
    failed: str
    common: Mapping[str, Any]
    aside: Table | None = None
    plans: LongPlans | None = None

    def told(self, name: str, keys: Sequence[str]) -> pa.Table:
        """What came of the rows with these keys in a batch: of each its key, ``state`` and ``code``."""
        columns = self._columns
        try:
            parts = [self.table.part(name, columns)]
        except FileNotFoundError:  # the driver has packed it with others this moment
            rows = self.table.read(columns)
            parts = [rows.filter(pc.is_in(rows[self.key], pa.array(keys)))]
        if self.aside is not None:
            with contextlib.suppress(FileNotFoundError):  # nothing was
                parts.append(self.aside.part(name, columns))
        return pa.concat_tables(parts)

    def told_since(self, at: datetime) -> pa.Table:
        """What came of all batches since then, as ``told``."""
        tables = [self.table] if self.aside is None else [self.table, self.aside]
        parts = [table.read((*self._columns, AT)) for table in tables]
        since = [rows.filter(pc.greater_equal(rows[AT], pa.scalar(at, rows[AT].type))) for rows in parts]
        return pa.concat_tables([rows.select(self._columns) for rows in since])

    @property
    def _columns(self) -> list[str]:
        return [self.key, STATE, CODE]


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

        at_once = min(max(2, slots * _AHEAD), _MOST_AT_ONCE)
        pq.write_table(rows, listing, row_group_size=block_size(batching.size, len(rows), at_once))
        context = DataContext.get_current()
        context.execution_options.preserve_order = False
        context.execution_no_progress_timeout_s = -1  # films take their time, a paused job for ever
        context.raise_original_map_exception = True  # what was wrong is told by its class
        context.enable_progress_bars = False
        context.print_on_execution_start = False
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
            fn_constructor_args=(batching, driver, datetime.now(UTC), at_once),
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
    """What Ray Data calls with blocks of rows, from several threads. It ``began`` then, maybe in an earlier process."""

    def __init__(self, batching: Batching, driver: Driver, began: datetime, at_once: int) -> None:
        self._batching = batching
        self._driver = driver
        plans, common, key = batching.plans, batching.common, batching.key
        self._long = LongRows(driver, plans, common, key, at_once) if plans else None
        self._pace = Pace(batching.size)
        # With what an earlier one had begun Ray Data comes again; now it may be cut into other batches.
        self._earlier = batching.told_since(began) if _started_anew() else None

    def __call__(self, rows: pa.Table) -> pa.Table:
        told, key = [], self._batching.key
        if self._earlier is not None:
            told.append(self._earlier.filter(pc.is_in(self._earlier[key], rows[key].combine_chunks())))
            rows = rows.filter(pc.invert(pc.is_in(rows[key], told[0][key].combine_chunks())))
        left = rows.to_pylist()
        while left:
            count = self._pace.cut(left)
            told += self._done(left[:count])
            left = left[count:]
        return pa.concat_tables(told)

    def _done(self, rows: Sequence[dict[str, Any]]) -> list[pa.Table]:
        """A batch that fails again and again is halved, down to the row that is to blame, if one is."""
        name = f"{BATCH}-{self._driver.fence}-{_digest([self._batching.common, *rows])}"
        unit = Unit(name=name, needs=self._needs(rows), payload={**self._batching.common, ROWS: list(rows)})
        report = done_in_turn(self._driver, unit)
        if report.outcome == "failed" and len(rows) > 1 and not is_of_place(report.error):
            half = len(rows) // 2
            return [*self._done(rows[:half]), *self._done(rows[half:])]
        if report.outcome == "failed":
            return [self._failed(name, rows, report.error)]
        long = self._long.planned_by(name, rows) if self._long else []
        if report.took_s is not None and not long:
            self._pace.learn(rows, report.took_s)
        told = self._batching.told(name, [row[self._batching.key] for row in rows if row not in long])
        return [told, *(self._carried_out(row, name) for row in long)]

    def _carried_out(self, row: dict[str, Any], plan_of: str) -> pa.Table:
        """What came of a row that takes long."""
        assert self._long is not None
        name, error = self._long.carry_out(row, plan_of)
        return self._failed(name, [row], error) if error else self._batching.told(name, [row[self._batching.key]])

    def _needs(self, rows: Sequence[Mapping[str, Any]]) -> Needs:
        """What a batch of these rows claims: it is heavy, however short."""
        seconds, needs = self._pace.seconds_of(rows), self._batching.needs
        return needs if seconds is None else needs.model_copy(update={"seconds": max(1.0, seconds)})

    def _failed(self, name: str, rows: Sequence[dict[str, Any]], error: JobError | None) -> pa.Table:
        """What is told of the rows that the unit with this name failed with."""
        told = {STATE: self._batching.failed, AT: datetime.now(UTC)}
        if error is not None:
            told |= {CODE: error.code, MESSAGE: error.message}
        table, aside = self._batching.table, self._batching.aside
        failed = [{**row, **self._batching.common, **told} for row in rows]
        if aside is not None and is_of_place(error):
            aside.append(name, pa.Table.from_pylist(failed, schema=aside.schema))
            failed = []
        table.append(name, pa.Table.from_pylist(failed, schema=table.schema))
        return self._batching.told(name, [row[self._batching.key] for row in rows])


def _started_anew() -> bool:
    import ray  # only an actor of Ray Data can be

    return ray.is_initialized() and bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _digest(rows: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:16]
