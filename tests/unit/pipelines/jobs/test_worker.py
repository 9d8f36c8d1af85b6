"""What a worker does with a unit: a real store, a pretend operation, a pretend child."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from object_server import BUCKET
from unit.pipelines.jobs import pieces
from unit.pipelines.jobs.makers import COPY, submission
from unit.pipelines.jobs.operating import place

from cluster.errors import ChildCrashedError, ChildFailedError, StorageError
from cluster.identity import identify
from cluster.object_paths import object_path
from cluster.roots import ObjectAccess, Roots
from pipelines.jobs import room, workbench
from pipelines.jobs.joining import check_names
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import Plan, State, Unit
from pipelines.jobs.orders import UnitOrder, UnitReport, WorkerConfig
from pipelines.jobs.scratch import clean_up, sweep_kept
from pipelines.jobs.states import state_for
from pipelines.jobs.unit_store import UnitStore
from pipelines.jobs.workbench import Workbench
from pipelines.jobs.worker import do_unit, plan_only


@dataclass
class PretendChild:
    """Does what the test says when it is called."""

    does: Callable[[], Any] = lambda: None
    calls: list[str] = field(default_factory=list)
    cpu_s: float = 0.0

    def call(self, function: str, _arguments: Any, result: type[Any], **_: Any) -> Any:
        self.calls.append(function)
        self.does()
        return result()

    def kill(self) -> None: ...


@dataclass
class Bench:
    """A job of ``pieces``, and the worker that does its units one by one."""

    config: WorkerConfig
    store: LeaderStore
    units: UnitStore
    run: Any
    epoch: int
    job_id: str
    source: str
    params: dict[str, Any]
    child: PretendChild = field(default_factory=PretendChild)

    def do(self, unit: Unit | str, *, through: bool = False, **shared: Any) -> UnitReport:
        unit = Unit(name=unit) if isinstance(unit, str) else unit
        fence = self.run(self.store.lease(self.epoch, self.job_id, unit.name, 60.0, state_for(unit.name)))
        order = UnitOrder(
            self.job_id,
            pieces.__name__,
            (self.source,),
            self.params,
            unit,
            fence,
            1,
            slots=2,
            shared=shared,
            through=through,
        )
        report = do_unit(self.config, order, lambda: contextlib.nullcontext(self.child))  # type: ignore[arg-type,return-value]
        if report.outcome != "done":
            self.run(self.store.release(self.epoch, self.job_id, unit.name, fence, report.outcome))
        return report

    def plan(self) -> Plan:
        return Plan.model_validate(self.manifests()["plan"])

    def do_all(self) -> None:
        """Plan, and do the plan's units."""
        assert self.do("plan").outcome == "done"
        for unit in self.plan().units:
            assert self.do(unit).outcome == "done"

    def manifests(self) -> dict[str, Any]:
        return self.units.manifests(self.job_id)


@pytest.fixture
def bench(run, store, units, redis_url, settings, films) -> Callable[..., Bench]:
    config = WorkerConfig(settings, redis_url, redis_url)
    epoch = run(store.lead())
    source = str(films / "film.mkv")

    def make(**params: Any) -> Bench:
        job_id, _ = run(store.submit(submission(operation="pieces", sources=(source,), params=params)))
        return Bench(config, store, units, run, epoch, job_id, source, params)

    return make


def test_a_unit_sees_what_its_plan_shares_and_the_slots_of_the_cluster(bench):
    job = bench()
    assert job.do("a", index="17").outcome == "done"
    assert job.manifests()["a"]["manifest"] == {"text": "a", "slots": 2, "shared": {"index": "17"}}


def test_how_long_a_unit_was_worked_on_is_told(bench):
    told = bench().do("a")
    assert told.took_s is not None
    assert told.took_s > 0


