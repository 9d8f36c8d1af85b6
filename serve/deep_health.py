"""How all is that the server depends on, looked at now, and what to do where something isn't well."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from cluster.checks import Check, Status, worst
from cluster.node_facts import DiskFacts
from cluster.object_checks import granted_objects_check
from cluster.redis_checks import cache_check, store_check, tables_check
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from cluster.unknown_settings import unknown_settings
from serve.looks import Looks
from serve.nodes import NodeAnswer
from serve.scheduled_backups import backup_health
from serve.views import BackupHealth

_LIMIT_S = 10.0
_CLOCKS_S = 1.0  # how much clocks of nodes may differ
_LITTLE, _FULL = 0.1, 0.02  # of a disk, free: as the alerts have it
_DAY_S = 86_400.0
AskNodes = Callable[[Looks], Awaitable[tuple[list[NodeAnswer], int]]]


class DeepHealth:
    """``ask_nodes`` tells how each node that is alive is, and how many are gone."""

    def __init__(self, settings: Settings, urls: RedisUrls, ask_nodes: AskNodes) -> None:
        self._settings, self._urls, self._ask_nodes = settings, urls, ask_nodes
        self._looks = Looks()

    async def checks(self) -> list[Check]:
        """All of them, side by side; what doesn't answer in 10 s is told as such."""
        settings = self._settings
        # A private store flushes as it was asked to.
        private = settings.redis_url is None
        fsync = settings.redis_fsync if private else "always"
        store, cache, tables, nodes, objects = await asyncio.gather(
            self._looked("store", partial(store_check, self._urls.jobs, fsync, private=private)),
            self._looked("cache", cache_check, self._urls.cache),
            self._looked("ray tables", tables_check, os.environ),
            self._nodes(),
            self._looked("object storage", granted_objects_check, settings),
        )
        now = datetime.now(UTC)
        backup = backup_check(backup_health(settings, now), now)
        return [store, cache, tables, *nodes, objects, backup, settings_check(unknown_settings(os.environ))]

    async def _nodes(self) -> list[Check]:
        try:
            answers, gone = await asyncio.wait_for(self._ask_nodes(self._looks), _LIMIT_S)
        except TimeoutError:
            return [
                Check("nodes", "fail", f"Ray tells of none in {_LIMIT_S:.0f} s", "Is its head up, and not too busy?")
            ]
        look = (versions_check, clocks_check, disks_check, sandbox_check)
        return [nodes_check(answers, gone), *(check(answers) for check in look)]

    async def _looked(self, name: str, look: Callable[..., Check], *arguments: object) -> Check:
        """What a look finds that may block; its thread is left alone where it takes too long."""
        try:
            return await self._looks.look(name, _LIMIT_S, partial(look, *arguments))
        except TimeoutError:
            return Check(name, "fail", f"no answer in {_LIMIT_S:.0f} s", "Is it up, and reached from here?")


def nodes_check(answers: Sequence[NodeAnswer], gone: int) -> Check:
    """Which nodes there are, and whether each can be asked."""
    silent = [f"{each.name}: {each.silent}" for each in answers if each.facts is None and not each.resting]
    resting = sum(each.resting for each in answers)
    found = f"{len(answers)} alive, {resting} of them at rest, {gone} gone since Ray's start"
    if silent:
        advice = "Their units are done elsewhere once their leases run out. Look at the machine: memory, disk, network."
        return Check("nodes", "warn", f"{found}; {'; '.join(silent)}", advice)
    return Check("nodes", "ok", found)


def versions_check(answers: Sequence[NodeAnswer]) -> Check:
    """Whether all nodes have the same versions: units are sent by name."""
    by_version: dict[str, list[str]] = {}
    for each in answers:
        if each.facts:
            told = f"mediaray {each.facts.mediaray}, Ray {each.facts.ray}, Python {each.facts.python}"
            by_version.setdefault(told, []).append(each.name)
    found = "; ".join(f"{version} on {_some(nodes)}" for version, nodes in sorted(by_version.items()))
    if len(by_version) > 1:
        advice = "Install the same versions on each node: stop the server, upgrade all of them, start it again."
        return Check("versions", "fail", found, advice)
    return Check("versions", "ok", found or "no node told its own")


