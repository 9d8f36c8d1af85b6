"""The job store in a backup: every job and the event log as they were at one moment, while jobs run.

First all jobs are copied, page by page. Then those that the log tells of since, again and again, until there are so few
that one script reads them together: its moment is the backup's, since every change that counts is in the log. Left out
are units, manifests and leases: what was unfinished is planned anew where it is restored.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from cluster.backup_file import BackupWriter
from cluster.errors import StorageError
from pipelines.jobs.store import PREFIX, script
from pipelines.jobs.store_records import ARTIFACTS_WITH_JOB

JOBS, LATER, LOG = "jobs.jsonl", "jobs-later.jsonl", "log.jsonl"
COUNTERS = ("leader", "fence", "registry")
_PAGE, _LOG_PAGE = 100, 1000
_FEW = 200  # jobs that one script may read, at first
_TIMEOUT_S = 60.0
T = TypeVar("T")
Tell = Callable[[int, int], None]  # what is done, of how much


@dataclass(frozen=True)
class _Moment:
    log_end: str
    log_begin: str
    counts: Mapping[str, int]
    tallies: Mapping[str, int]
    lines: Sequence[Mapping[str, Any]]


def copy_state(url: str, writer: BackupWriter, tell: Tell) -> None:
    """Copy the store.

    Raises:
        StorageError: ``store_unavailable``; ``store_busy``: it changes faster than it can be copied.
    """
    with connected(url) as client:
        copying = _Copying(client)
        start = copying.look()
        with writer.lines(JOBS) as write:
            copying.all_jobs(write, start.counts["jobs"], tell)
        with writer.lines(LATER) as write:
            moment = copying.later_jobs(write, start.log_end)
        with writer.lines(LOG) as write:
            events = _copy_log(client, moment.log_end, write)
        writer.counts.update(jobs=moment.counts["jobs"] - len(copying.without_record), events=events)
        writer.counters.update({name: moment.counts[name] for name in COUNTERS})
        writer.tallies.update(moment.tallies)


class _Copying:
    """``without_record``: ids that are listed, and have no record."""

    def __init__(self, client: Any) -> None:
        self.without_record: set[str] = set()
        self._client = client
        self._script = client.register_script(script("copy"))

    def look(self, ids: Sequence[str | bytes] = (), *, since: str = "", most: int = 0) -> _Moment:
        """The store at one moment, with these jobs; and those that changed ``since``. Raises _TooManyError."""
        answer = self._script(keys=[PREFIX], args=[since, most, *ids])
        if answer is None:
            raise _TooManyError
        now_ms, (end, begin), counts, tallies, jobs = answer
        told = dict(zip(("jobs", *COUNTERS), map(int, counts), strict=True))
        tallied = {text(name): int(count) for name, count in zip(tallies[::2], tallies[1::2], strict=True)}
        lines = [_job_line(*job, now_ms=int(now_ms)) for job in jobs]
        return _Moment(text(end), text(begin), told, tallied, lines)

    def all_jobs(self, write: Callable[[Any], None], total: int, tell: Tell) -> None:
        """Those there are now: of what comes meanwhile the log tells."""
        newest = self._client.zrevrangebylex(f"{PREFIX}:jobs", "+", "-", start=0, num=1)
        after, done, last = b"-", 0, b"[" + newest[0] if newest else b"-"
        while ids := self._client.zrangebylex(f"{PREFIX}:jobs", after, last, start=0, num=_PAGE):
            lines = self.look(ids).lines
            self.without_record.update(line["id"] for line in lines if "gone" in line)
            for line in lines:
                self._write(line, write)
            after, done = b"(" + ids[-1], done + len(ids)
            tell(done, max(done, total))

    def later_jobs(self, write: Callable[[Any], None], cursor: str) -> _Moment:
        """Copy what changed since, until the copy is of one moment: that one."""
        most = _FEW
        while True:
            try:
                moment = self.look(since=cursor, most=most)
            except _TooManyError:
                cursor, ids = self._changed(cursor)
                for page in pages(ids, _PAGE):
                    self._write_all(self.look(page).lines, write)
                most *= 2
                continue
            if cursor != "0-0" and order(moment.log_begin) > order(cursor):
                told = "The job store changes faster than it can be copied. Try again when it is less busy."
                raise StorageError("store_busy", told)
            if self._write_all(moment.lines, write):
                return moment

    def _changed(self, cursor: str) -> tuple[str, list[str]]:
        entries = self._client.xrange(f"{PREFIX}:log", f"({cursor}", "+", count=_LOG_PAGE)
        ids = dict.fromkeys(text(fields[b"job"]) for _, fields in entries)
        return (text(entries[-1][0]) if entries else cursor), list(ids)

    def _write_all(self, lines: Sequence[Mapping[str, Any]], write: Callable[[Any], None]) -> bool:
        """False: one of these jobs was deleted just now, of which the log tells."""
        self.without_record.difference_update(line["id"] for line in lines)
        whole = True
        for line in lines:
            whole &= self._write(line, write)
        return whole

    def _write(self, line: Mapping[str, Any], write: Callable[[Any], None]) -> bool:
        write(line)
        count = _artifact_count(line)
        if count <= ARTIFACTS_WITH_JOB:
            return True
        key, cursor = f"{PREFIX}:artifacts:{line['id']}", 0
        while True:
            cursor, found = self._client.hscan(key, cursor, count=_LOG_PAGE)
            for names in pages(list(found), _LOG_PAGE):
                write({"id": line["id"], "artifacts": {text(name): text(found[name]) for name in names}})
            if cursor == 0:
                return bool(self._client.hlen(key) == count)


class _TooManyError(Exception):
    """More jobs changed than may be read at one moment."""


def _job_line(
    job_id: bytes,
    flat: Sequence[bytes],
    active: int,
    aside: bytes | None,
    kept: bytes | None,
    left_ms: int,
    *,
    now_ms: int,
) -> Mapping[str, Any]:
    fields = {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
    if not fields:
        return {"id": text(job_id), "gone": True}
    line: dict[str, Any] = {"id": text(job_id), "fields": fields, "active": bool(active)}
    if aside is not None:
        line["aside"] = text(aside)
    if kept is not None and left_ms > 0:
        line["key"], line["key_until_ms"] = text(kept), now_ms + left_ms
    return line


def _artifact_count(line: Mapping[str, Any]) -> int:
    with contextlib.suppress(KeyError, ValueError):
        return int(line["fields"]["artifact_count"])
    return 0


def _copy_log(client: Any, end: str, write: Callable[[Any], None]) -> int:
    begin, count = "-", 0
    while entries := client.xrange(f"{PREFIX}:log", begin, end, count=_LOG_PAGE):
        for entry_id, fields in entries:
            write({"id": text(entry_id), "fields": {text(name): text(value) for name, value in fields.items()}})
        begin, count = "(" + text(entries[-1][0]), count + len(entries)
    return count


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    """A client whose answers are bytes. Raises StorageError: ``store_unavailable``."""
    try:
        with redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=5) as client:
            yield client
    except redis.RedisError as error:
        told = f"The job store doesn't do what it is asked ({type(error).__name__}: {str(error)[:200]})."
        raise StorageError("store_unavailable", told) from error


def order(log_id: str) -> tuple[int, int]:
    """What ids of the log are sorted by."""
    milliseconds, _, number = log_id.partition("-")
    return int(milliseconds), int(number)


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, at most ``size`` at once."""
    rest = iter(items)
    while page := list(itertools.islice(rest, size)):
        yield page


def text(value: bytes) -> str:
    """As it stands in a backup, from which ``surrogateescape`` gives back bytes that are no UTF-8, too."""
    return value.decode(errors="surrogateescape")
