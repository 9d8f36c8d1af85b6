import json

import pytest
import typer
from typer.testing import CliRunner
from unit.serve.cli.fakes import LOOK, PAIR, SHRINK, STILLS
from unit.serve.conftest import event_document, job_document

from serve.answers import PlanView
from serve.cli.operations import operation_command
from serve.cli.render import Screen

runner = CliRunner()
app = typer.Typer(pretty_exceptions_enable=False)
for each in (SHRINK, STILLS, LOOK, PAIR):
    app.command(each.name)(operation_command(each))


@pytest.fixture
def film(tmp_path):
    file = tmp_path / "film.mkv"
    file.write_bytes(b"film")
    return file


def run(*arguments):
    return runner.invoke(app, [str(each) for each in arguments])


def test_a_job_is_submitted_with_absolute_paths_and_params(server, film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("shrink", "film.mkv", "-o", "out.mp4", "--crf", "20", "--priority", "high", "--overwrite")
    assert result.exit_code == 0, result.output
    assert server.submitted == [
        {
            "operation": "shrink",
            "sources": [str(film)],
            "params": {"crf": 20, "overwrite": True, "output": f"{tmp_path}/out.mp4"},
            "priority": "high",
        }
    ]


def test_json_is_the_finished_job(server, film):
    assert json.loads(run("shrink", film, "--json").stdout)["artifacts"][0]["path"] == "/out/a.mp4"


def test_people_see_where_the_result_is(server, film):
    assert "/out/a.mp4" in run("shrink", film).stdout


def test_several_sources_are_a_job_each(server, film, tmp_path):
    other = tmp_path / "other.mkv"
    other.touch()
    server.streams = [[event_document(1, "succeeded")], [event_document(1, "succeeded", "job-2")]]
    assert len(json.loads(run("shrink", film, other, "--json").stdout)["jobs"]) == 2


def test_of_a_result_people_see_what_its_operation_tells(server, film):
    server.jobs["job-1"] = job_document(result={"size_bytes": 10, "unit_s": [1.0, 2.0]})
    shown = run("shrink", film).stdout
    assert "size_bytes: 10" in shown
    assert "unit_s" not in shown
    assert "mediaray jobs show job-1" in shown


def test_of_a_result_whose_operation_names_nothing_people_see_all(server, film):
    server.jobs["job-1"] = job_document(result={"size_bytes": 10, "unit_s": [1.0, 2.0]})
    assert "unit_s: 1.0, 2.0" in run("look", film).stdout


@pytest.fixture
def other(tmp_path):
    file = tmp_path / "other.mkv"
    file.write_bytes(b"film")
    return file


def test_of_several_sources_one_that_is_refused_holds_up_no_other(server, film, other):
    server.refused[str(film)] = (422, "source_empty", "Nothing in it.")
    result = run("shrink", film, other, "--json")
    answer = json.loads(result.stdout)
    assert [job["id"] for job in answer["jobs"]] == ["job-1"]
    assert answer["refused"] == [{"source": str(film), "code": "source_empty", "message": "Nothing in it."}]
    assert result.exit_code == 1


def test_people_are_told_which_source_is_refused(server, film, other):
    server.refused[str(film)] = (422, "source_empty", "Nothing in it.")
    result = run("shrink", film, other)
    assert f"{film}: Nothing in it. (source_empty)" in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("codes", "exit_code"),
    [(["source_outside_roots"] * 2, 2), (["source_outside_roots", "x"], 1), (["source_outside_roots"], 2)],
)
def test_sources_that_are_all_asked_for_wrongly_are_wrong_usage(server, film, other, codes, exit_code):
    server.refused = {str(each): (422, code, "No.") for each, code in zip((film, other), codes, strict=False)}
    assert run("shrink", film, other).exit_code == exit_code


def test_where_every_source_is_refused_there_is_nothing_to_watch(server, film, other):
    server.refused = {str(each): (422, "source_empty", "Nothing in it.") for each in (film, other)}
    result = run("shrink", film, other, "--no-watch")
    assert "jobs watch" not in result.stdout
    assert result.exit_code == 1


def test_what_is_wrong_with_all_of_the_request_is_told_once(server, film, other):
    server.refused = {str(each): (422, "profile_unknown", "No such profile.") for each in (film, other)}
    result = run("shrink", film, other)
    assert result.stderr.count("No such profile.") == 1
    assert result.exit_code == 2


