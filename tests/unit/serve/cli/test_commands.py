import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner
from unit.serve.conftest import event_document, job_document

from serve.cli.app import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, list(arguments))


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_jobs_list_is_one_document(server):
    assert [job["id"] for job in document("jobs", "list")["jobs"]] == ["job-1"]


def test_jobs_list_stops_at_its_limit(server):
    server.jobs = {f"job-{n}": job_document(f"job-{n}") for n in range(5)}
    assert len(document("jobs", "list", "--limit", "3")["jobs"]) == 3


def test_jobs_list_shows_whole_ids_in_a_pipe(server):
    long = "0199d6c0-1111-7222-8333-444455556666"
    server.jobs = {long: job_document(long)}
    assert long in run("jobs", "list").stdout


def test_jobs_show_is_the_job(server):
    assert document("jobs", "show", "job-1")["state"] == "succeeded"


def test_jobs_files_are_all_that_a_job_made(server):
    assert [each["name"] for each in document("jobs", "files", "job-1")["artifacts"]] == [
        f"{number}.mp4" for number in range(5)
    ]
    assert run("jobs", "files", "job-1").stdout.count("/out/a.mp4") == 5


def test_jobs_watch_prints_one_event_per_line(server):
    server.streams = [[event_document(1), event_document(2, "succeeded")]]
    lines = run("jobs", "watch", "job-1", "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]


def test_jobs_watch_of_a_failed_job_exits_with_1(server):
    server.jobs["job-1"] = job_document(state="failed")
    server.streams = [[event_document(1, "failed")]]
    assert run("jobs", "watch", "job-1").exit_code == 1


FIRST, SECOND = "0199d6c0-1111-7222-8333-444455556666", "0199d6c0-2222-7222-8333-444455556666"


@pytest.fixture
def two_jobs(server):
    server.jobs = {job_id: job_document(job_id) for job_id in (FIRST, SECOND)}
    return server


def test_a_job_is_named_by_how_its_id_begins(two_jobs):
    assert document("jobs", "show", FIRST[:11])["id"] == FIRST
    assert document("jobs", "cancel", SECOND[:11])["id"] == SECOND
    assert document("jobs", "delete", FIRST[:-1], SECOND) == {"deleted": [FIRST, SECOND]}


def test_a_beginning_of_several_ids_is_refused(two_jobs):
    result = run("jobs", "cancel", FIRST[:8], "--json")
    assert result.exit_code == 2
    assert FIRST in json.loads(result.stdout)["error"]["message"]
    assert two_jobs.actions == []


@pytest.mark.parametrize("given", ["0199ffff", "019", "0199d6c0-1111-7222-8333-444455556667", "0199D6C0-1111"])
def test_what_no_id_begins_with_is_an_unknown_job(two_jobs, given):
    assert document("jobs", "show", given)["error"]["code"] == "job_not_found"


@pytest.mark.parametrize(
    ("action", "state", "told"),
    [
        ("cancel", "running", "cancelled in a moment"),
        ("cancel", "cancelled", ""),
        ("pause", "running", "paused in a moment"),
        ("resume", "paused", "going on in a moment"),
        ("resume", "queued", ""),
    ],
)
def test_what_isn_t_yet_as_asked_is_told(server, action, state, told):
    server.jobs["job-1"] = job_document(state=state)
    shown = run("jobs", action, "job-1").stdout
    assert told in shown
    assert bool(told) == ("in a moment" in shown)


def test_fractions_are_shown_to_people_as_far_as_they_tell_something(server):
    server.jobs["job-1"] = job_document(result={"duration_s": 15.061333333333334, "ssim": 0.99963, "each": [1 / 3]})
    shown = run("jobs", "show", "job-1").stdout
    assert "duration_s: 15.061\n" in shown
    assert "ssim: 0.99963\n" in shown
    assert "each: 0.333333\n" in shown
    assert document("jobs", "show", "job-1")["result"]["duration_s"] == 15.061333333333334


def test_jobs_of_an_operation_that_there_is_not_are_wrong_usage(server):
    result = run("jobs", "list", "--operation", "prob", "--json")
    assert result.exit_code == 2
    assert "no operation prob." in json.loads(result.stdout)["error"]["message"]
    assert run("jobs", "list", "--operation", "probe").exit_code == 0
    assert run("jobs", "list", "--operation", "shrink").exit_code == 0  # of another version, but there are jobs of it


def test_a_plan_without_jobs_is_a_document_too(home, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text('{"jobs": []}')
    assert document("jobs", "submit", str(plan)) == {"jobs": []}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["probe", "missing.mp4"], "missing.mp4"),
        (["transcode", __file__, "--crf", "much"], "--crf"),
        (["transcode", __file__, "--start", "5", "--end", "1"], "end"),
        (["transcode"], "SOURCE"),
        (["probe", __file__, "--no-such-option"], "--no-such-option"),
        (["jobs", "list", "--limit", "0"], "--limit"),
        (["transmogrify"], "transmogrify"),
    ],
)
def test_wrong_usage_is_a_document_too(home, arguments, named):
    result = run(*arguments, "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "wrong_usage"
    assert named in error["message"]


def test_with_json_help_is_still_help(home):
    result = run("probe", "--json", "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_jobs_are_steered(server, action):
    assert document("jobs", action, "job-1")["id"] == "job-1"
    assert server.actions == [action]


def test_jobs_retry_watches_the_new_job(server):
    assert document("jobs", "retry", "job-1")["state"] == "succeeded"


def test_jobs_priority_takes_a_known_one(server):
    assert run("jobs", "priority", "job-1", "highest").exit_code == 2


def test_jobs_delete_names_what_went(server):
    assert document("jobs", "delete", "job-1") == {"deleted": ["job-1"]}


def test_an_unknown_job_is_an_error_document_and_exit_1(server):
    result = run("jobs", "show", "nothing", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "job_not_found"


@pytest.mark.parametrize("arguments", [["jobs", "list"], ["jobs", "cancel", "job-1"], ["status"]])
def test_without_a_server_exit_3(home, arguments):
    assert run(*arguments).exit_code == 3


def test_without_a_server_the_message_says_how_to_start_one(home):
    assert "mediaray up" in run("jobs", "list").stderr


def test_status_tells_url_and_health(server):
    told = document("status")
    assert (told["running"], told["url"], told["health"]) == (True, server.url, {"status": "ok"})


def test_down_without_a_server_is_no_error(home):
    assert document("down")["stopped"] is False


def test_a_wrong_setting_is_named_and_exits_with_2(home, monkeypatch):
    monkeypatch.setenv("MEDIARAY_PORT", "many")
    result = run("jobs", "list")
    assert result.exit_code == 2
    assert "MEDIARAY_PORT" in result.stderr


def test_an_unknown_command_exits_with_2(home):
    assert run("transmogrify").exit_code == 2


def test_operations_and_help_name_every_operation(home):
    names = [each["name"] for each in document("operations")["operations"]]
    assert "probe" in names
    assert all(name in run("--help").stdout for name in names)


def test_profiles_need_no_server(home):
    assert "web-1080p" in [each["name"] for each in document("profiles")["profiles"]]


def test_help_imports_no_ray():
    script = "import sys; import serve.cli.app; sys.exit('ray' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-I", "-c", script], check=False).returncode == 0