def test_a_plan_that_isn_t_submitted_is_made_for_the_cpus_there_are(bench):
    job = bench()
    config = WorkerConfig(job.config.settings.model_copy(update={"cpus": 7}), "", job.config.cache_url)
    seen: list[int] = []
    original = pieces.OPERATION.plan
    object.__setattr__(pieces.OPERATION, "plan", lambda bench: (seen.append(bench.slots), original(bench))[1])
    try:
        plan_only(config, pieces.__name__, (job.source,), {}, job.child)  # type: ignore[arg-type]
    finally:
        object.__setattr__(pieces.OPERATION, "plan", original)
    assert seen == [7]


# Kept work


def kept_under(job: Bench, key: str = pieces.KEY) -> bool:
    return (job.config.settings.home / "kept" / key[:2] / key).is_dir()


def test_another_job_takes_over_what_was_kept_and_does_the_rest(bench):
    bench().do_all()
    second = bench()
    second.do_all()
    manifests = second.manifests()
    assert (manifests["a"]["reused"], manifests["b"]["reused"]) == (True, False)
    assert second.do("join").outcome == "done"
    first_made, second_made = second.manifests()["join"]["result"]["text"].split(", ")
    assert first_made.startswith("a* made by a.")
    assert second_made.startswith("b made by b.")


def test_what_is_taken_over_isn_t_done(bench):
    bench().do_all()
    second = bench(calls="pipelines.media.x:y")
    second.do("plan")
    second.do(second.plan().units[0])
    assert second.child.calls == []


def test_a_fresh_job_takes_over_nothing_and_what_it_makes_takes_the_place_of_what_was_kept(bench):
    bench().do_all()
    fresh = bench(fresh=True)
    fresh.do_all()
    assert fresh.manifests()["a"]["reused"] is False
    later = bench()
    later.do_all()
    made = fresh.config.settings.home / "scratch"
    pieces_of = [next((made / job.job_id).glob("a.*/piece")).read_text() for job in (fresh, later)]
    assert pieces_of[0] == pieces_of[1]


