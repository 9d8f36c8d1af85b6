"""Collections on a running server: asked by HTTP, command line and client, exported, reported on, and removed."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from live_server import LiveServer
from PIL import Image

from pipelines.media.sample import make_sample
from serve.client import Client, ProblemError

NAME = "holiday"


@pytest.fixture(scope="module")
def library(server: LiveServer) -> Path:
    """Three pictures, one of them broken, in names that other systems don't take; and a film."""
    folder = server.folder / "holiday library"
    for name, size in (("one.png", (64, 48)), ('two "big": 1?.png', (640, 480))):
        path = folder / "2019" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 50).save(path)
    (folder / "2019" / "ONE.png").write_bytes(b"\x89PNG broken")
    make_sample(folder / "film.mkv", duration_s=1, width=128, height=72)
    hour_ago_s = time.time() - 3600
    for path in folder.rglob("*.*"):
        os.utime(path, (hour_ago_s, hour_ago_s))
    return folder


def done(server: LiveServer, operation: str, source: Path | str, **params):
    job = server.wait(server.submit(operation, source, **params)["id"])
    assert job["state"] == "succeeded", job["error"]
    return job


@pytest.fixture(scope="module")
def collection(server: LiveServer, library: Path) -> str:
    done(server, "collection-import", library, into=NAME)
    done(server, "collection-process", f"collection:{NAME}", task="image-analyze")
    done(server, "collection-process", f"collection:{NAME}", task="probe")
    return f"collection:{NAME}"


@pytest.fixture
def run(server: LiveServer):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-m", "serve.cli.app", "collections", *map(str, arguments)]
        return subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120, check=False)

    return run


