"""What the edge asks for: submit, look, steer, fetch. Knows no HTTP."""

import asyncio
import contextlib
import difflib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from cluster.errors import StorageError
from cluster.files import check_folder, open_file
from cluster.grants import current_roots
from cluster.locations import Location, location_of
from cluster.object_paths import ObjectPath, is_object_uri
from cluster.roots import Roots
from cluster.settings import Settings
from cluster.sources import check_object_folder, open_source
from cluster.tracing import span, traceparent
from cluster.webhook_urls import webhook_url
from pipelines.jobs.asking import Asking
from pipelines.jobs.catalogue import COLLECTION, Catalogue, Operation
from pipelines.jobs.errors import ConflictError, InvalidError, UnknownError, wording
from pipelines.jobs.models import Artifact, Job, JobError, Plan, Priority, State, Want
from pipelines.jobs.profiles import all_profiles
from pipelines.jobs.publishing import check_output
from pipelines.jobs.states import TERMINAL
from pipelines.jobs.store import JobStore
from pipelines.jobs.store_records import Submission, UnreadableRecordError
from pipelines.jobs.targets import check_extension, resolved_output
from pipelines.media.profiles import Profile

MAX_SOURCES = 1000
_CHECKED_AT_ONCE = 10  # sources, while other requests wait
_STORE_LIMIT_S, _STORE_LIMIT_EACH_S = 10.0, 0.2  # for all sources, and for each more
_TOLD_IN_PLACE = frozenset({"source_not_found", "source_empty"})


class InteractiveLane(Protocol):
    """Work that is done while the caller waits."""

    async def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError: ...
    async def clean_up(self, job_id: str) -> None: ...


