"""What a worker does with the store: keep its unit, and commit it."""

import json
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from pipelines.jobs.models import UnitStatus
from pipelines.jobs.states import state_for
from pipelines.jobs.store import PREFIX, RETRYABLE, script


class UnitStore:
    """The synchronous part of a worker: keep a unit, commit it. Waits while Redis is away."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url,
            decode_responses=True,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.02), 300),
            retry_on_error=list(RETRYABLE),
            socket_connect_timeout=5,
        )
        self._renew = self._redis.register_script(script("renew"))
        self._commit = self._redis.register_script(script("commit"))
        self._replan = self._redis.register_script(script("replan"))
        self._redo = self._redis.register_script(script("redo"))

    def holds(self, job_id: str, unit: str, fence: int) -> bool:
        """Whether the fence is still the unit's newest. Reads only."""
        text = self._redis.hget(f"{PREFIX}:units:{job_id}", unit)
        if text is None:
            return False
        status = UnitStatus.model_validate_json(str(text))
        return status.fence == fence and status.state == "running"

    def renew(self, job_id: str, unit: str, fence: int, lease_s: float) -> bool:
        return bool(self._renew(keys=[PREFIX], args=[job_id, unit, fence, int(lease_s * 1000)]))

    def commit(self, job_id: str, unit: str, fence: int, manifest: str, *, cached: bool = False) -> bool:
        """Make the unit done for good; False where the fence has moved on. ``cached``: so is the job's result."""
        done, _ = self._commit(keys=[PREFIX], args=[job_id, unit, fence, manifest, int(cached)])
        return bool(done)

    def commit_and_take(
        self, job_id: str, unit: str, fence: int, manifest: str, following: str, lease_s: float
    ) -> tuple[bool, int | None]:
        """As ``commit``, and take the unit that follows: its fence, or None where it can't be had now."""
        lease_ms, state = int(lease_s * 1000), str(state_for(following))
        done, taken = self._commit(keys=[PREFIX], args=[job_id, unit, fence, manifest, 0, following, lease_ms, state])
        return bool(done), int(taken) or None

    def replan(self, job_id: str, unit: str, fence: int, plan: str) -> bool:
        """Give the job another plan, and let the unit wait anew; False where the fence has moved on."""
        return bool(self._replan(keys=[PREFIX], args=[job_id, unit, fence, plan]))

    def redo(self, job_id: str, unit: str, fence: int, names: Sequence[str]) -> bool:
        """Let finished units wait anew, while ``unit`` is held; False where its fence has moved on."""
        return bool(self._redo(keys=[PREFIX], args=[job_id, unit, fence, json.dumps(list(names))]))

    def manifests_of(self, job_id: str, names: Sequence[str]) -> dict[str, Any]:
        """Those of some units, without those that have none."""
        found = self._redis.hmget(f"{PREFIX}:manifests:{job_id}", list(names)) if names else []
        return {name: json.loads(text) for name, text in zip(names, found, strict=True) if text is not None}

    def manifests(self, job_id: str) -> dict[str, Any]:
        found = self._redis.hgetall(f"{PREFIX}:manifests:{job_id}")
        return {name: json.loads(text) for name, text in found.items()}