def test_what_was_made_of_another_content_isn_t_taken_over(bench):
    """As where a file system draws other inode numbers when it is mounted: its key, by the stamp, may be the same."""
    calls = {"calls": "pipelines.media.x:y"}
    assert bench(**calls).do(Unit(name="a", key=pieces.KEY)).outcome == "done"
    again = bench(**calls)
    assert again.do(Unit(name="a", key=pieces.KEY)).outcome == "done"
    assert again.manifests()["a"]["reused"] is True
    before = Path(again.source).stat()
    Path(again.source).write_bytes(b"too empty")
    os.utime(again.source, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = bench(**calls)
    assert other.do(Unit(name="a", key=pieces.KEY)).outcome == "done"
    assert (other.manifests()["a"]["reused"], len(other.child.calls)) == (False, 1)
    last = bench(**calls)
    assert last.do(Unit(name="a", key=pieces.KEY)).outcome == "done"
    assert last.manifests()["a"]["reused"] is True


def test_a_unit_without_a_key_isn_t_kept(bench):
    job = bench()
    job.do("plan")
    job.do(job.plan().units[1])
    assert not list((job.config.settings.home / "kept").iterdir())


def test_a_unit_that_can_t_be_kept_is_done_all_the_same(bench):
    job = bench()
    folder = job.config.settings.home / "kept"
    folder.rmdir()
    folder.write_text("in the way")
    job.do_all()
    assert job.manifests()["a"]["reused"] is False


def test_a_unit_that_was_taken_away_is_kept_for_who_does_it_next(bench):
    job = bench(calls="pipelines.media.x:y")
    job.do("plan")
    job.child.does = lambda: job.run(job.store.want(job.job_id, "cancel"))
    assert job.do(job.plan().units[0]).outcome == "dropped"
    assert kept_under(job)


def test_the_clean_up_of_a_job_discards_the_keys_it_is_given(bench):
    job = bench()
    job.do_all()
    clean_up(job.config.settings, job.job_id, [], [], artifacts=True)
    assert kept_under(job)
    clean_up(job.config.settings, job.job_id, [], [pieces.KEY], artifacts=False)
    assert not kept_under(job)


def test_what_couldn_t_be_joined_is_discarded(bench):
    job = bench(replans=1)
    job.do_all()
    job.do("join")
    assert not kept_under(job)


def test_kept_work_goes_by_age(bench):
    job = bench()
    job.do_all()
    sweep_kept(job.config.settings)
    assert kept_under(job)
    job.config = WorkerConfig(job.config.settings.model_copy(update={"kept_days": 1e-12}), "", "")
    sweep_kept(job.config.settings)
    assert not kept_under(job)


# Sources that change


def changed(job: Bench) -> None:
    with Path(job.source).open("ab") as source:
        source.write(b"more")


def test_a_source_that_changes_while_it_is_read_fails_the_unit(bench):
    job = bench(calls="pipelines.media.x:y")
    job.child.does = lambda: changed(job)
    report = job.do(Unit(name="a", key=pieces.KEY))
    assert report.error is not None
    assert (report.outcome, report.error.code, report.error.retryable) == ("failed", "source_changed", False)
    assert "submit again" in report.error.message
    assert not kept_under(job)


def test_a_source_that_is_renamed_while_it_is_read_is_the_same(bench):
    job = bench(calls="pipelines.media.x:y")
    with Path(job.source).open("rb") as source:
        planned = {job.source: identify(source.fileno()).digest}
    job.child.does = lambda: Path(job.source).rename(Path(job.source).with_name("other.mkv"))
    assert job.do("a", identities=planned).outcome == "done"


def test_a_source_that_changed_is_not_called_damaged(bench):
    def broken() -> None:
        changed(job)
        raise ChildFailedError("source_truncated", "It ends early.", {})

    job = bench(calls="pipelines.media.x:y")
    job.child.does = broken
    report = job.do("a")
    assert report.error is not None
    assert report.error.code == "source_changed"


def test_a_damaged_source_that_stays_as_it_is_is_called_so(bench):
    def broken() -> None:
        raise ChildFailedError("source_truncated", "It ends early.", {})

    job = bench(calls="pipelines.media.x:y")
    job.child.does = broken
    report = job.do("a")
    assert report.error is not None
    assert report.error.code == "source_truncated"


def test_a_source_that_isn_t_the_planned_one_any_more_is_not_read(bench):
    job = bench(calls="pipelines.media.x:y")
    with Path(job.source).open("rb") as source:
        planned = {job.source: identify(source.fileno()).digest}
    assert job.do("a", identities=planned).outcome == "done"
    changed(job)
    report = job.do("b", identities=planned)
    assert report.error is not None
    assert report.error.code == "source_changed"
    assert len(job.child.calls) == 1


def test_a_bench_tells_a_source_s_identity(bench, films, settings):
    roots = Roots((films,), ())
    made = place(films, roots, scratch=films)
    with (films / "film.mkv").open("rb") as source:
        assert made.identity(str(films / "film.mkv")).digest == identify(source.fileno()).digest
    with pytest.raises(StorageError) as refused:
        made.identity("/etc/passwd")
    assert refused.value.code == "source_outside_roots"
    with pytest.raises(StorageError) as refused:
        made.check_space(1 << 60)
    assert refused.value.code == "disk_full"
    made.check_space(1)
    made.params = SimpleNamespace(output=str(films / "new" / "out.mp4"))
    with pytest.raises(StorageError, match="films/new"):
        made.check_space(1, 1 << 60)


@pytest.fixture
def checked(monkeypatch, tmp_path, s3):
    """Whether a job on an object of 3 MB has room: 1 GiB is free, on one file system or on each of two."""

    def has_room(scratch_mib: int, *, fetched_mib: int = 1 << 10, output_mib: int = 0, apart: bool = False) -> bool:
        uri = s3.put("films/film.mkv", b"film" * 750_000)
        folder = object_path(f"s3://{BUCKET}/films/")
        access = ObjectAccess((folder,), (), s3.addresses, tmp_path / "fetched", fetched_mib << 20)
        params, roots = SimpleNamespace(output=str(tmp_path / "out.mp4")), Roots((tmp_path,), (tmp_path,), access)
        made = place(tmp_path, roots, params=params, sources=(uri,))
        monkeypatch.setattr(room, "free_space", lambda _: 1 << 30)
        for module in (room, workbench):
            monkeypatch.setattr(module, "file_system_of", lambda folder: apart and folder == access.fetched)
        try:
            made.check_space(scratch_mib << 20, output_mib << 20)
        except StorageError as error:
            return error.code != "disk_full"
        return True

    return has_room


def test_what_shares_a_file_system_has_room_together(checked):
    assert checked(700)
    assert not checked(800)  # 256 MiB of the disk are others'
    assert checked(800, apart=True)


def test_an_object_larger_than_what_is_kept_of_objects_needs_room_for_all_of_it(checked, monkeypatch):
    monkeypatch.setattr(Workbench, "size_bytes", lambda *_: 200 << 30)
    assert not checked(1, fetched_mib=50, apart=True)


def test_an_output_beside_the_scratch_is_a_link_to_what_lies_there(checked):
    assert checked(700, output_mib=700)
    assert not checked(1, output_mib=800)


# A join that needs another plan


def test_a_join_s_plan_takes_the_place_of_the_job_s(bench):
    job = bench(replans=1)
    job.do_all()
    assert job.do("join").outcome == "done"
    assert [unit.name for unit in job.plan().units] == ["whole"]
    assert job.plan().replanned


def test_a_join_sees_only_what_the_new_plan_s_units_made(bench):
    job = bench(replans=1)
    job.do_all()
    job.do("join")
    assert job.do("whole").outcome == "done"
    assert job.do("join").outcome == "done"
    told = job.manifests()["join"]["result"]["text"]
    assert told.startswith("whole made by whole.")
    assert "," not in told


def test_a_join_that_wants_a_third_plan_fails(bench):
    job = bench(replans=2)
    job.do_all()
    job.do("join")
    job.do("whole")
    report = job.do("join")
    assert report.error is not None
    assert (report.outcome, report.error.code) == ("failed", "internal")
    assert [unit.name for unit in job.plan().units] == ["whole"]


@pytest.mark.parametrize(("broken", "kept"), [("a", False), ("b", True)])
def test_a_piece_that_has_changed_is_made_again_and_the_others_stay(bench, broken, kept):
    job = bench(checks=True)
    job.do_all()
    scratch = job.config.settings.home / "scratch" / job.job_id
    piece = scratch / job.manifests()[broken]["folder"] / "piece"
    piece.write_text("rotten")
    report = job.do("join")
    assert report.error is not None
    assert (report.outcome, report.error.code, report.error.retryable) == ("failed", "piece_invalid", True)
    assert set(job.manifests()) == {"plan", "a", "b"} - {broken}
    assert kept_under(job) == kept
    unit = next(unit for unit in job.plan().units if unit.name == broken)
    assert job.do(unit).outcome == "done"
    assert not job.manifests()[broken]["reused"]
    assert job.do("join").outcome == "done"


def test_a_join_that_was_taken_away_has_nothing_done_again(bench):
    job = bench(checks=True)
    job.do_all()
    fence = job.run(job.store.lease(job.epoch, job.job_id, "join", 60.0, State.VERIFYING))
    job.run(job.store.release(job.epoch, job.job_id, "join", fence, "dropped"))
    assert not job.units.redo(job.job_id, "join", fence, ["a"])
    assert set(job.manifests()) == {"plan", "a", "b"}


def test_a_join_s_plan_comes_too_late_for_a_cancelled_job(bench):
    job = bench(replans=1)
    job.do_all()
    fence = job.run(job.store.lease(job.epoch, job.job_id, "join", 60.0, State.VERIFYING))
    order = UnitOrder(job.job_id, pieces.__name__, (job.source,), job.params, Unit(name="join"), fence, 1, slots=2)
    job.run(job.store.want(job.job_id, "cancel"))
    assert do_unit(job.config, order, lambda: contextlib.nullcontext(job.child)).outcome == "dropped"
    assert [unit.name for unit in job.plan().units] == ["a", "b"]


# Going through


def test_a_join_says_what_is_staged_when_it_lies_on_the_disk_with_its_name(bench, monkeypatch):
    flushed: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    job = bench(makes_files=True)
    job.do_all()
    monkeypatch.setattr(os, "fsync", noted)
    assert job.do("join").outcome == "done"
    joined = job.manifests()["join"]
    own, folder = (path.name for path in flushed[:2]), Path(joined["artifacts"][0]["path"]).parent
    assert "joined" in own
    assert flushed[-1] == folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(each).name for each in joined["staged"])


