import os
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.jobs.makers import held, pretend_catalogue

from cluster.errors import StorageError
from pipelines.jobs import service as service_module
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.errors import ConflictError, InvalidError, UnknownError
from pipelines.jobs.models import Artifact, JobError, Plan, State
from pipelines.jobs.service import JobService, RefusedError, Request, uuid7
from pipelines.media.errors import ParamsError


class FakeLane:
    """Answers with ``answer``; remembers which jobs it cleaned up after."""

    def __init__(self) -> None:
        self.answer: Any = Plan(units=())
        self.cleaned: list[str] = []

    async def plan(self, module: str, sources: tuple[str, ...], params: dict[str, Any]) -> Plan | JobError:
        return self.answer

    async def clean_up(self, job_id: str) -> None:
        self.cleaned.append(job_id)


@pytest.fixture
def lane() -> FakeLane:
    return FakeLane()


@pytest.fixture
def service(settings, store, lane) -> JobService:
    return JobService(settings, store, pretend_catalogue(), lane)


@pytest.fixture
def submit(run, service, films):
    """Submit a job; by default a copy of film.mkv."""

    def submit(operation="copy", sources=None, key=None, owner="local", **params):
        asked = Request(operation, tuple(sources or [str(films / "film.mkv")]), params)
        return run(service.submit(asked, owner=owner, idempotency_key=key))

    return submit


@pytest.fixture
def ended(run, store):
    """Bring a job to an end."""

    def ended(job, state: State = State.FAILED, **fields):
        epoch = run(store.lead())
        if state == State.SUCCEEDED:
            run(store.move(epoch, job.id, State.VERIFYING))
        assert run(store.move(epoch, job.id, state, **fields))
        return run(store.get(job.id))

    return ended


# Accepting


def test_an_accepted_job_is_in_the_store(run, submit, store):
    job = submit(level=3)
    assert run(store.get(job.id)) == job
    assert (job.state, job.params) == (State.QUEUED, {"level": 3})


def test_the_same_key_and_body_is_the_same_job(submit):
    assert submit(key="k").id == submit(key="k").id


def test_without_a_key_every_submission_is_a_job(submit):
    assert submit().id != submit().id


def test_the_same_key_with_another_body_is_a_conflict(submit):
    submit(key="k", level=1)
    with pytest.raises(ConflictError) as refused:
        submit(key="k", level=2)
    assert refused.value.code == "idempotency_key_reused"


def test_the_same_key_answers_though_the_source_is_gone_by_now(submit, films):
    job = submit(key="k")
    (films / "film.mkv").unlink()
    assert submit(key="k").id == job.id


def test_a_key_belongs_to_its_owner(submit):
    assert submit(key="k", owner="anna").id != submit(key="k", owner="ben").id


def test_an_unknown_operation_is_told_with_those_there_are(submit):
    with pytest.raises(UnknownError, match="copy, look, pair, split") as refused:
        submit("melt")
    assert refused.value.code == "operation_unknown"


@pytest.mark.parametrize(
    ("params", "field"), [({"level": 10}, "level"), ({"level": "many"}, "level"), ({"colour": "red"}, "colour")]
)
def test_a_wrong_parameter_is_named(submit, params, field):
    with pytest.raises(InvalidError, match=field) as refused:
        submit(**params)
    assert refused.value.code == "parameter_invalid"
    assert [problem["parameter"] for problem in refused.value.problems] == [field]


def test_a_parameter_that_does_not_exist_is_told_with_the_nearest_that_does(submit):
    with pytest.raises(InvalidError, match=r"levle: copy has no such parameter \(do you mean level\)\."):
        submit(levle=3)


def test_every_wrong_parameter_is_told_at_once(submit):
    with pytest.raises(InvalidError) as refused:
        submit(level=10, colour="red")
    assert {problem["parameter"] for problem in refused.value.problems} == {"level", "colour"}


def test_an_unknown_profile_is_told_before_the_job_is_accepted(run, settings, store, lane, films):
    from pipelines.jobs.catalogue import Catalogue

    real = JobService(settings, store, Catalogue.load(["pipelines.jobs.operations.transcode"]), lane)
    asked = Request("transcode", (str(films / "film.mkv"),), {"profile": "nonsense"})
    with pytest.raises(InvalidError, match="web-1080p") as refused:
        run(real.submit(asked, owner="local", idempotency_key=None))
    assert refused.value.code == "profile_unknown"


def test_parameters_that_contradict_the_profile_are_told_before_the_job_is_accepted(run, settings, store, lane, films):
    from pipelines.jobs.catalogue import Catalogue

    real = JobService(settings, store, Catalogue.load(["pipelines.jobs.operations.transcode"]), lane)
    asked = Request("transcode", (str(films / "film.mkv"),), {"profile": "webm-vp9", "codec": "h264"})
    with pytest.raises(ParamsError, match="webm can't hold h264"):
        run(real.submit(asked, owner="local", idempotency_key=None))


