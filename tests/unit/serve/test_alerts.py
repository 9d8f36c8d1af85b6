import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge
from unit.pipelines.jobs.makers import wiped
from unit.serve.edge import Capacity

from pipelines.jobs.outbox import Outbox
from pipelines.jobs.queue_facts import QueueFacts, facts_of
from pipelines.jobs.store_records import Totals
from serve.alerts import RULES, Ends, Facts, Watch, by_node, tell

ROOT = Path(__file__).parents[3]
SECONDS = {"s": 1, "m": 60, "h": 3600}
WELL = Totals({}, {}, 0, memory_bytes=10, memory_limit_bytes=100, file_bytes=0, writes=True)
IDLE = replace(facts_of((), Capacity(), 0.0, 0.0), cpus=2, cpus_in_use=0)
BUSY = replace(IDLE, cpus_in_use=2)
NODE = "mediaray_node_"
EVENTS = ("alert.firing", "alert.resolved")


def queue(of: QueueFacts, **changes: Any) -> Facts:
    return replace(FINE, queue=replace(of, **changes))


def totals(**changes: Any) -> Facts:
    return replace(FINE, totals=replace(WELL, **changes))


def node(disk: float = 50, memory: float = 50) -> Mapping[str, Mapping[str, float]]:
    left = {"disk_free_bytes": disk, "memory_available_bytes": memory}
    return {f"{NODE}{name}": {"n": value} for name, value in {**left, "disk_bytes": 100, "memory_bytes": 100}.items()}


FINE = Facts(IDLE, WELL, node(), whole=True)


def long(facts: Facts, watch: Watch | None = None) -> dict[str, Any]:
    """What fires when it has been so for longer than any alert waits."""
    watch = watch or Watch({})
    changes = [*watch.look(facts, 0.0), *watch.look(facts, 100_000.0)]
    return {change.key: change.data for change in changes if change.firing}


def test_nothing_fires_where_all_is_well():
    assert long(FINE) == {}


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        (totals(writes=False), "MediarayStoreCantWrite/"),
        (totals(memory_bytes=81), "MediarayStoreMemory/"),
        (totals(memory_bytes=80), None),
        (totals(memory_bytes=81, memory_limit_bytes=0), None),
        (replace(FINE, gauges=None), "MediarayCacheDown/"),
        (queue(BUSY, oldest_s={"urgent": 301.0}), "MediarayQueueOld/urgent"),
        (queue(BUSY, oldest_s={"urgent": 300.0, "high": 1800.0, "normal": 14_400.0, "low": 1e9}), None),
        (queue(BUSY, oldest_s={"normal": 14_401.0}), "MediarayQueueOld/normal"),
        (queue(BUSY, waiting={"low": 1, "high": 0}), "MediarayNoCapacity/low"),
        (queue(IDLE, cpus=0, waiting={"low": 1}), "MediarayNoCapacity/low"),
        (queue(IDLE, waiting={"low": 1}), None),
        (queue(IDLE, oldest_s={"low": 301.0}), "MediarayQueueStuck/low"),
        (queue(BUSY, oldest_s={"low": 301.0}), None),
        (queue(IDLE, overdue={"transcode": 2}), "MediarayUnitOverdue/transcode"),
        (replace(FINE, failed=2, ended=5), "MediarayJobsFail/"),
        (replace(FINE, failed=2, ended=5, whole=False), "MediarayJobsFail/"),
        (replace(FINE, failed=2, ended=10), None),
        (replace(FINE, failed=4, ended=4), None),
        (totals(quarantined=1), "MediarayQuarantined/"),
        (replace(FINE, gauges=node(disk=9)), "MediarayDiskFills/n"),
        (replace(FINE, gauges=node(disk=10)), None),
        (replace(FINE, gauges=node(memory=7)), "MediarayMemoryLow/n"),
        (replace(FINE, backup_old=True), "MediarayBackupOld/"),
    ],
)
def test_what_fires_when(facts, fires):
    assert list(long(facts)) == ([fires] if fires else [])


def test_a_full_disk_is_worse_than_one_that_fills():
    assert list(long(replace(FINE, gauges=node(disk=1)))) == ["MediarayDiskFills/n", "MediarayDiskFull/n"]


def test_a_disk_with_no_byte_left_is_full():
    assert "MediarayDiskFull/n" in long(replace(FINE, gauges=node(disk=0)))


def test_an_alert_says_what_is_wrong_of_what():
    told = long(queue(BUSY, oldest_s={"high": 1801.0}))["MediarayQueueOld/high"]
    assert told["summary"] == "A job of priority high has waited 1801 s."
    assert told["labels"] == {"priority": "high"}
    assert (told["severity"], told["runbook"]) == ("warning", "docs/runbooks.md#mediarayqueueold")


def test_an_alert_fires_once_when_it_was_so_for_its_time_and_then_is_resolved():
    watch, old = Watch({}), totals(writes=False)

    def look(facts: Facts, at_s: float) -> list[bool]:
        return [change.firing for change in watch.look(facts, at_s)]

    assert look(old, 0) == look(old, 59) == []
    assert look(old, 60) == [True]
    assert look(old, 600) == []
    assert look(FINE, 615) == [False]
    assert look(FINE, 630) == []


