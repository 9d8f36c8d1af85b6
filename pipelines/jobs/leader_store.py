"""What only the leading dispatcher does with the store: move jobs, give units away and take them back."""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.jobs.errors import StaleLeaderError
from pipelines.jobs.models import Artifact, State, UnitStatus
from pipelines.jobs.owed import Owed
from pipelines.jobs.states import MOVES
from pipelines.jobs.store import PREFIX, JobStore, owed_arguments
from pipelines.jobs.store_records import ARTIFACTS_WITH_JOB


class LeaderStore(JobStore):
    """The store with the leader's part: each change carries its epoch, and is refused when another leads."""

    async def finished_before(self, at_ms: int, *, keep: int, limit: int = 200) -> list[str]:
        """Finished jobs older than ``at_ms``, or beyond the newest ``keep``."""
        old = await self._redis.zrangebyscore(f"{PREFIX}:finished", "-inf", at_ms, start=0, num=limit)
        surplus = await self._redis.zcard(f"{PREFIX}:finished") - keep
        if surplus > len(old):
            old = await self._redis.zrange(f"{PREFIX}:finished", 0, min(surplus, limit) - 1)
        return list(old)

    async def time_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def lead(self) -> int:
        """Become the leader: from now on every older epoch is refused."""
        return int(await self._redis.incr(f"{PREFIX}:leader"))

    async def move(
        self,
        epoch: int,
        job_id: str,
        to: State,
        *,
        artifacts: Sequence[Artifact] = (),
        owed: Owed | None = None,
        **fields: Any,
    ) -> bool:
        """Move a job; False where its state doesn't allow it.

        ``fields`` are stored with it as JSON: result, error, warnings. Of many ``artifacts`` the first are, too. With
        its end, what is ``owed`` to webhooks is, or neither.

        Raises:
            StaleLeaderError
        """
        allowed = " ".join(old for old, new in MOVES.items() if to in new)
        if artifacts:
            fields["artifacts"] = [artifact.model_dump() for artifact in artifacts[:ARTIFACTS_WITH_JOB]]
            fields["artifact_count"] = len(artifacts)
        many = artifacts if len(artifacts) > ARTIFACTS_WITH_JOB else ()
        by_name = {artifact.name: artifact.model_dump_json() for artifact in many}
        encoded = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        told = owed_arguments(owed) if owed else ()
        answer = await self._run("move", epoch, job_id, to, allowed, json.dumps(encoded), json.dumps(by_name), *told)
        _refuse_stale(answer)
        return bool(answer == "moved")

    async def lease(self, epoch: int, job_id: str, unit: str, lease_s: float, state: State) -> int | None:
        """Give a unit away and move its job to ``state``; its fence, or None where it can't be had now.

        Raises:
            StaleLeaderError
        """
        answer, *fence = await self._run("lease", epoch, job_id, unit, int(lease_s * 1000), state)
        _refuse_stale(answer)
        return int(fence[0]) if fence else None

    async def release(self, epoch: int, job_id: str, unit: str, fence: int, why: str) -> UnitStatus:
        """Take a unit back: ``failed``, ``lost`` or ``dropped``. Raises StaleLeaderError."""
        answer = await self._run("release", epoch, job_id, unit, fence, why)
        _refuse_stale("stale" if answer is None else "")
        return UnitStatus.model_validate_json(answer)

    async def forget_units(self, epoch: int, job_id: str, units: Sequence[str]) -> None:
        """Remove what is known of units that don't run. Raises StaleLeaderError."""
        _refuse_stale(await self._run("forget_units", epoch, job_id, json.dumps(list(units))))

    async def unit(self, job_id: str, unit: str) -> UnitStatus:
        """Where a unit stands."""
        text = await self._redis.hget(f"{PREFIX}:units:{job_id}", unit)
        return UnitStatus.model_validate_json(text) if text else UnitStatus()

    async def expired_leases(self) -> list[tuple[str, str]]:
        """``(job, unit)`` of the leases that have run out."""
        names = await self._redis.zrangebyscore(f"{PREFIX}:leases", "-inf", await self.time_ms())
        return [(job_id, unit) for job_id, _, unit in (name.partition("/") for name in names)]

    async def quarantine(self, epoch: int, job_id: str, reason: str) -> None:
        """Set an unreadable record aside. Raises StaleLeaderError."""
        _refuse_stale(await self._run("quarantine", epoch, job_id, reason))


def _refuse_stale(answer: Any) -> None:
    if answer == "stale":
        raise StaleLeaderError