def states(job: Bench) -> dict[str, str]:
    loaded = job.run(job.store.load(job.job_id))
    return {name: status.state for name, status in loaded.units.items()}


def test_a_worker_goes_on_with_what_follows_a_plan_of_one_short_unit(bench):
    job = bench(short=True)
    assert job.do("plan", through=True) == UnitReport("done", cleaned_up=True)
    assert states(job) == {"plan": "done", "a": "done", "join": "done"}
    assert list((job.config.settings.home / "scratch").iterdir()) == []
    assert job.manifests()["a"]["manifest"]["shared"] == {"from": "plan"}
    assert job.manifests()["join"]["result"]["text"].startswith("a made by a.")
    assert job.run(job.store.get(job.job_id)).state == State.VERIFYING


def test_a_plan_of_several_units_is_given_away_in_turns(bench):
    job = bench()
    job.do("plan", through=True)
    assert states(job) == {"plan": "done"}


def test_a_worker_that_isn_t_told_to_stops_after_its_unit(bench):
    job = bench(short=True)
    job.do("plan")
    assert states(job) == {"plan": "done"}


def test_a_worker_does_not_go_on_with_a_paused_job(bench):
    job = bench(short=True, calls="pipelines.media.x:y")
    job.child.does = lambda: job.run(job.store.want(job.job_id, "pause"))
    assert job.do("plan", through=True) == UnitReport("done")
    assert states(job) == {"plan": "done", "a": "done"}