@pytest.mark.parametrize("count", [0, 2])
def test_one_source_is_wanted(run, service, films, count):
    asked = Request("copy", (str(films / "film.mkv"),) * count, {})
    with pytest.raises(InvalidError) as refused:
        run(service.submit(asked, owner="local", idempotency_key=None))
    assert refused.value.code == "sources_invalid"


@pytest.mark.parametrize("count", [1, 3])
def test_what_takes_two_sources_takes_no_other_number(run, service, films, count):
    asked = Request("pair", (str(films / "film.mkv"),) * count, {})
    with pytest.raises(InvalidError, match="2 sources: left, then right"):
        run(service.submit(asked, owner="local", idempotency_key=None))


def test_every_source_of_a_pair_is_checked(run, service, films):
    asked = Request("pair", (str(films / "film.mkv"), "/etc/passwd"), {})
    with pytest.raises(StorageError) as refused:
        run(service.submit(asked, owner="local", idempotency_key=None))
    assert refused.value.code == "source_outside_roots"


def test_a_refused_job_leaves_nothing(run, submit, store, films):
    with pytest.raises(StorageError):
        submit(sources=[str(films / "none.mkv")], key="k")
    assert run(store.active()) == []
    assert run(store.known("local", "k", "any")) is None


# Sources


def make_source(films: Path, kind: str) -> str:
    outside = films.parent / "secret.mkv"
    outside.write_bytes(b"secret")
    if kind == "empty":
        (films / "empty").touch()
    elif kind == "folder":
        (films / "folder").mkdir()
    elif kind == "link":
        (films / "link").symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(films / "fifo")
    return {
        "missing": f"{films}/none.mkv",
        "outside": str(outside),
        "dots": f"{films}/../secret.mkv",
        "relative": "film.mkv",
        "web": "https://example.org/film.mkv",
        "nul in a URI": f"file://{films}/a%00b",
        "broken URI": "http://[",
    }.get(kind, f"{films}/{kind}")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("missing", "source_not_found"),
        ("outside", "source_outside_roots"),
        ("dots", "source_outside_roots"),
        ("link", "source_outside_roots"),
        ("empty", "source_empty"),
        ("folder", "source_not_a_file"),
        ("fifo", "source_not_a_file"),
        ("relative", "source_invalid"),
        ("web", "scheme_unsupported"),
        ("nul in a URI", "source_invalid"),
        ("broken URI", "source_invalid"),
    ],
)
def test_a_source_that_can_t_be_used_is_refused_at_once(submit, films, kind, code):
    with pytest.raises(StorageError) as refused:
        submit(sources=[make_source(films, kind)])
    assert refused.value.code == code


@pytest.fixture
def submit_pictures(run, settings, store, lane, films):
    """Submit renditions of files in the folder of films, by their names."""
    service = JobService(settings, store, Catalogue.load(["pipelines.jobs.operations.image_thumbnails"]), lane)

    def submit(*names: str):
        asked = Request("image-thumbnails", tuple(f"{films}/{name}" for name in names), {})
        return run(service.submit(asked, owner="local", idempotency_key=None))

    return submit


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_of_several_pictures_one_that_is_gone_or_empty_is_told_in_its_place(submit_pictures, films, kind):
    source = Path(make_source(films, kind)).name
    assert submit_pictures(source, "film.mkv").state == State.QUEUED


def test_pictures_that_are_all_gone_are_refused(submit_pictures, films):
    make_source(films, "empty")
    with pytest.raises(StorageError) as refused:
        submit_pictures("none.jpg", "empty")
    assert refused.value.code == "source_not_found"


def test_of_several_pictures_one_that_leads_outside_is_refused(submit_pictures, films):
    make_source(films, "link")
    with pytest.raises(StorageError) as refused:
        submit_pictures("film.mkv", "link")
    assert refused.value.code == "source_outside_roots"


def test_a_folder_for_an_operation_of_files_is_told_with_those_that_take_folders(run, settings, store, lane, films):
    from pipelines.jobs.catalogue import Catalogue

    modules = [f"pipelines.jobs.operations.{name}" for name in ("probe", "thumbnails")]
    real = JobService(settings, store, Catalogue.load(modules), lane)
    (films / "folder").mkdir()
    with pytest.raises(
        StorageError, match=r"folder; .* probe takes files; folders are taken by: thumbnails\."
    ) as refused:
        run(real.submit(Request("probe", (f"{films}/folder",), {}), owner="local", idempotency_key=None))
    assert refused.value.code == "source_not_a_file"