def clocks_check(answers: Sequence[NodeAnswer]) -> Check:
    """Whether clocks differ for sure by more than a second."""
    told = [each for each in answers if each.facts]
    if not told:
        return Check("clocks", "ok", "no node told its own")
    first, last = min(told, key=lambda each: each.ahead_s), max(told, key=lambda each: each.ahead_s)
    apart_s = last.ahead_s - first.ahead_s
    found = f"{apart_s:.2f} s apart" if len(told) > 1 else "one node"
    if apart_s - first.unsure_s - last.unsure_s > _CLOCKS_S:
        advice = "Have each node keep time by NTP (timedatectl set-ntp true). Times of jobs and of metrics are wrong."
        return Check("clocks", "warn", f"{last.name} is {apart_s:.1f} s ahead of {first.name}", advice)
    return Check("clocks", "ok", found)


def disks_check(answers: Sequence[NodeAnswer]) -> Check:
    """Whether each node has room: for the home, for scratch, for Ray's own files."""
    disks = [(each.name, disk) for each in answers if each.facts for disk in each.facts.disks]
    if not disks:
        return Check("disks", "ok", "no node told its own")
    told: list[tuple[Status, str, DiskFacts]] = [(_room(disk), node, disk) for node, disk in disks]
    short = [each for each in told if each[0] != "ok"]
    if short:
        advice = "Make room there: see MediarayDiskFull in the runbooks. Scratch may be on a disk of its own."
        return Check("disks", worst([each[0] for each in short]), "; ".join(_disk(*each[1:]) for each in short), advice)
    fullest = min(told, key=lambda each: each[2].free_bytes / each[2].total_bytes)
    return Check("disks", "ok", f"least free: {_disk(*fullest[1:])}")


def sandbox_check(answers: Sequence[NodeAnswer]) -> Check:
    """Whether media is decoded in a whole sandbox on each node."""
    lacking = [
        f"{each.name} lacks {', '.join(each.facts.lacks)}" for each in answers if each.facts and each.facts.lacks
    ]
    if lacking:
        advice = "Be careful with media of strangers there: docs/security.md tells what each part keeps out."
        return Check("sandbox", "warn", "; ".join(lacking), advice)
    return Check("sandbox", "ok", "nothing is missing, as far as nodes tell")


def backup_check(backup: BackupHealth | None, now: datetime) -> Check:
    """How old the last backup is that the clock made."""
    if backup is None:
        advice = "MEDIARAY_BACKUP_EVERY_H=24 makes one a day. Without any, a lost disk is the loss of all jobs."
        return Check("backup", "warn", "none are made by the clock", advice)
    age = "none yet"
    if backup.last_at is not None:
        age_s = (now - datetime.fromisoformat(backup.last_at)).total_seconds()
        age = f"the last is {_age(age_s)} old, in {backup.folder}"
    advice = "See MediarayBackupOld in the runbooks."
    if backup.state == "failed":
        return Check("backup", "fail", f"{age}; the next failed: {backup.error}", advice)
    if backup.state == "overdue":
        return Check("backup", "fail", f"{age}, and one was wanted every {backup.every_h:g} h", advice)
    return Check("backup", "ok", age)


def settings_check(unknown: Sequence[str]) -> Check:
    """Whether the server's environment has variables that were to be settings."""
    if unknown:
        return Check("settings", "warn", " ".join(unknown), "Correct or remove them, and start the server again.")
    return Check("settings", "ok", "all are known")


def _room(disk: DiskFacts) -> Status:
    if not disk.total_bytes:
        return "fail"
    free = disk.free_bytes / disk.total_bytes
    return "fail" if free < _FULL else "warn" if free < _LITTLE else "ok"


def _disk(node: str, disk: DiskFacts) -> str:
    if not disk.total_bytes:
        return f"{node}: {disk.path} ({disk.of}) can't be reached"
    free_gb, total_gb = disk.free_bytes / 1e9, disk.total_bytes / 1e9
    share = disk.free_bytes / disk.total_bytes
    return f"{node}: {free_gb:.1f} of {total_gb:.1f} GB ({share:.0%}) free at {disk.path} ({disk.of})"


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.1f} days"


def _some(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return ", ".join(nodes[:3]) + more
