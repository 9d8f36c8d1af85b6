"""A few alerts for where there is no Prometheus: looked for beside the dispatcher, and told by webhook.

They are those of ``configs/prometheus/rules.yml`` of the same names, with the same limits, over what is known here
anyway. What stops this process can't be told by it: a machine, a dispatcher or a job store that is away.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import ray
from prometheus_client import Metric

from cluster.metrics import pushed
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import DISPATCHER, WorkerConfig
from pipelines.jobs.outbox import Outbox
from pipelines.jobs.owed import Owed, to_all
from pipelines.jobs.queue_facts import QueueFacts
from pipelines.jobs.service import uuid7
from pipelines.jobs.store_records import Totals
from serve.actors import actor
from serve.scheduled_backups import is_backup_old

_EVERY_S = 15.0
_PATIENCE = 10
_WINDOW_S = 1800.0
FIRING, RESOLVED = "alert.firing", "alert.resolved"
Found = Mapping[str, float] | None  # a value by label ("" where there is only one); None: it isn't known now


@dataclass(frozen=True)
class Facts:
    """What is looked at. None: it can't be had. ``gauges``: those of nodes, by name and node.

    ``failed`` and ``ended`` count jobs of the last half hour, or since this process began: then they aren't ``whole``.
    """

    queue: QueueFacts | None
    totals: Totals | None
    gauges: Mapping[str, Mapping[str, float]] | None
    failed: int = 0
    ended: int = 0
    whole: bool = False
    backup_old: bool = False


@dataclass(frozen=True)
class Rule:
    """An alert. It fires once it was found for ``for_s``. ``limits`` are the numbers that it is found by."""

    name: str
    severity: str
    for_s: float
    limits: tuple[float, ...]
    label: str  # what is told apart by it, or ""
    found: Callable[[Facts, tuple[float, ...]], Found]
    summary: str


def _store_cant_write(facts: Facts, _limits: tuple[float, ...]) -> Found:
    if facts.totals is None:
        return None
    return {} if facts.totals.writes else {"": 0.0}


def _store_memory(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.totals is None:
        return None
    limit_bytes = facts.totals.memory_limit_bytes
    taken = facts.totals.memory_bytes / limit_bytes if limit_bytes else 0.0
    return {"": taken} if taken > limits[0] else {}


def _cache_down(facts: Facts, _limits: tuple[float, ...]) -> Found:
    return {"": 0.0} if facts.gauges is None else {}


def _queue_old(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.queue is None:
        return None
    most_s = dict(zip(("urgent", "high", "normal"), limits, strict=True))
    return {each: age for each, age in facts.queue.oldest_s.items() if each in most_s and age > most_s[each]}


def _no_capacity(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.queue is None:
        return None
    free = facts.queue.cpus_in_use < facts.queue.cpus
    return {each: float(count) for each, count in facts.queue.waiting.items() if count > limits[0] and not free}


def _queue_stuck(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.queue is None:
        return None
    free = facts.queue.cpus_in_use < facts.queue.cpus
    return {each: age for each, age in facts.queue.oldest_s.items() if age > limits[0] and free}


def _unit_overdue(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.queue is None:
        return None
    return {each: float(count) for each, count in facts.queue.overdue.items() if count > limits[0]}


def _jobs_fail(facts: Facts, limits: tuple[float, ...]) -> Found:
    most, fewest = limits
    if facts.ended >= fewest and facts.failed / facts.ended > most:
        return {"": facts.failed / facts.ended}
    return {} if facts.whole else None


def _quarantined(facts: Facts, limits: tuple[float, ...]) -> Found:
    if facts.totals is None:
        return None
    return {"": float(facts.totals.quarantined)} if facts.totals.quarantined > limits[0] else {}


def _disk(facts: Facts, limits: tuple[float, ...]) -> Found:
    return _scarce(facts, "mediaray_node_disk_free_bytes", "mediaray_node_disk_bytes", limits[0])


def _memory(facts: Facts, limits: tuple[float, ...]) -> Found:
    return _scarce(facts, "mediaray_node_memory_available_bytes", "mediaray_node_memory_bytes", limits[0])


def _scarce(facts: Facts, left: str, whole: str, least: float) -> Found:
    """Of each node the share that is left, where it's less."""
    if facts.gauges is None:
        return None
    wholes = facts.gauges.get(whole, {})
    shares = {node: value / wholes[node] for node, value in facts.gauges.get(left, {}).items() if wholes.get(node)}
    return {node: share for node, share in shares.items() if share < least}


