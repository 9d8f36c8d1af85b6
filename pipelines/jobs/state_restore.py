"""The job store of a backup: read, checked, and brought back into a store without jobs."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster.backup_file import BackupReader
from cluster.errors import StorageError
from pipelines.jobs.models import State
from pipelines.jobs.state_backup import COUNTERS, JOBS, LATER, LOG, Tell, connected, order, pages
from pipelines.jobs.store import PREFIX

_AHEAD = 10**9  # counters go on so far beyond what was saved: no server has counted that far since
_AT_ONCE, _SCANNED = 200, 1000
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOG_ID = re.compile(r"\d{1,15}-\d{1,20}")
_AT_WORK = frozenset({State.PLANNING, State.RUNNING, State.VERIFYING})


@dataclass(frozen=True)
class SavedState:
    """What a backup holds of the store: jobs by state, those that aren't finished, and events."""

    jobs: Mapping[str, int]
    active: int
    events: int


def check_state(reader: BackupReader) -> SavedState:
    """Read all of it; what it holds. Raises StorageError: ``backup_damaged``."""
    states: Counter[str] = Counter()
    active = 0
    for line in _lines(reader):
        if "fields" in line:
            states[line["fields"].get("state", "")] += 1
            active += line["active"]
    events = sum(1 for _ in _log(reader))
    told = (reader.manifest.counts.get("jobs"), reader.manifest.counts.get("events"))
    if (states.total(), events) != told:
        raise _damaged(reader, f"it has {states.total()} jobs and {events} events, and should have {told}")
    return SavedState(dict(sorted(states.items())), active, events)


def holds_state(url: str) -> bool:
    """Whether there are jobs in the store, or events of some."""
    with connected(url) as client:
        return bool(client.exists(f"{PREFIX}:jobs", f"{PREFIX}:log", f"{PREFIX}:quarantine", f"{PREFIX}:active"))


def wipe_state(url: str) -> None:
    """Forget all of the store but its counters."""
    kept = {f"{PREFIX}:{name}".encode() for name in COUNTERS}
    with connected(url) as client:
        for page in pages(client.scan_iter(match=f"{PREFIX}:*", count=_SCANNED), _SCANNED):
            if found := [key for key in page if key not in kept]:
                client.unlink(*found)


def restore_state(url: str, reader: BackupReader, tell: Tell) -> None:
    """Fill a store without jobs. Those that were at work are queued; counters go on far beyond those of any server.

    Raises:
        StorageError: ``store_unavailable``, ``backup_damaged``.
    """
    with connected(url) as client:
        for name in COUNTERS:
            known = max(int(client.get(f"{PREFIX}:{name}") or 0), reader.manifest.counters.get(name, 0))
            client.set(f"{PREFIX}:{name}", known + _AHEAD)
        for name, count in reader.manifest.tallies.items():
            client.hset(f"{PREFIX}:counts", _bytes(name), count)
        total = reader.manifest.counts["jobs"] + reader.manifest.counts["events"]
        queued: list[str] = []
        now_ms, done = _time_ms(client), 0
        for put, lines in (
            (partial(_put_line, queued, now_ms), _lines(reader)),
            (_put_event, _log(reader)),
            (_put_event, _queued_events(queued, now_ms)),
        ):
            for page in pages(lines, _AT_ONCE):
                pipe = client.pipeline(transaction=False)
                for line in page:
                    put(pipe, line)
                pipe.execute()
                done += len(page)
                tell(min(done, total), total)


def _put_line(queued: list[str], now_ms: int, pipe: Any, line: dict[str, Any]) -> None:
    """A job, or more of its artifacts; one that was at work is added to ``queued``."""
    if "artifacts" in line:
        _put_artifacts(pipe, line)
        return
    if line["active"] and line["fields"].get("state") in _AT_WORK:
        line["fields"]["state"] = str(State.QUEUED)
        queued.append(line["id"])
    _put_job(pipe, line, now_ms)