def test_what_was_well_in_between_begins_anew():
    watch, old = Watch({}), totals(writes=False)
    for facts, at_s in ((old, 0), (FINE, 30), (old, 45)):
        assert watch.look(facts, at_s) == []
    assert watch.look(old, 104) == []
    assert len(watch.look(old, 105)) == 1


def test_what_can_t_be_had_changes_nothing():
    watch = Watch({})
    long(queue(IDLE, overdue={"transcode": 2}), watch)
    assert watch.look(replace(FINE, queue=None), 200_000) == []


def test_failures_since_a_start_resolve_nothing_before_half_an_hour_is_known():
    told = {"MediarayJobsFail/": {"alert": "MediarayJobsFail"}}
    watch = Watch(told)
    assert watch.look(replace(FINE, whole=False), 0) == []
    assert [change.firing for change in watch.look(FINE, 15)] == [False]


def test_an_alert_that_there_is_no_more_is_resolved():
    (change,) = Watch({"MediarayForgotten/": {"alert": "MediarayForgotten"}}).look(FINE, 0)
    assert (change.key, change.firing) == ("MediarayForgotten/", False)


def test_ends_are_those_of_the_last_half_hour():
    ends = Ends()

    def at(now_s: float, failed: int, succeeded: int) -> tuple[int, int, bool]:
        finished = {("failed", "a"): failed, ("succeeded", "b"): succeeded, ("cancelled", "a"): 99}
        return ends.of(replace(WELL, finished=finished), now_s)

    assert at(0, 10, 90) == (0, 0, False)
    assert at(900, 12, 98) == (2, 10, False)
    assert at(1800, 12, 98) == (2, 10, True)
    assert at(2700, 12, 99) == (0, 1, True)
    assert at(2800, 0, 0) == (0, 0, True)


def test_gauges_of_nodes_are_read():
    registry = CollectorRegistry()
    Gauge(f"{NODE}memory_bytes", "", ["node"], registry=registry).labels("n").set(7)
    Gauge(f"{NODE}disk_bytes", "", ["node", "disk"], registry=registry).labels("n", "home").set(8)
    Gauge("mediaray_children", "", registry=registry).set(1)
    assert by_node(list(registry.collect())) == {
        f"{NODE}memory_bytes": {"n": 7.0},
        f"{NODE}disk_bytes": {"n, home": 8.0},
    }


def test_limits_are_those_of_the_rules_for_prometheus():
    groups = yaml.safe_load((ROOT / "configs" / "prometheus" / "rules.yml").read_text())["groups"]
    shipped = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    for rule in RULES:
        like = shipped[rule.name]
        count, unit = re.fullmatch(r"(\d+)([smh])", like.get("for", "0s")).groups()
        numbers = [float(number) for number in re.findall(r"(?:[<>]=?) (\d+(?:\.\d+)?)", like["expr"])]
        assert (rule.name, rule.severity) == (rule.name, like["labels"]["severity"])
        assert (rule.name, rule.for_s) == (rule.name, int(count) * SECONDS[unit])
        if rule.limits:  # others look whether something is there at all
            assert (rule.name, [float(limit) for limit in rule.limits]) == (
                rule.name,
                [number for number in numbers if number or rule.limits == (0,)],
            )


def test_an_alert_is_owed_once_however_often_the_process_begins_anew(private_redis):
    facts = totals(writes=False)

    async def body() -> None:
        outbox = Outbox(wiped(private_redis), patience=2)

        async def life(facts: Facts) -> None:
            watch = Watch(await outbox.alerts())
            for at_s in (0.0, 60.0):
                for change in watch.look(facts, at_s):
                    await tell(outbox, change, {"ab12": ""}, EVENTS)

        for each in (facts, facts, FINE, FINE):
            await life(each)
        found, _ = await outbox.deliveries("pending", limit=10, cursor=None)
        assert [each.type for each in found] == ["alert.resolved", "alert.firing"]
        assert '"alert": "MediarayStoreCantWrite"' in found[0].data
        assert await outbox.alerts() == {}
        await outbox.close()

    asyncio.run(body())


def test_an_alert_that_two_processes_find_is_owed_once(private_redis):
    async def body() -> None:
        outbox = Outbox(wiped(private_redis), patience=2)
        (change,) = [each for at_s in (0.0, 60.0) for each in Watch({}).look(totals(quarantined=1), at_s)][:1]
        for _ in range(2):
            await tell(outbox, change, {"ab12": ""}, EVENTS)
        assert (await outbox.owed_count())["pending"] == 1
        await outbox.close()

    asyncio.run(body())


def test_of_an_alert_only_what_is_wanted_is_owed(private_redis):
    async def body() -> None:
        outbox, watch = Outbox(wiped(private_redis), patience=2), Watch({})
        for facts in (totals(quarantined=1), FINE):
            for change in watch.look(facts, 0.0):
                await tell(outbox, change, {"ab12": ""}, ("alert.resolved",))
        (found,), _ = await outbox.deliveries("pending", limit=10, cursor=None)
        assert found.type == "alert.resolved"
        await outbox.close()

    asyncio.run(body())
