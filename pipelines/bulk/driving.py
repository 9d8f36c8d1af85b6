"""What the driver of a bulk job does: all rows are done, and what may do better is tried again after a pause."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.bulk.long_plans import LongPlans
from pipelines.bulk.streaming import CODE, STATE, THROUGH_RAY, Batching, Runner
from pipelines.bulk.tables import AT
from pipelines.jobs.errors import told_error
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Workbench

RUN = "run"  # the unit that drives
ATTEMPTS = "attempts"  # in a batch's payload: which try this is
MOST_ATTEMPTS = 3
_PAUSE_S = 1.0  # before the second try; before each one after it four times as long
_MOMENTARY = frozenset({"source_changed", "limit_exceeded"})  # a moment later it may be well
_MOST_PARTS = 256  # that are small: where a batch is a film, there are as many as films
_A_LONG_TIME_S = 3600.0
_TOLD_EVERY_S = 1.0


def driven(explain: Mapping[str, object]) -> Plan:
    """The plan of a bulk job: one unit, which drives."""
    needs = Needs(cpus=0, max_cpus=0, seconds=_A_LONG_TIME_S, drives=True)
    return Plan(units=(Unit(name=RUN, needs=needs),), explain=dict(explain))


def is_waited_for(bench: Workbench) -> bool:
    """Whether a plan is only to be shown, to a caller who waits: it is of no job."""
    return not bench.driver.job_id


def have_all_done(
    bench: Workbench,
    rows: pa.Table,
    batching: Batching,
    runner: Runner = THROUGH_RAY,
    tried: Mapping[str, int] | None = None,
) -> None:
    """Have each row done, three times at most; the outcomes are in the table of ``batching``, on the disk.

    ``tried``: how often an earlier driver of this job tried rows, by their keys.

    Raises:
        UnitDroppedError: this driver was taken away.
        StorageError: ``disk_full``.
    """
    total, settled = len(rows), 0
    progress = _Progress(bench, total, batching.plans)
    tries = {key: (tried or {}).get(key, 0) for key in rows[batching.key].to_pylist()}
    for attempt in range(1, MOST_ATTEMPTS + 1):
        due = [key for key, tried_times in tries.items() if tried_times < attempt]
        if not due:
            continue
        if attempt > 1:
            runner.pause(_PAUSE_S * 4 ** (attempt - 2))
        again: list[str] = []
        this = replace(batching, common={**batching.common, ATTEMPTS: attempt})
        listing = bench.notes / f"{bench.scratch_name}-listing-{attempt}.parquet"
        wanted = rows.filter(pc.is_in(rows[batching.key], pa.array(due)))
        with progress.of_long_rows():
            for outcomes in runner.stream(listing, wanted, this, bench.driver, bench.slots):
                batching.table.pack_many(_MOST_PARTS)
                if attempt < MOST_ATTEMPTS:
                    again += worth_a_try(outcomes, batching.key, batching.failed)
                settled += len(outcomes)
                progress.tell(settled - len(again))
        settled -= len(again)
        for key in {*due}.difference(again):
            del tries[key]
        tries |= dict.fromkeys(again, attempt)


class _Progress:
    """Of ``total`` rows so many are settled; those that take long count in part, and tell so now and then."""

    def __init__(self, bench: Workbench, total: int, plans: LongPlans | None) -> None:
        self._bench = bench
        self._total = total
        self._plans = plans
        self._settled = 0

    def tell(self, settled: int) -> None:
        self._settled = max(0, settled)
        under_way = self._plans.under_way() if self._plans else 0.0
        self._bench.tell(min(1.0, (self._settled + under_way) / self._total))

    @contextlib.contextmanager
    def of_long_rows(self) -> Iterator[None]:
        """While rows are done: tell of those that take long."""
        if self._plans is None:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._tell_on, args=(ended,), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _tell_on(self, ended: threading.Event) -> None:
        while not ended.wait(_TOLD_EVERY_S):
            if self._plans and self._plans.under_way():
                self.tell(self._settled)


def earlier_tries(
    outcomes: pa.Table, key: str, failed: str, since: datetime | None = None
) -> tuple[set[str], dict[str, int]]:
    """The keys of the rows that an earlier driver of this job is through with, and how often it tried the others.

    ``outcomes`` has the columns ``of_tries`` tells. Those before ``since``, when the job began, are of other jobs.
    """
    if since is not None:
        outcomes = outcomes.filter(pc.greater_equal(outcomes[AT], pa.scalar(since, outcomes.schema.field(AT).type)))
    tries = dict(zip(outcomes[key].to_pylist(), outcomes[ATTEMPTS].to_pylist(), strict=True))
    tried = {which: tries[which] for which in worth_a_try(outcomes, key, failed) if tries[which] < MOST_ATTEMPTS}
    return tries.keys() - tried.keys(), tried


def of_tries(key: str) -> tuple[str, ...]:
    return key, STATE, CODE, ATTEMPTS, AT


def worth_a_try(outcomes: pa.Table, key: str, failed: str) -> list[str]:
    """The keys of the failed ones that may do better after a pause."""
    wrong = outcomes.filter(pc.equal(outcomes[STATE], failed))
    return [
        which
        for which, code in zip(wrong[key].to_pylist(), wrong[CODE].to_pylist(), strict=True)
        if code in _MOMENTARY or told_error(code or "", "").retryable
    ]