@pytest.mark.parametrize("code", ["params_invalid", "parameter_invalid", "profile_unknown", "output_extension"])
def test_a_request_that_the_server_finds_wrong_exits_with_2(server, film, code):
    server.refused = {str(film): (422, code, "Wrong.")}
    result = run("shrink", film, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {"error": {"code": code, "message": "Wrong."}}


@pytest.mark.parametrize("code", ["source_outside_roots", "output_outside_roots"])
def test_a_place_that_the_settings_keep_the_server_from_exits_with_2(server, film, code):
    server.refused = {str(film): (403, code, "Not there.")}
    assert run("shrink", film).exit_code == 2


def failed_job(job_id: str, code: str):
    return job_document(job_id, state="failed", error={"code": code, "message": "No.", "retryable": False})


def test_a_job_that_finds_what_was_asked_wrong_exits_with_2(server, film):
    server.jobs["job-1"] = failed_job("job-1", "parameter_invalid")
    server.streams = [[event_document(1, "failed")]]
    assert run("shrink", film).exit_code == 2


def test_of_several_jobs_one_that_can_t_be_done_counts_for_more_than_wrong_parameters(server, film, other):
    server.jobs = {"job-1": failed_job("job-1", "parameter_invalid"), "job-2": failed_job("job-2", "not_media")}
    server.streams = [[event_document(1, "failed")], [event_document(1, "failed", "job-2")]]
    assert run("shrink", film, other).exit_code == 1


@pytest.mark.parametrize("code", ["source_empty", "output_exists", "disk_full"])
def test_a_request_that_can_t_be_done_now_exits_with_1(server, film, code):
    server.refused = {str(film): (422, code, "Not now.")}
    assert run("shrink", film).exit_code == 1


@pytest.fixture
def namesake(tmp_path):
    file = tmp_path / "film.ts"
    file.write_bytes(b"film")
    return file


def test_of_two_sources_of_one_name_the_first_is_done(server, film, namesake, tmp_path):
    result = run("shrink", film, namesake, "-o", f"{tmp_path}/out/", "--json")
    assert result.exit_code == 1
    assert [each["sources"] for each in server.submitted] == [[str(film)]]
    (refused,) = json.loads(result.stdout)["refused"]
    assert (refused["source"], refused["code"]) == (str(namesake), "output_in_use")


def test_a_plan_of_two_sources_of_one_name_has_the_first(server, film, namesake, tmp_path):
    result = run("shrink", film, namesake, "-o", f"{tmp_path}/out/", "--explain")
    assert result.exit_code == 1
    assert f"{namesake}: Another of the sources has this name" in result.stderr
    assert f"shrink {film}" in result.stdout


def test_a_failed_job_exits_with_1_and_its_message(server, film):
    error = {"code": "source_unreadable", "message": "The film is torn.", "retryable": False}
    server.jobs["job-1"] = job_document(state="failed", error=error, artifacts=[], result=None)
    server.streams = [[event_document(1, "failed")]]
    result = run("shrink", film)
    assert result.exit_code == 1
    assert "The film is torn. (source_unreadable)" in result.stdout


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failed_job_is_offered_again_where_that_may_help(server, film, retryable):
    error = {"code": "encode_failed", "message": "The encoder broke.", "retryable": retryable}
    server.jobs["job-1"] = job_document(state="failed", error=error, artifacts=[], result=None)
    server.streams = [[event_document(1, "failed")]]
    result = run("shrink", film)
    assert "mediaray jobs show job-1" in result.output
    assert ("mediaray jobs retry job-1" in result.output) == retryable


def test_no_watch_says_how_to_watch(server, film):
    server.jobs = {}
    result = run("shrink", film, "--no-watch")
    assert result.exit_code == 0
    assert "job-1" in result.stdout
    assert "mediaray jobs watch" in result.stdout


def test_explain_prints_the_plan_and_submits_nothing(server, film):
    result = run("shrink", film, "--explain", "--json")
    assert json.loads(result.stdout)["units"][0]["name"] == "chunk-0"
    assert server.keys == []


def test_explain_is_for_people_too(server, film):
    shown = run("shrink", film, "--explain").stdout
    assert "chunk-0" in shown
    assert "why: because" in shown


def test_results_of_markup_like_names_are_shown_as_they_are(server, film):
    artifact = {"name": "[red]a.mp4", "size_bytes": 1, "path": "/out/[red]a\x1b[31m.mp4"}
    server.jobs["job-1"] = job_document(artifacts=[artifact])
    shown = run("shrink", film).stdout
    assert "/out/[red]a\N{REPLACEMENT CHARACTER}[31m.mp4" in shown


def test_of_many_files_it_says_how_to_list_them(server, film):
    server.jobs["job-1"] = job_document(artifact_count=120)
    assert "108 more: mediaray jobs files job-1" in run("shrink", film).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--crf", "99"],
        ["--crf", "much"],
        ["--hdr", "sometimes"],
        ["--audio-bitrate", "loud"],
        ["--start", "5", "--end", "1"],
        ["--no-such-option"],
        ["--priority", "highest"],
    ],
)
def test_wrong_usage_exits_with_2(server, film, arguments):
    assert run("shrink", film, *arguments).exit_code == 2
    assert server.submitted == []


def test_a_missing_source_exits_with_2(home):
    assert run("shrink", "missing.mkv").exit_code == 2


def test_an_operation_without_files_has_no_output_option(server, film):
    assert run("look", film, "-o", "x").exit_code == 2


def test_what_takes_two_sources_makes_one_job_of_them(server, film, tmp_path):
    other = tmp_path / "other.mkv"
    other.touch()
    assert run("pair", film, other, "-o", tmp_path / "out").exit_code == 0
    (submitted,) = server.submitted
    assert (submitted["sources"], submitted["params"]["output"]) == ([str(film), str(other)], f"{tmp_path}/out/")


def test_what_takes_two_sources_is_not_done_with_one(server, film):
    result = run("pair", film)
    assert result.exit_code == 2
    assert "left, then right" in result.output
    assert server.submitted == []


def test_help_names_the_sources_it_takes():
    assert "LEFT RIGHT" in run("pair", "--help").output


def test_explain_of_what_drives_batches_gives_no_time(capsys):
    plan = PlanView.model_validate(
        {
            "operation": "collection-process",
            "units": [{"name": "run", "needs": {"cpus": 0, "max_cpus": 0, "seconds": 3600, "drives": True}}],
            "explain": {},
            "warnings": [],
        }
    )
    Screen().plan("collection:photos", plan)
    shown = capsys.readouterr().out
    assert "in batches" in shown
    assert "3600" not in shown