def _put_job(pipe: Any, line: Mapping[str, Any], now_ms: int) -> None:
    job_id, fields, record = line["id"], line["fields"], _record(line)
    pipe.hset(f"{PREFIX}:job:{job_id}", mapping={_bytes(name): _bytes(value) for name, value in fields.items()})
    pipe.zadd(f"{PREFIX}:jobs", {job_id: 0})
    pipe.zadd(_bytes(f"{PREFIX}:jobs:state:{fields.get('state', '')}"), {job_id: 0})
    if isinstance(operation := record.get("operation"), str):
        pipe.zadd(_bytes(f"{PREFIX}:jobs:operation:{operation}"), {job_id: 0})
    if "aside" in line:
        pipe.hset(f"{PREFIX}:quarantine", job_id, _bytes(line["aside"]))
    if line["active"]:
        pipe.sadd(f"{PREFIX}:active", job_id)
        targets = record.get("targets")
        for target in targets if isinstance(targets, list) else ():
            pipe.hset(f"{PREFIX}:targets", _bytes(str(target)), job_id)
    elif fields.get("finished_at", "").isdecimal():
        pipe.zadd(f"{PREFIX}:finished", {job_id: int(fields["finished_at"])})
    if (left_ms := line.get("key_until_ms", 0) - now_ms) > 0 and "idempotency" in fields:
        pipe.set(_bytes(f"{PREFIX}:idempotency:{fields['idempotency']}"), _bytes(line["key"]), px=left_ms)


def _put_artifacts(pipe: Any, line: Mapping[str, Any]) -> None:
    by_name = {_bytes(name): _bytes(text) for name, text in line["artifacts"].items()}
    pipe.hset(f"{PREFIX}:artifacts:{line['id']}", mapping=by_name)
    pipe.zadd(f"{PREFIX}:artifact-names:{line['id']}", dict.fromkeys(by_name, 0))


def _put_event(pipe: Any, line: Mapping[str, Any]) -> None:
    fields = {_bytes(name): _bytes(value) for name, value in line["fields"].items()}
    pipe.xadd(f"{PREFIX}:log", fields, id=line["id"])


def _queued_events(queued: Sequence[str], now_ms: int) -> Iterator[dict[str, Any]]:
    """As the store's scripts tell of a job that is queued."""
    for job_id in queued:
        told = {"job": job_id, "type": "state", "state": str(State.QUEUED), "at": str(now_ms), "body": ""}
        yield {"id": "*", "fields": told}


def _record(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was asked; nothing where it can't be read, as of a job that was set aside."""
    try:
        told = json.loads(line["fields"].get("record", ""))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _lines(reader: BackupReader) -> Iterator[dict[str, Any]]:
    """The jobs as they were at the backup's moment, and their further artifacts after each, checked."""
    newest: dict[str, int] = {}
    for number, line in enumerate(_checked(reader, LATER)):
        if "artifacts" not in line:
            newest[line["id"]] = number
    yield from (line for line in _checked(reader, JOBS) if line["id"] not in newest and "gone" not in line)
    current = ""
    for number, line in enumerate(_checked(reader, LATER)):
        if "artifacts" not in line:
            current = line["id"] if newest[line["id"]] == number and "gone" not in line else ""
        if line["id"] == current:
            yield line


def _checked(reader: BackupReader, name: str) -> Iterator[dict[str, Any]]:
    for line in reader.lines(name):
        told = isinstance(line, dict) and isinstance(line.get("id"), str) and _JOB_ID.fullmatch(line["id"])
        if not told or not (
            line.get("gone") is True
            or _are_texts(line.get("artifacts"))
            or (_are_texts(line.get("fields")) and isinstance(line.get("active"), bool) and _has_own_id(line))
        ):
            raise _damaged(reader, f"{name} has a line of another form")
        yield line


def _has_own_id(line: Mapping[str, Any]) -> bool:
    # Folders are named by it: a record mustn't tell another one.
    texts = isinstance(line.get("aside", ""), str) and isinstance(line.get("key", ""), str)
    return texts and isinstance(line.get("key_until_ms", 0), int) and _record(line).get("id", line["id"]) == line["id"]


def _log(reader: BackupReader) -> Iterator[dict[str, Any]]:
    before = (0, 0)
    for line in reader.lines(LOG):
        told = isinstance(line, dict) and isinstance(line.get("id"), str) and _LOG_ID.fullmatch(line["id"])
        if not told or not _are_texts(line.get("fields")) or not line["fields"] or order(line["id"]) <= before:
            raise _damaged(reader, f"{LOG} has a line of another form")
        before = order(line["id"])
        yield line


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _damaged(reader: BackupReader, what: str) -> StorageError:
    return StorageError("backup_damaged", f"{reader.path} is damaged: {what}. Take another backup.")


def _time_ms(client: Any) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