def rows(server: LiveServer, **query):
    answer = server.get(f"/v1/collections/{NAME}/files", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_rows_are_asked_for_in_sql(server, collection):
    found = rows(server, where="kind = 'image' AND width > 100", columns="path, width, height, quality_score")
    assert [(row["path"], row["width"], row["height"]) for row in found] == [('2019/two "big": 1?.png', 640, 480)]
    assert 0 <= found[0]["quality_score"] <= 100
    (film,) = rows(server, where="kind = 'video'")
    assert (film["width"], film["height"], film["state"]) == (128, 72, "present")


def test_a_broken_file_is_a_row_with_its_reason(server, collection):
    (row,) = rows(server, where="image_analyze_state = 'failed'", columns="path, image_analyze_code")
    assert row["path"] == "2019/ONE.png"
    assert row["image_analyze_code"]


def test_a_query_reaches_nothing_else(server, collection):
    answer = server.get(
        f"/v1/collections/{NAME}/files", params={"where": "uri IN (SELECT content FROM read_text('/etc/passwd'))"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "parameter_invalid")


def test_a_wrong_condition_is_refused_before_there_is_a_job(server, collection):
    answer = server.post(
        "/v1/jobs",
        {
            "operation": "collection-process",
            "source": collection,
            "params": {"task": "probe", "where": "(SELECT 1) = 1"},
        },
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "parameter_invalid")
    job = server.submit("collection-process", collection, task="probe", where="hight > 1")
    assert server.wait(job["id"])["error"]["code"] == "parameter_invalid"


def test_a_task_is_done_with_those_that_meet_a_condition(server, collection):
    params = {"task": "image-thumbnails", "task_params": {"sizes": ["16"]}, "where": "width > 100"}
    result = done(server, "collection-process", collection, **params)["result"]
    assert (result["files"], result["done"]) == (1, 1)


def test_files_are_exported_under_names_for_every_system(server, collection):
    output = server.folder / "exported"
    job = done(server, "collection-export", collection, output=str(output), where="kind = 'image'")
    assert (job["result"]["files"], job["result"]["copied"], job["result"]["failed"]) == (3, 3, 0)
    names = sorted(path.name for path in (output / "holiday library" / "2019").iterdir())
    assert names[2] == "two _big__ 1_.png"
    assert len({name.casefold() for name in names}) == 3
    table = pq.read_table(output / "catalogue.parquet")
    assert sorted(table["exported"].to_pylist()) == [f"holiday library/2019/{name}" for name in names]
    assert table["width"].to_pylist().count(640) == 1

    again = done(server, "collection-export", collection, output=str(output), where="kind = 'image'")["result"]
    assert (again["copied"], again["known"]) == (0, 3)
    assert not server.part_files()


def test_an_export_without_a_folder_is_refused(server, collection):
    job = server.wait(server.submit("collection-export", collection)["id"])
    assert job["error"]["code"] == "parameter_invalid"


def test_what_isn_t_ours_stays(server, collection):
    output = server.folder / "foreign"
    output.mkdir()
    (output / "catalogue.parquet").write_bytes(b"mine")
    job = server.wait(server.submit("collection-export", collection, output=str(output))["id"])
    assert job["error"]["code"] == "output_exists"
    assert [path.name for path in output.iterdir()] == ["catalogue.parquet"]


def test_an_archive_is_made_and_replaced_only_if_that_is_asked_for(server, collection):
    archive = server.folder / "packed.zip"
    job = done(server, "collection-export", collection, output=str(archive), template="{name}")
    assert (job["result"]["files"], job["result"]["copied"]) == (4, 4)
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        assert len(packed.namelist()) == 5
    order = {"operation": "collection-export", "source": collection, "params": {"output": str(archive)}}
    assert server.post("/v1/jobs", order).json()["code"] == "output_exists"
    where = "kind = 'video'"
    done(server, "collection-export", collection, output=str(archive), where=where, overwrite=True)
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["holiday library/film.mkv", "catalogue.parquet"]


def test_a_report_is_figures_a_page_and_plots(server, collection):
    job = done(server, "collection-report", collection)
    assert {each["name"]: each["files"] for each in job["result"]["kinds"]} == {"image": 3, "video": 1}
    assert [each["task"] for each in job["result"]["failures"]] == ["image_analyze"]
    page, *plots = job["artifacts"]
    answer = server.get(page["url"])
    assert answer.headers["content-type"].startswith("text/html")
    assert "<svg" in answer.text
    assert "kinds.png" in {plot["name"] for plot in plots}
    answer = server.get(plots[0]["url"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


def test_the_command_line_lists_shows_asks_and_exports(run, collection, tmp_path):
    listed = json.loads(run("list", "--json").stdout)["collections"]
    assert [each["files"] for each in listed if each["name"] == NAME] == [4]
    assert json.loads(run("show", collection, "--json").stdout)["kinds"] == {"image": 3, "video": 1}
    shown = run("query", NAME, "--where", "kind = 'video'", "--columns", "path, height")
    assert shown.stdout.split() == ["PATH", "HEIGHT", "film.mkv", "72"]
    assert run("export", NAME, "-o", tmp_path / "all.csv", "--columns", "path").returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("query", NAME, "--where", "path ="), "parameter_invalid", 2),
        (("show", "nowhere"), "collection_not_found", 1),
        (("export", NAME, "-o", "all.doc"), "wrong_usage", 2),
    ],
)
def test_what_is_wrong_is_told(run, collection, arguments, code, exit_code):
    ended = run(*arguments, "--json")
    assert ended.returncode == exit_code
    assert json.loads(ended.stdout)["error"]["code"] == code


def test_the_client_pages_through_rows_and_saves_exports(server, collection, tmp_path):
    with Client(server.url, server.token) as client:
        found = [row["path"] for row in client.collection_files(NAME, columns="path", page_size=2)]
        assert found == sorted(found)
        assert len(found) == 4
        assert len(pq.read_table(client.export_collection(NAME, tmp_path / "all.parquet"))) == 4
        with pytest.raises(ProblemError, match="one condition"):
            client.export_collection(NAME, tmp_path / "wrong.csv", where="path, kind")
    assert not (tmp_path / "wrong.csv").exists()


def test_what_is_removed_is_gone_and_its_files_stay(server, library, run):
    done(server, "collection-import", library, into="passing")
    assert run("remove", "passing").returncode == 0
    assert server.get("/v1/collections/passing").status_code == 404
    assert len(list(library.rglob("*.*"))) == 4