class RefusedError(Exception):
    """The lane answered with an error: what is wrong with the input."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Request:
    """What a client wants done."""

    operation: str
    sources: tuple[str, ...]
    params: Mapping[str, Any]
    priority: Priority = Priority.NORMAL
    webhook: str | None = None


class JobService:
    """The jobs of one server, for any number of replicas."""

    def __init__(self, settings: Settings, store: JobStore, catalogue: Catalogue, lane: InteractiveLane) -> None:
        self._settings = settings
        self._store = store
        self._catalogue = catalogue
        self._lane = lane
        self._stores = Asking("stores")

    async def submit(
        self, request: Request, *, owner: str, idempotency_key: str | None, retry_of: Job | None = None
    ) -> Job:
        """Accept a job. When this returns, the job is on disk.

        Raises:
            UnknownError, InvalidError, ConflictError, StorageError: what is wrong with the request.
        """
        operation, params, output = self._checked(request)
        _check_webhook(request.webhook, self._settings)
        job_id = str(uuid7())
        with span(f"submit {operation.name}", {"operation": operation.name}):
            wanted = Submission(
                id=job_id,
                operation=operation.name,
                sources=request.sources,
                params=params,
                priority=request.priority,
                owner=owner,
                created_at=int(time.time() * 1000),
                targets=(str(output),) if output else (),
                attempt=retry_of.attempt + 1 if retry_of else 1,
                retry_of=retry_of.id if retry_of else None,
                idempotency_key=idempotency_key,
                fingerprint=_fingerprint(request),
                webhook=request.webhook,
                trace=traceparent(),
            )
            known = await self._store.known(owner, idempotency_key, wanted.fingerprint) if idempotency_key else None
            if known is None:
                await self._check_files(request, operation, output, overwrite=bool(params.get("overwrite")))
                if output and not retry_of:  # a retry's was accepted before
                    check_extension(operation, operation.params.model_validate(params), output, self.profiles())
                known, _ = await self._store.submit(wanted)
            return await self._store.get(known)

    async def plan(self, request: Request) -> Plan:
        """What would be done; a warning tells where ``submit`` would refuse its files.

        Raises:
            UnknownError, InvalidError, StorageError: as ``submit`` does.
            RefusedError: the source can't be planned for.
        """
        operation, params, output = self._checked(request)
        if output:
            check_extension(operation, operation.params.model_validate(params), output, self.profiles())
        answer = await self._lane.plan(self._catalogue.module_of(operation.name), request.sources, params)
        if isinstance(answer, JobError):
            raise RefusedError(answer)
        try:
            await self._check_files(request, operation, output, overwrite=bool(params.get("overwrite")))
        except StorageError as error:
            refused = f"It would be refused: {error.message}"
            return answer.model_copy(update={"warnings": (refused, *answer.warnings)})
        return answer

    async def get(self, job_id: str) -> Job:
        return await self._store.get(job_id)

    async def page(
        self, *, state: State | None, operation: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Job], str | None]:
        return await self._store.page(state=state, operation=operation, limit=limit, cursor=cursor)

    async def want(self, job_id: str, want: Want) -> Job:
        await self._store.want(job_id, want)
        return await self._store.get(job_id)

    async def set_priority(self, job_id: str, priority: Priority) -> Job:
        await self._store.set_priority(job_id, priority)
        return await self._store.get(job_id)

    async def retry(self, job_id: str, *, owner: str, idempotency_key: str | None) -> Job:
        """A new job that does a failed or cancelled one again."""
        job = await self._store.get(job_id)
        if job.state not in (State.FAILED, State.CANCELLED):
            raise ConflictError(
                f"Job {job_id} is {job.state}; only failed and cancelled jobs are retried.", "job_active"
            )
        # What was to be done anew has been: a retry takes over what that finished.
        params = {**job.params, "fresh": False} if job.params.get("fresh") else job.params
        request = Request(job.operation, job.sources, params, job.priority, job.webhook)
        return await self.submit(request, owner=owner, idempotency_key=idempotency_key, retry_of=job)

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and its artifacts; what it wrote to an output of its own stays."""
        with contextlib.suppress(UnreadableRecordError):  # set aside: nothing in it can be read, nor runs
            if (await self._store.get(job_id)).state not in TERMINAL:
                raise ConflictError(f"Job {job_id} has not finished. Cancel it first.", "job_active")
        await self._lane.clean_up(job_id)
        await self._store.delete(job_id)

    async def artifacts(self, job_id: str, *, limit: int, cursor: str) -> tuple[list[Artifact], str | None]:
        return await self._store.artifacts(job_id, limit=limit, cursor=cursor)

    async def artifact(self, job_id: str, name: str) -> tuple[Artifact, Path]:
        """A finished file, checked to lie where this server may read and write.

        Raises:
            UnknownError: no such job or artifact, or its file is gone.
            ConflictError: it is in object storage.
            StorageError: it lies where this server may not read, or a link there leads elsewhere.
        """
        artifact = await self._store.artifact(job_id, name)
        if artifact is None:
            raise UnknownError(f"Job {job_id} has no artifact {name}.", "artifact_not_found")
        if is_object_uri(artifact.path):
            raise ConflictError(f"Artifact {name} is at {artifact.path}. Fetch it from there.", "artifact_elsewhere")
        try:
            return artifact, await asyncio.to_thread(self._readable, artifact.path)
        except StorageError as error:
            if error.code == "source_outside_roots":
                raise
            raise UnknownError(f"The file of artifact {name} is gone: {error.message}", "artifact_gone") from error

    def _readable(self, path: str) -> Path:
        roots = current_roots(self._settings)
        with open_file(path, (*roots.write, *roots.read)) as opened:
            return opened.path

    async def count(self) -> dict[str, int]:
        return await self._store.count()

    def profiles(self) -> dict[str, Profile]:
        return all_profiles(self._settings.home / "profiles")

    def operations(self) -> Sequence[Operation]:
        return [self._catalogue[name] for name in self._catalogue.names()]

    def _checked(self, request: Request) -> tuple[Operation, dict[str, Any], Location | None]:
        if request.operation not in self._catalogue:
            raise UnknownError(
                f"There is no operation {request.operation!r}. There are: {', '.join(self._catalogue.names())}.",
                "operation_unknown",
            )
        operation = self._catalogue[request.operation]
        if operation.on_collection and not all(source.startswith(COLLECTION) for source in request.sources):
            raise InvalidError(f"{request.operation} takes {_how_many(operation)}.", "sources_invalid")
        fewest, most = (1, MAX_SOURCES) if operation.many else (len(operation.sources), len(operation.sources))
        if not fewest <= len(request.sources) <= most:
            raise InvalidError(f"{request.operation} takes {_how_many(operation)}.", "sources_invalid")
        try:
            params = operation.params.model_validate(dict(request.params))
        except ValidationError as error:
            raise _invalid(error, operation) from error
        if operation.suffix:
            operation.suffix(params, self.profiles())  # raises where the profile is unknown, or contradicts them
        output = resolved_output(operation, params, request.sources, self.profiles())
        values = params.model_dump(mode="json", exclude_unset=True)
        if output:
            values["output"] = str(output)
        return operation, values, output

    async def _check_files(
        self, request: Request, operation: Operation, output: Location | None, *, overwrite: bool
    ) -> None:
        """Raises StorageError where sources or output can't be used, or a store doesn't tell in time."""
        check = partial(self._check_files_now, request, operation, output, overwrite=overwrite)
        if any(map(is_object_uri, (*request.sources, str(output)))):
            limit_s = _STORE_LIMIT_S + _STORE_LIMIT_EACH_S * len(request.sources)
            await self._stores.ask(check, "The object storage", limit_s)
        elif len(request.sources) > _CHECKED_AT_ONCE:
            await asyncio.to_thread(check)
        else:  # the hop costs 1 ms, and 15 ms at p99 (docs/decisions/0013)
            check()

    def _check_files_now(
        self, request: Request, operation: Operation, output: Location | None, *, overwrite: bool
    ) -> None:
        roots = current_roots(self._settings)
        try:
            if not operation.on_collection:
                _check_sources(request.sources, roots, many=operation.many)
        except StorageError as error:
            if error.code != "source_not_a_file" or operation.many:
                raise
            others = ", ".join(name for name in self._catalogue.names() if self._catalogue[name].many)
            takes = f"{operation.name} takes files; folders are taken by: {others}."
            raise StorageError(error.code, f"{error.message} {takes}") from error
        for source in request.sources:
            if output and operation.output == "file" and _resolved(output) == _resolved(location_of(source)):
                raise StorageError("output_is_source", "The output is the source. Choose another name.")
        if output:
            check_output(output, roots, folder=operation.fills(output), overwrite=overwrite)


