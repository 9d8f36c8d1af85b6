import json

import pytest
from typer.testing import CliRunner

from serve.cli.app import app


def ask(*arguments: str):
    return CliRunner().invoke(app, arguments)


def run(*arguments: str):
    result = ask("collections", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_collection_is_watched_and_shown_as_such(server):
    assert run("watch", "collection:films") == "Watched: films: /films\n"
    assert "since 2026-05-01" in run("list")
    assert "2026-05-01T12:00:00Z" in run("show", "films")


def test_what_is_wrong_with_a_watch_is_shown(server):
    run("watch", "films")
    server.watched["away"] = {"/films": "/films isn't there."}
    assert "since 2026-05-01, with errors: see show" in run("list")
    assert "/films isn't there." in run("show", "films")


def test_it_is_watched_no_more(server):
    run("watch", "films")
    assert json.loads(run("watch", "films", "--off", "--json")) == {"watched": None}
    assert server.watched is None
    assert "since" not in run("list")


PROCESS = ("collection-process", "collection:all", "--task", "probe", "--template", "{kind}/{stem}")


@pytest.mark.parametrize("output", ["made", "s3://bucket/made"])
def test_a_template_is_taken_where_an_output_is_named(server, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    result = ask(*PROCESS, "-o", output, "--no-watch")
    assert result.exit_code == 0, result.output
    (submitted,) = server.submitted
    assert submitted["params"]["template"] == "{kind}/{stem}"
    assert submitted["params"]["output"].endswith("/made")


def test_a_template_without_an_output_is_refused_at_once(server):
    result = ask(*PROCESS)
    assert result.exit_code == 2
    assert "Name that as output." in result.stderr
    assert server.submitted == []


def test_a_collection_that_is_named_as_a_file_is_told_how_to_write_it(server):
    result = ask("collection-process", "all", "--task", "probe")
    assert result.exit_code == 2
    assert "collection:all" in result.stderr
    assert server.submitted == []


@pytest.mark.parametrize("command", ["process", "enrich", "export", "report", "warm"])
def test_help_tells_of_collections_and_conditions(command):
    told = CliRunner().invoke(app, [f"collection-{command}", "--help"], env={"COLUMNS": "200"}).output
    assert "collection:NAME" in told
    assert "Media files." not in told
    assert "kind = 'video' AND height < 720" in told


@pytest.mark.parametrize(
    ("name", "told"), [("x/y", "'x/y'"), ("日本", "'日本'"), ("a\x1bb", r"'a\x1bb'"), ("..", "'..'"), ("", "''")]
)
def test_a_name_that_no_collection_can_have_is_refused_at_once(server, tmp_path, name, told):
    result = ask("collection-import", str(tmp_path), "--into", name)
    assert result.exit_code == 2
    assert told in result.stderr
    assert server.submitted == []


def test_an_export_replaces_no_file_unless_that_is_asked_for(server, tmp_path):
    output = tmp_path / "films.csv"
    output.write_text("mine")
    refused = ask("collections", "export", "films", "-o", str(output), "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "output_exists")
    assert output.read_text() == "mine"
    run("export", "films", "-o", str(output), "--overwrite")
    assert output.read_text() == "path\n"


def test_an_export_tells_the_folder_that_isn_t_there(server, tmp_path):
    result = ask("collections", "export", "films", "-o", str(tmp_path / "nope" / "films.csv"))
    assert result.exit_code == 1
    assert f"{tmp_path}/nope: No such file or directory" in result.stderr