def _backup_old(facts: Facts, _limits: tuple[float, ...]) -> Found:
    return {"": 1.0} if facts.backup_old else {}


RULES = (
    Rule(
        *("MediarayStoreCantWrite", "critical", 60, (), "", _store_cant_write),
        "The job store's Redis can't write to its disk. No jobs are accepted.",
    ),
    Rule(
        *("MediarayStoreMemory", "warning", 600, (0.8,), "", _store_memory),
        "The job store's Redis has taken {value:.0%} of its memory.",
    ),
    Rule(
        *("MediarayCacheDown", "warning", 300, (), "", _cache_down),
        "The cache's Redis doesn't answer. All is read anew, progress stands still, and counters are missing.",
    ),
    Rule(
        *("MediarayQueueOld", "warning", 300, (300, 1800, 14_400), "priority", _queue_old),
        "A job of priority {label} has waited {value:.0f} s.",
    ),
    Rule(
        *("MediarayNoCapacity", "warning", 1800, (0,), "priority", _no_capacity),
        "Jobs of priority {label} have waited for half an hour with no CPU free.",
    ),
    Rule(
        *("MediarayQueueStuck", "critical", 600, (300,), "priority", _queue_stuck),
        "A job of priority {label} waits, though there are CPUs free.",
    ),
    Rule(
        *("MediarayUnitOverdue", "warning", 300, (0,), "operation", _unit_overdue),
        "{value:.0f} units of {label} take more than ten times as long as they should.",
    ),
    Rule(
        *("MediarayJobsFail", "warning", 300, (0.2, 5), "", _jobs_fail),
        "{value:.0%} of the jobs that ended in the last half hour failed.",
    ),
    Rule(
        *("MediarayQuarantined", "warning", 0, (0,), "", _quarantined),
        "{value:.0f} jobs are set aside, since their records can't be read.",
    ),
    Rule(
        *("MediarayDiskFills", "warning", 600, (0.1,), "node", _disk),
        "Of a disk {value:.0%} is free: {label}.",
    ),
    Rule(
        *("MediarayDiskFull", "critical", 60, (0.02,), "node", _disk),
        "Of a disk {value:.0%} is free: {label}.",
    ),
    Rule(
        *("MediarayMemoryLow", "warning", 600, (0.08,), "node", _memory),
        "Of the memory of {label} {value:.0%} can be had.",
    ),
    Rule(
        *("MediarayBackupOld", "warning", 900, (), "", _backup_old),
        "The last backup that the clock made is older than two of its intervals, or there is none.",
    ),
)
_NAMES = frozenset(rule.name for rule in RULES)


@dataclass(frozen=True)
class Change:
    """An alert that fires from now on, or no longer. ``key`` tells it and its label."""

    key: str
    firing: bool
    data: Mapping[str, Any]