def test_what_fails_on_the_way_is_told_with_its_unit(bench):
    job = bench(short=True, calls="pipelines.media.x:y")

    def fail() -> None:
        raise ChildFailedError("encode_failed", "No.", {})

    job.child.does = fail
    report = job.do("plan", through=True)
    assert (report.outcome, report.error and report.error.unit) == ("failed", "a")
    assert states(job) == {"plan": "done", "a": "running"}


def test_a_commit_that_comes_again_takes_nothing(bench):
    job = bench(short=True)
    fence = job.run(job.store.lease(job.epoch, job.job_id, "plan", 60.0, State.PLANNING))
    done, taken = job.units.commit_and_take(job.job_id, "plan", fence, "{}", "a", 60.0)
    assert done
    assert taken
    assert job.units.commit_and_take(job.job_id, "plan", fence, "{}", "a", 60.0) == (True, None)


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["a", "a"], ValueError),
        (["a", "join"], ValueError),
        ([f"chunk-{number}" for number in range(100_001)], ChildCrashedError),
    ],
    ids=["twice", "a stage's", "too many"],
)
def test_units_that_can_t_be_told_apart_or_held_are_refused(names, error):
    unit = Unit(name="a")
    plan = Plan(units=tuple(unit.model_copy(update={"name": name}) for name in names))
    with pytest.raises(error):
        check_names(COPY, plan)


@pytest.mark.parametrize(("estimate_s", "limit_s"), [(1.0, 600.0), (100.0, 3000.0), (1e30, 14 * 86_400.0)])
def test_a_call_may_take_as_long_as_was_estimated_many_times_over_within_bounds(tmp_path, estimate_s, limit_s):
    limits: list[float] = []
    child = SimpleNamespace(call=lambda *_, limit_s, **__: limits.append(limit_s))
    at = place(tmp_path, Roots((), (), None), child=child)
    at.of(None, (), tmp_path, {}, estimate_s).call_with("any", Plan, {})
    assert limits == [limit_s]