def test_a_symlink_that_stays_inside_the_roots_is_a_source(submit, films):
    (films / "link.mkv").symlink_to(films / "film.mkv")
    assert submit(sources=[f"{films}/link.mkv"]).state == State.QUEUED


# Outputs


def test_an_output_folder_becomes_the_file_in_it(submit, films):
    (films / "made").mkdir()
    assert submit(output=f"{films}/made").params["output"] == f"{films}/made/film.mkv"


def test_an_output_that_exists_is_refused(submit, films):
    (films / "there.mkv").write_bytes(b"x")
    with pytest.raises(StorageError) as refused:
        submit(output=f"{films}/there.mkv")
    assert refused.value.code == "output_exists"
    assert submit(output=f"{films}/there.mkv", overwrite=True).state == State.QUEUED


def test_an_output_outside_the_roots_is_refused(submit, tmp_path):
    with pytest.raises(StorageError) as refused:
        submit(output=f"{tmp_path}/out.mkv")
    assert refused.value.code == "output_outside_roots"


def test_an_output_behind_a_symlink_out_of_the_roots_is_refused(submit, films, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (films / "door").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError) as refused:
        submit(output=f"{films}/door/out.mkv")
    assert refused.value.code == "output_outside_roots"


@pytest.mark.parametrize("name", ["film.mkv", "../films/film.mkv", "alias.mkv"])
def test_an_output_that_is_the_source_is_refused(submit, films, name):
    (films / "alias.mkv").symlink_to(films / "film.mkv")
    with pytest.raises(StorageError) as refused:
        submit(output=f"{films}/{name}", overwrite=True)
    assert refused.value.code == "output_is_source"


def test_an_output_an_active_job_writes_is_refused(submit, films):
    first = submit(output=f"{films}/out.mkv")
    with pytest.raises(ConflictError, match=first.id) as refused:
        submit(output=f"{films}/out.mkv")
    assert refused.value.code == "output_in_use"


def test_an_output_is_free_again_when_its_job_ended(submit, ended, films):
    ended(submit(output=f"{films}/out.mkv"))
    assert submit(output=f"{films}/out.mkv").state == State.QUEUED


def test_a_file_isn_t_taken_for_an_output_folder(submit, films):
    (films / "there").write_bytes(b"x")
    with pytest.raises(StorageError) as refused:
        submit("split", output=f"{films}/there")
    assert refused.value.code == "output_exists"


def test_an_output_name_no_file_system_takes_is_refused(submit, films):
    with pytest.raises(StorageError) as refused:
        submit(output=f"{films}/{'a' * 300}.mkv")
    assert refused.value.code == "source_invalid"


# Retrying and deleting


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_retry_is_a_new_job_of_the_same_work(run, service, submit, ended, state):
    old = ended(submit(level=4), state)
    new = run(service.retry(old.id, owner="local", idempotency_key=None))
    assert new.id != old.id
    assert (new.params, new.sources, new.retry_of, new.attempt) == (old.params, old.sources, old.id, 2)
    assert run(service.get(old.id)).state == state


def test_a_retry_takes_over_what_was_done_even_if_that_was_to_be_done_anew(run, service, submit, ended):
    old = ended(submit(fresh=True))
    assert old.params["fresh"]
    assert not run(service.retry(old.id, owner="local", idempotency_key=None)).params["fresh"]


def test_a_retry_of_a_retry_counts_on(run, service, submit, ended):
    first = ended(submit())
    second = ended(run(service.retry(first.id, owner="local", idempotency_key=None)))
    third = run(service.retry(second.id, owner="local", idempotency_key=None))
    assert (third.attempt, third.retry_of) == (3, second.id)


def test_a_retry_sent_twice_with_a_key_is_one_job(run, service, submit, ended):
    old = ended(submit())
    ids = {run(service.retry(old.id, owner="local", idempotency_key="again")).id for _ in range(2)}
    assert len(ids) == 1


def test_an_active_job_isn_t_retried(run, service, submit):
    with pytest.raises(ConflictError) as refused:
        run(service.retry(submit().id, owner="local", idempotency_key=None))
    assert refused.value.code == "job_active"


def test_a_job_that_succeeded_isn_t_retried(run, service, submit, ended):
    job = ended(submit(), State.SUCCEEDED)
    with pytest.raises(ConflictError):
        run(service.retry(job.id, owner="local", idempotency_key=None))


def test_an_active_job_isn_t_deleted(run, service, submit, lane):
    with pytest.raises(ConflictError) as refused:
        run(service.delete(submit().id))
    assert (refused.value.code, lane.cleaned) == ("job_active", [])