class Watch:
    """Which alerts fire. ``told``: those that do, by what was told of them by an earlier life of this process."""

    def __init__(self, told: Mapping[str, Mapping[str, Any]]) -> None:
        self._told = dict(told)
        self._since: dict[str, float] = {}

    def look(self, facts: Facts, now_s: float) -> list[Change]:
        """What changes. ``now_s`` is of a clock that goes on evenly."""
        changes = [self._resolved(key) for key in list(self._told) if _rule_of(key) not in _NAMES]
        for rule in RULES:
            found = rule.found(facts, rule.limits)
            if found is None:
                continue
            values = {f"{rule.name}/{label}": (label, value) for label, value in found.items()}
            for key in [key for key in self._since if _rule_of(key) == rule.name and key not in values]:
                del self._since[key]
            changes += [
                self._resolved(key) for key in list(self._told) if _rule_of(key) == rule.name and key not in values
            ]
            for key, (label, value) in values.items():
                began_s = self._since.setdefault(key, now_s)
                if key not in self._told and now_s - began_s >= rule.for_s:
                    self._told[key] = _data(rule, label, value)
                    changes.append(Change(key, firing=True, data=self._told[key]))
        return changes

    def _resolved(self, key: str) -> Change:
        return Change(key, firing=False, data=self._told.pop(key))


def _rule_of(key: str) -> str:
    return key.partition("/")[0]


def _data(rule: Rule, label: str, value: float) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "severity": rule.severity,
        "labels": {rule.label: label} if rule.label else {},
        "value": value,
        "summary": rule.summary.format(label=label, value=value),
        "runbook": f"docs/runbooks.md#{rule.name.lower()}",
    }


class Ends:
    """How many jobs ended and failed of late, from counts of all there ever were."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()

    def of(self, totals: Totals, now_s: float) -> tuple[int, int, bool]:
        """Those that failed, those that failed or succeeded, and whether half an hour is known."""
        by_state = {
            state: sum(count for (ended, _), count in totals.finished.items() if ended == state)
            for state in ("failed", "succeeded")
        }
        self._counts.append((now_s, by_state["failed"], sum(by_state.values())))
        while len(self._counts) > 1 and now_s - self._counts[1][0] >= _WINDOW_S:
            self._counts.popleft()
        began_s, failed, ended = self._counts[0]
        # Fewer than before: the store was emptied, or another one was restored.
        failed, ended = by_state["failed"] - failed, sum(by_state.values()) - ended
        return max(0, failed), max(0, ended), now_s - began_s >= _WINDOW_S


async def run(config: WorkerConfig, _catalogue: Catalogue) -> None:
    """Look again and again, until it fails or is cancelled."""
    settings = config.settings
    if not settings.webhook_urls or not {FIRING, RESOLVED} & set(settings.webhook_events):
        await asyncio.Event().wait()
        return
    outbox = Outbox(config.redis_url, patience=_PATIENCE)
    try:
        watch, ends = Watch(await outbox.alerts()), Ends()
        while True:
            facts = await _facts(config, outbox, ends)
            for change in watch.look(facts, time.monotonic()):
                await tell(outbox, change, to_all(settings), settings.webhook_events)
            await asyncio.sleep(_EVERY_S)
    finally:
        await outbox.close()


async def tell(outbox: Outbox, change: Change, endpoints: Mapping[str, str], events: Collection[str]) -> None:
    """Owe it, unless the store knows it already; where nobody wants it, only note it."""
    kind = FIRING if change.firing else RESOLVED
    owed = Owed(f"msg_{uuid7()}", kind, change.data, endpoints if kind in events else {})
    await outbox.tell(owed, alert=change.key, firing=change.firing)


async def _facts(config: WorkerConfig, outbox: Outbox, ends: Ends) -> Facts:
    queue: QueueFacts | None = None
    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        queue = await actor(DISPATCHER).facts.remote()
    totals = await outbox.totals()
    families = await asyncio.to_thread(pushed, config.cache_url)
    failed, ended, whole = ends.of(totals, time.monotonic())
    gauges = None if families is None else by_node(families)
    backup_old = await asyncio.to_thread(is_backup_old, config.settings, datetime.now(UTC))
    return Facts(queue, totals, gauges, failed, ended, whole, backup_old)


def by_node(families: Collection[Metric]) -> dict[str, dict[str, float]]:
    """Gauges that tell of nodes: by name and node, those of disks also by what lies on them."""
    return {
        family.name: {", ".join(sample.labels.values()): sample.value for sample in family.samples}
        for family in families
        if family.name.startswith("mediaray_node_")
    }
