import json

import pytest
from typer.testing import CliRunner
from unit.serve.conftest import event_document

from serve.cli.app import app

runner = CliRunner()


@pytest.fixture
def plan(tmp_path):
    """A plan of two jobs on files that are there."""
    for name in "ab":
        (tmp_path / f"{name}.mkv").write_bytes(b"film")
    jobs = [
        {
            "operation": "transcode",
            "sources": [f"{tmp_path}/{name}.mkv"],
            "params": {"crf": 30, "output": f"{tmp_path}/out/{name}.mkv"},
            "note": "re-encode",
        }
        for name in "ab"
    ]
    path = tmp_path / "films.plan.json"
    path.write_text(json.dumps({"jobs": jobs}))
    return path


def submit(plan, *arguments):
    return runner.invoke(app, ["jobs", "submit", str(plan), *arguments])


def test_each_job_of_a_plan_is_submitted_as_it_stands_there(server, plan, tmp_path):
    result = submit(plan, "--no-watch")
    assert result.exit_code == 0, result.output
    assert server.submitted == [
        {
            "operation": "transcode",
            "sources": [f"{tmp_path}/{name}.mkv"],
            "params": {"crf": 30, "output": f"{tmp_path}/out/{name}.mkv"},
            "priority": "normal",
        }
        for name in "ab"
    ]


def test_its_sources_may_be_read_and_its_outputs_written(server, home, plan, tmp_path):
    submit(plan, "--no-watch")
    granted = json.loads((home.path / "grants.json").read_text())
    assert str(tmp_path) in granted["read"]
    assert granted["write"] == [f"{tmp_path}/out"]


def test_the_first_of_them_are_submitted_before_all(server, plan, tmp_path):
    submit(plan, "--no-watch", "--first", "1", "--priority", "low")
    assert [(each["sources"], each["priority"]) for each in server.submitted] == [([f"{tmp_path}/a.mkv"], "low")]


def test_they_are_watched_to_their_end(server, plan):
    server.streams = [[event_document(1, "succeeded")], [event_document(1, "succeeded", "job-2")]]
    assert len(json.loads(submit(plan, "--json").stdout)["jobs"]) == 2


def test_one_that_is_refused_holds_up_no_other(server, plan, tmp_path):
    server.refused[f"{tmp_path}/a.mkv"] = (422, "output_exists", "It exists already.")
    result = submit(plan, "--no-watch", "--json")
    answer = json.loads(result.stdout)
    assert [len(answer["jobs"]), answer["refused"][0]["code"]] == [1, "output_exists"]
    assert result.exit_code == 1


def test_a_plan_without_jobs_is_told(server, plan):
    plan.write_text('{"jobs": []}')
    result = submit(plan)
    assert (result.exit_code, server.submitted) == (0, [])
    assert "no jobs" in result.stdout


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"jobs": [{"params": {}}]}', '{"jobs": [{"operation": "probe"}]}', '{"jobs": 3}']
)
def test_what_is_no_plan_exits_with_2(server, plan, text):
    plan.write_text(text)
    result = submit(plan)
    assert (result.exit_code, server.submitted) == (2, [])


def test_a_missing_plan_exits_with_2(home, tmp_path):
    assert submit(tmp_path / "absent.json").exit_code == 2