def _check_webhook(url: str | None, settings: Settings) -> None:
    """Raise InvalidError where a job may not name this URL."""
    if url is None:
        return
    try:
        place = webhook_url(url).place
    except ValueError as error:
        raise InvalidError(f"Wrong webhook: {error}.", "webhook_invalid") from error
    if place not in settings.webhook_hosts:
        told = f"Jobs may name no webhook on {place}. Add it to MEDIARAY_WEBHOOK_HOSTS, with its port if it names one."
        raise InvalidError(told, "webhook_refused")


def _resolved(location: Location) -> str:
    return str(location) if isinstance(location, ObjectPath) else os.path.realpath(location)


def _check_sources(sources: Sequence[str], roots: Roots, *, many: bool) -> None:
    """Raise where one can't be used. Of ``many``, one that is gone or empty is told in its place, unless all are."""
    refused: list[StorageError] = []
    for source in sources:
        try:
            at = location_of(source)
            if many and isinstance(at, ObjectPath) and source.endswith("/"):
                check_object_folder(at, roots)
            elif many and isinstance(at, Path) and at.is_dir():
                check_folder(source, roots.read)
            else:
                with open_source(source, roots):
                    pass
        except StorageError as error:
            if not many or error.code not in _TOLD_IN_PLACE:
                raise
            refused.append(error)
    if len(refused) == len(sources):
        raise refused[0]


_newest_id = 0


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random; ids sort by time.

    Those that this process makes in one millisecond sort as they were made (section 6.2, method 2).
    """
    global _newest_id
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    if value >> 80 == _newest_id >> 80:
        value = max(value, _newest_id + 1)
    _newest_id = value
    return uuid.UUID(int=value)


def _how_many(operation: Operation) -> str:
    if operation.many:
        return f"1 to {MAX_SOURCES} sources, or folders"
    if operation.on_collection:
        return "one collection, as collection:NAME"
    if len(operation.sources) == 1:
        return "one source; submit a job for each"
    return f"{len(operation.sources)} sources: {', then '.join(operation.sources)}"


def _fingerprint(request: Request) -> str:
    told = [request.operation, list(request.sources), dict(request.params), request.priority]
    body = json.dumps(told if request.webhook is None else [*told, request.webhook], sort_keys=True, default=str)
    return hashlib.sha256(body.encode()).hexdigest()


def _invalid(error: ValidationError, operation: Operation) -> InvalidError:
    problems = tuple(
        {
            "parameter": (name := ".".join(str(part) for part in each["loc"])),
            "message": _unknown(name, operation) if each["type"] == "extra_forbidden" else wording(each),
        }
        for each in error.errors()
    )
    listed = "; ".join(f"{each['parameter'] or 'params'}: {each['message']}" for each in problems)
    return InvalidError(f"Wrong parameters: {listed}.", problems=problems)


def _unknown(name: str, operation: Operation) -> str:
    near = difflib.get_close_matches(name, operation.params.model_fields, n=1)
    return f"{operation.name} has no such parameter{f' (do you mean {near[0]})' if near else ''}"
