"""The same work asked for twice: a real worker, store and cache; a pretend operation."""

import contextlib
import os
from typing import Any

import pytest
from unit.edits import edit_unseen
from unit.pipelines.jobs import counted
from unit.pipelines.jobs.makers import submission

from cluster import identity
from cluster.cache import Cache, operation_tag
from pipelines.jobs.models import Job, Joined, State, Unit
from pipelines.jobs.orders import UnitOrder, WorkerConfig
from pipelines.jobs.worker import do_unit


class NoChild:
    cpu_s = 0.0

    def kill(self) -> None: ...


@pytest.fixture
def film(films, monkeypatch):
    """One that was written long ago."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    counted.done.clear()
    return films / "film.mkv"


@pytest.fixture
def do(run, store, settings, redis_url, film):
    """Do a job of ``counted`` to its join; the job, and what was joined."""
    config = WorkerConfig(settings, redis_url, redis_url)
    epoch = run(store.lead())

    def do(source: Any = film, **params: Any) -> tuple[Job, Joined]:
        wanted = submission(operation="counted", sources=(str(source),), params=params)
        job_id, _ = run(store.submit(wanted))
        fence = run(store.lease(epoch, job_id, "plan", 60.0, State.PLANNING))
        order = UnitOrder(
            job_id, counted.__name__, (str(source),), params, Unit(name="plan"), fence, cpus=0, slots=2, through=True
        )
        report = do_unit(config, order, lambda: contextlib.nullcontext(NoChild()))  # type: ignore[arg-type,return-value]
        assert report.outcome == "done", report.error
        joined = run(store.load(job_id)).joined
        assert joined is not None
        return run(store.get(job_id)), joined

    return do


def texts(*did: tuple[Job, Joined]) -> list[str]:
    return [joined.result["text"] for _, joined in did]


def test_the_same_work_is_told_again_and_not_done_again(do):
    first, second = do(), do()
    assert texts(first, second) == ["1", "1"]
    assert [job.cached for job, _ in (first, second)] == [False, True]
    assert second[1].warnings == ("planned", "joined")
    assert second[0].state == State.VERIFYING


def test_what_doesn_t_change_the_result_doesn_t_count(do):
    assert texts(do(), do(level=1), do(overwrite=True, fresh=False)) == ["1"] * 3


def test_other_parameters_or_another_content_are_other_work(do, film):
    assert texts(do(), do(level=2)) == ["1", "2"]
    film.write_bytes(b"another content")
    assert texts(do()) == ["3"]


def test_an_edit_that_hides_is_seen(do, film):
    film.write_bytes(bytes(2 << 20))
    do()
    edit_unseen(film)
    assert texts(do(), do()) == ["2", "2"]


def test_a_file_with_another_name_is_told_by_its_own(do, film):
    do()
    assert texts(do(film.rename(film.with_name("other.mkv")))) == ["2"]


def test_a_file_that_may_still_be_written_isn_t_trusted(do, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    assert texts(do(), do()) == ["1", "2"]


def test_fresh_work_is_done_and_replaces_what_was_kept(do):
    assert texts(do(), do(fresh=True), do()) == ["1", "2", "2"]


@pytest.mark.parametrize("params", [{"makes_a_file": True}, {"letters": 300_000}], ids=str)
def test_files_and_large_results_aren_t_kept(do, params):
    do(**params)
    do(**params)
    assert len(counted.done) == 2


def test_the_result_of_a_source_that_changed_meanwhile_isn_t_kept(do, film):
    before, content = film.stat(), film.read_bytes()
    for _ in range(2):
        do(touches=True)
        film.write_bytes(content)  # as it was when the job was planned
        os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(counted.done) == 2


def test_a_job_that_names_an_output_is_done(do, films):
    do()
    assert texts(do(output=str(films / "out.txt"))) == ["2"]


def test_what_was_purged_is_done_again(do, redis_url):
    do()
    Cache(redis_url).purge([operation_tag("counted")])
    assert texts(do(), do()) == ["2", "2"]


def test_what_another_build_found_is_done_again(do, monkeypatch):
    do()
    monkeypatch.setattr("pipelines.jobs.cached_results.build_id", lambda _: "another")
    assert texts(do()) == ["2"]


def test_without_the_cache_all_is_done(do, monkeypatch, tmp_path):
    from pipelines.jobs import joining, worker
    from pipelines.jobs.cached_results import CachedResults

    away = CachedResults(Cache(f"unix://{tmp_path}/none.sock"))
    for module in (worker, joining):
        monkeypatch.setattr(module, "results_of", lambda _: away)
    assert texts(do(), do()) == ["1", "2"]
