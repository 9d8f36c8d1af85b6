"""Jobs in Redis: the truth. Every change of state is one script, atomic, and safe to send twice.

Keys, under the prefix ``{mediaray}``:

    :job:ID            hash: record (what was asked, immutable), state, want, priority, result, error, artifacts, …
    :artifacts:ID      hash: name → artifact, all of a job that has more than its own hash holds
    :artifact-names:ID zset: their names, in order
    :units:ID          hash: unit → {state, fence, attempts, lost}         :manifests:ID   hash: unit → manifest
    :active            set of jobs that aren't finished                    :leases         zset: ID/UNIT → expiry, ms
    :jobs, :jobs:state:S, :jobs:operation:O   zsets in order of id (UUIDv7: of time)
    :finished          zset: ID → finished at, ms                          :targets        hash: path → job writing it
    :idempotency:…     key → id and fingerprint                            :quarantine     hash: ID → reason
    :counts            hash: "submitted OPERATION", "succeeded OPERATION", … → how many ever, for metrics
    :log               stream: every transition                            :leader :fence :registry   counters
    :webhook:…         what is owed to webhooks: see ``pipelines.jobs.outbox``
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff

from pipelines.jobs.errors import ConflictError
from pipelines.jobs.models import SCHEMA_VERSION, Artifact, Job, Joined, Plan, Priority, State, UnitStatus, Want
from pipelines.jobs.owed import Owed
from pipelines.jobs.states import JOIN, PLAN, TERMINAL
from pipelines.jobs.store_records import (
    LoadedJob,
    LogEntry,
    Submission,
    Totals,
    UnreadableRecordError,
    job_of,
    log_entry,
    unknown,
)

PREFIX = "{mediaray}"
IDEMPOTENCY_TTL_MS = 24 * 3600 * 1000
_CONNECTIONS = 4096  # each client that watches all jobs holds one
_HANGING_S = 30.0
RETRYABLE = (redis.ConnectionError, redis.TimeoutError)


@cache
def script(name: str) -> str:
    """The text of a script, with what all share in front."""
    folder = files("pipelines.jobs").joinpath("scripts")
    return folder.joinpath("prelude.lua").read_text() + folder.joinpath(f"{name}.lua").read_text()


class JobStore:
    """The asynchronous store, for edge and registry. ``patience``: tries while Redis is away."""

    def __init__(self, url: str, *, patience: int, timeout_s: float | None = None) -> None:
        # With a time-out of its own a request fails fast on a server that hangs; without, it is asked again.
        lost = RETRYABLE if timeout_s is None else (redis.ConnectionError,)
        timeout_s = timeout_s or _HANGING_S
        self._redis: Any = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="backslashreplace",  # what is no UTF-8 is no JSON then, instead of an error of the client
            retry=AsyncRetry(ExponentialBackoff(cap=0.5, base=0.02), patience, lost),
            retry_on_error=list(lost),
            socket_timeout=timeout_s,
            socket_connect_timeout=min(5.0, timeout_s),
            max_connections=_CONNECTIONS,
        )
        self._scripts: dict[str, Any] = {}

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        await self._redis.ping()

    async def submit(self, wanted: Submission) -> tuple[str, bool]:
        """Accept a job; returns its id and whether it is new. When it returns, the job is on disk.

        Raises:
            ConflictError: the idempotency key came with another body, or another active job writes the same target.
        """
        record: dict[str, Any] = {
            "v": SCHEMA_VERSION,
            "id": wanted.id,
            "operation": wanted.operation,
            "sources": wanted.sources,
            "params": wanted.params,
            "owner": wanted.owner,
            "created_at": wanted.created_at,
            "attempt": wanted.attempt,
            "retry_of": wanted.retry_of,
            "targets": wanted.targets,
        }
        given = {"webhook": wanted.webhook, "trace": wanted.trace}
        record |= {name: value for name, value in given.items() if value is not None}
        key = f"{wanted.owner}:{wanted.idempotency_key}" if wanted.idempotency_key else ""
        answer, job_id, *rest = await self._run(
            "submit",
            wanted.id,
            json.dumps(record),
            wanted.operation,
            wanted.priority,
            key,
            wanted.fingerprint,
            IDEMPOTENCY_TTL_MS,
            json.dumps(wanted.targets),
        )
        if answer == "mismatch":
            raise _key_reused()
        if answer == "target_taken":
            raise ConflictError(f"Job {job_id} is already writing {rest[0]}.", "output_in_use")
        return job_id, answer == "accepted"

    async def known(self, owner: str, idempotency_key: str, fingerprint: str) -> str | None:
        """The job that an idempotency key stands for already.

        Raises:
            ConflictError: the key came with another body.
        """
        text = await self._redis.get(f"{PREFIX}:idempotency:{owner}:{idempotency_key}")
        if text is None:
            return None
        job_id, _, before = str(text).partition(" ")
        if not await self._redis.exists(f"{PREFIX}:job:{job_id}"):
            return None
        if before != fingerprint:
            raise _key_reused()
        return job_id

    async def want(self, job_id: str, want: Want) -> None:
        """Ask for run, pause or cancel.

        Raises:
            UnknownError, ConflictError: no such job; it has finished or is being cancelled.
        """
        await self._control(job_id, "want", want)

    async def set_priority(self, job_id: str, priority: Priority) -> None:
        await self._control(job_id, "priority", priority)

    async def _control(self, job_id: str, field: str, value: str) -> None:
        answer, *rest = await self._run("control", job_id, field, value)
        if answer == "missing":
            raise unknown(job_id)
        if answer == "terminal":
            raise ConflictError(f"Job {job_id} is {rest[0]} already.", "job_finished")

    async def get(self, job_id: str) -> Job:
        """Raises UnknownError, UnreadableRecordError."""
        return job_of(await self._redis.hgetall(f"{PREFIX}:job:{job_id}"), job_id)

    async def load(self, job_id: str) -> LoadedJob:
        """A job with its units, as the dispatcher needs it. Raises UnknownError, UnreadableRecordError."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"{PREFIX}:job:{job_id}")
            pipe.hgetall(f"{PREFIX}:units:{job_id}")
            pipe.hmget(f"{PREFIX}:manifests:{job_id}", PLAN, JOIN)
            fields, units, (plan, joined) = await pipe.execute()
        job = job_of(fields, job_id)
        try:
            return LoadedJob(
                job,
                {name: UnitStatus.model_validate_json(text) for name, text in units.items()},
                Plan.model_validate_json(plan) if plan else None,
                Joined.model_validate_json(joined) if joined else None,
            )
        except ValueError as error:
            raise UnreadableRecordError(job_id, error) from error

    async def artifacts(self, job_id: str, *, limit: int, cursor: str = "") -> tuple[list[Artifact], str | None]:
        """A job's artifacts in order of name, from behind ``cursor``; and the cursor of the next page.

        Raises UnknownError, UnreadableRecordError.
        """
        job = await self.get(job_id)
        if job.artifact_count <= len(job.artifacts):
            by_name = {artifact.name: artifact for artifact in job.artifacts}
            names = sorted(name for name in by_name if name > cursor)[: limit + 1]
            page = [by_name[name] for name in names[:limit]]
        else:
            key = f"{PREFIX}:artifact-names:{job_id}"
            names = await self._redis.zrangebylex(key, f"({cursor}" if cursor else "-", "+", start=0, num=limit + 1)
            page = await self._artifacts_named(job_id, names[:limit])
        return page, names[limit - 1] if len(names) > limit else None

    async def artifact(self, job_id: str, name: str) -> Artifact | None:
        """The artifact of this name. Raises UnknownError, UnreadableRecordError."""
        job = await self.get(job_id)
        if job.artifact_count > len(job.artifacts):
            return next(iter(await self._artifacts_named(job_id, [name])), None)
        return next((artifact for artifact in job.artifacts if artifact.name == name), None)

    async def _artifacts_named(self, job_id: str, names: Sequence[str]) -> list[Artifact]:
        texts = await self._redis.hmget(f"{PREFIX}:artifacts:{job_id}", names) if names else []
        try:
            return [Artifact.model_validate_json(text) for text in texts if text is not None]
        except ValueError as error:
            raise UnreadableRecordError(job_id, error) from error

    async def page(
        self, *, state: State | None, operation: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Job], str | None]:
        """Jobs, newest first, from below ``cursor``; and the cursor of the next page."""
        index = f"{PREFIX}:jobs"
        if state:
            index += f":state:{state}"
        elif operation:
            index += f":operation:{operation}"
        jobs: list[Job] = []
        below = f"({cursor}" if cursor else "+"
        while len(jobs) < limit:
            ids = await self._redis.zrevrangebylex(index, below, "-", start=0, num=limit)
            if not ids:
                return jobs, None
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hgetall(f"{PREFIX}:job:{job_id}")
                records = await pipe.execute()
            for job_id, fields in zip(ids, records, strict=True):
                below = f"({job_id}"
                if not fields:
                    continue
                try:
                    job = job_of(fields, job_id)
                except UnreadableRecordError:  # one damaged record must not hide the others
                    continue
                if operation is None or job.operation == operation:
                    jobs.append(job)
                    if len(jobs) == limit:
                        break
        return jobs, jobs[-1].id if jobs else None

    async def count(self) -> dict[str, int]:
        """Jobs by state."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for state in State:
                pipe.zcard(f"{PREFIX}:jobs:state:{state}")
            return dict(zip((str(state) for state in State), await pipe.execute(), strict=True))

    async def totals(self) -> Totals:
        """How many jobs there ever were, and how the store's Redis is."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(f"{PREFIX}:counts")
            pipe.hlen(f"{PREFIX}:quarantine")
            pipe.info()
            counts, quarantined, server = await pipe.execute()
        submitted: dict[str, int] = {}
        finished: dict[tuple[str, str], int] = {}
        for field, count in counts.items():
            what, _, operation = field.partition(" ")
            if what in TERMINAL:
                finished[what, operation] = int(count)
            else:
                submitted[operation] = int(count)
        return Totals(
            submitted=submitted,
            finished=finished,
            quarantined=quarantined,
            memory_bytes=server["used_memory"],
            memory_limit_bytes=server["maxmemory"],
            file_bytes=server.get("aof_current_size", 0),
            writes=server.get("aof_last_write_status", "ok") == "ok",
        )

    async def delete(self, job_id: str) -> None:
        """Forget a job that has finished or was set aside. Raises UnknownError, ConflictError."""
        answer = await self._run("delete", job_id)
        if answer == "missing":
            raise unknown(job_id)
        if answer == "active":
            raise ConflictError(f"Job {job_id} has not finished. Cancel it first.", "job_active")

    async def active(self) -> list[str]:
        return sorted(await self._redis.smembers(f"{PREFIX}:active"))

    async def new_registry_epoch(self) -> int:
        return int(await self._redis.incr(f"{PREFIX}:registry"))

    # The event log.

    async def log_end(self) -> str:
        """The id of the newest entry; reading after it gives what comes."""
        newest = await self._redis.xrevrange(f"{PREFIX}:log", count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def read_log(self, after: str, *, block_ms: int, count: int = 500) -> list[LogEntry]:
        """Entries after an id; waits up to ``block_ms`` for the first."""
        answer = await self._redis.xread({f"{PREFIX}:log": after}, count=count, block=block_ms)
        if not answer:
            return []
        streams = answer.values() if isinstance(answer, dict) else (entries for _, entries in answer)
        return [log_entry(entry_id, fields) for entries in streams for entry_id, fields in _flat(entries)]

    async def _run(self, name: str, *arguments: Any) -> Any:
        if name not in self._scripts:
            self._scripts[name] = self._redis.register_script(script(name))
        return await self._scripts[name](keys=[PREFIX], args=[str(argument) for argument in arguments])


def owed_arguments(owed: Owed) -> tuple[str, str, str, str]:
    """What scripts take of a message: its id, its type, its data, and its endpoints."""
    return owed.message, owed.type, json.dumps(owed.data), json.dumps(owed.endpoints)


def _flat(entries: Any) -> Sequence[tuple[str, dict[str, str]]]:
    # RESP3 nests each stream's entries once more than RESP2.
    if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], list | tuple):
        return [entry for group in entries for entry in group]
    return list(entries)


def _key_reused() -> ConflictError:
    return ConflictError("This Idempotency-Key was used for another request. Use a new key.", "idempotency_key_reused")
