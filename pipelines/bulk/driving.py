"""What the driver of a bulk job does: all rows are done, and what may do better is tried again after a pause."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.bulk.streaming import CODE, STATE, THROUGH_RAY, Batching, Runner
from pipelines.jobs.errors import told_error
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Workbench

RUN = "run"  # the unit that drives
ATTEMPTS = "attempts"  # in a batch's payload: which try this is
MOST_ATTEMPTS = 3
_PAUSE_S = 1.0  # before the second try; before each one after it four times as long
_MOMENTARY = frozenset({"source_changed", "limit_exceeded"})  # a moment later it may be well
_A_LONG_TIME_S = 3600.0


def driven(explain: Mapping[str, object]) -> Plan:
    """The plan of a bulk job: one unit, which drives."""
    needs = Needs(cpus=0, max_cpus=0, seconds=_A_LONG_TIME_S, drives=True)
    return Plan(units=(Unit(name=RUN, needs=needs),), explain=dict(explain))


def have_all_done(bench: Workbench, rows: pa.Table, batching: Batching, runner: Runner = THROUGH_RAY) -> None:
    """Have each row done, three times at most; the outcomes are in the table of ``batching``, on the disk.

    Raises:
        UnitDroppedError: this driver was taken away.
    """
    total, settled = len(rows), 0
    for attempt in range(1, MOST_ATTEMPTS + 1):
        again: list[str] = []
        this = replace(batching, common={**batching.common, ATTEMPTS: attempt})
        listing = bench.scratch / f"listing-{attempt}.parquet"
        for outcomes in runner.stream(listing, rows, this, bench.driver, bench.slots):
            if attempt < MOST_ATTEMPTS:
                again += _worth_a_try(outcomes, batching)
            settled += len(outcomes)
            bench.tell(max(0.0, (settled - len(again)) / total))
        if not again:
            return
        settled -= len(again)
        rows = rows.filter(pc.is_in(rows[batching.key], pa.array(again)))
        runner.pause(_PAUSE_S * 4 ** (attempt - 1))


def _worth_a_try(outcomes: pa.Table, batching: Batching) -> list[str]:
    failed = outcomes.filter(pc.equal(outcomes[STATE], batching.failed))
    return [
        key
        for key, code in zip(failed[batching.key].to_pylist(), failed[CODE].to_pylist(), strict=True)
        if code in _MOMENTARY or told_error(code or "", "").retryable
    ]