def test_a_deleted_job_is_gone_with_its_artifacts(run, service, submit, ended, lane):
    job = ended(submit())
    run(service.delete(job.id))
    assert lane.cleaned == [job.id]
    with pytest.raises(UnknownError):
        run(service.get(job.id))


# Artifacts, plans, media


def test_an_artifact_is_found_by_its_name(run, service, submit, ended, films):
    artifact = Artifact(name="out.mkv", path=f"{films}/film.mkv", size_bytes=9)
    job = ended(submit(), State.SUCCEEDED, artifacts=[artifact])
    found, path = run(service.artifact(job.id, "out.mkv"))
    assert (found.name, path) == ("out.mkv", films / "film.mkv")


def test_an_artifact_swapped_for_a_link_to_elsewhere_isn_t_handed_out(run, service, submit, ended, films, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (films / "swapped.mkv").symlink_to(tmp_path / "secret")
    artifact = Artifact(name="f", path=f"{films}/swapped.mkv", size_bytes=6)
    job = ended(submit(), State.SUCCEEDED, artifacts=[artifact])
    with pytest.raises(StorageError) as refused:
        run(service.artifact(job.id, "f"))
    assert refused.value.code == "source_outside_roots"


@pytest.mark.parametrize(("name", "code"), [("other.mkv", "artifact_not_found"), ("gone.mkv", "artifact_gone")])
def test_an_artifact_that_isn_t_there_is_told(run, service, submit, ended, films, name, code):
    artifact = Artifact(name="gone.mkv", path=f"{films}/gone.mkv", size_bytes=9)
    job = ended(submit(), State.SUCCEEDED, artifacts=[artifact])
    with pytest.raises(UnknownError) as refused:
        run(service.artifact(job.id, name))
    assert refused.value.code == code


def test_a_plan_is_made_without_a_job(run, service, store, films):
    assert run(service.plan(Request("copy", (f"{films}/film.mkv",), {}))) == Plan(units=())
    assert run(store.active()) == []


@pytest.mark.parametrize(("name", "told"), [("film.mkv", "The output is the source"), ("old.mkv", "exists already")])
def test_a_plan_tells_that_its_output_would_be_refused(run, service, films, name, told):
    (films / "old.mkv").write_bytes(b"old")
    plan = run(service.plan(Request("copy", (f"{films}/film.mkv",), {"output": f"{films}/{name}"})))
    assert [told in warning for warning in plan.warnings] == [True]


def test_what_the_lane_refuses_is_told_as_it_said(run, service, lane, films):
    lane.answer = JobError(code="not_media", message="No media.")
    with pytest.raises(RefusedError) as refused:
        run(service.plan(Request("copy", (f"{films}/film.mkv",), {})))
    assert refused.value.error.code == "not_media"


# Ids


def test_ids_are_uuids_of_version_7():
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_ids_sort_by_time(monkeypatch):
    from pipelines.jobs import service

    ids = []
    for at_s in (1.0, 1.5, 2.0, 1_700_000_000.5, 1_700_000_000.75):
        monkeypatch.setattr(service.time, "time", lambda at_s=at_s: at_s)
        ids.append(str(uuid7()))
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_an_id_s_head_is_its_time_in_milliseconds(monkeypatch):
    from pipelines.jobs import service

    monkeypatch.setattr(service.time, "time", lambda: 1_700_000_000.123)
    assert uuid7().int >> 80 == 1_700_000_000_123


def test_ids_of_one_millisecond_sort_as_they_were_made():
    made = [str(uuid7()) for _ in range(2000)]
    assert made == sorted(set(made))


def test_an_output_named_for_another_container_is_refused(submit, films):
    with pytest.raises(InvalidError) as refused:
        submit(output=str(films / "out.mp4"))
    assert refused.value.code == "output_extension"


# Stores that don't answer


@pytest.fixture
def silent(run, settings, store, lane, silent_store):
    """Submit a job whose source is in a store that says nothing."""
    roots = {"roots": ("s3://films/",), "s3_endpoint": silent_store}
    service = JobService(settings.model_copy(update=roots), store, pretend_catalogue(), lane)
    return lambda: service.submit(Request("copy", ("s3://films/a.mkv",), {}), owner="local", idempotency_key=None)


def test_a_store_that_says_nothing_is_told(run, silent, monkeypatch):
    monkeypatch.setattr(service_module, "_STORE_LIMIT_S", 0.05)
    with pytest.raises(StorageError, match="didn't answer within") as refused:
        run(silent())
    assert refused.value.code == "storage_unavailable"


def test_a_store_that_says_nothing_holds_nothing_but_who_asks_it(run, silent):
    assert run(held(silent))
