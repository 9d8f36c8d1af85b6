"""The command line against a real server: each command is a process of its own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from pipelines.media.sample import make_sample


@pytest.fixture(scope="module")
def film(server) -> Path:
    sample = server.folder / "sample.mp4"
    make_sample(sample, duration_s=6)
    return sample


@pytest.fixture
def folder(server) -> Path:
    """An empty folder that the server may read and write."""
    return Path(tempfile.mkdtemp(dir=server.folder))


@pytest.fixture
def run(server):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-m", "serve.cli.app", *map(str, arguments)]
        return subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=180, check=False)

    return run


def answer(done: subprocess.CompletedProcess[str]):
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_probe_tells_the_duration(run, film):
    assert answer(run("probe", film, "--json"))["result"]["duration_s"] == pytest.approx(6, abs=0.2)


def test_probe_is_readable_for_people(run, film):
    done = run("probe", film)
    assert done.returncode == 0, done.stderr
    assert "duration_s" in done.stdout


def test_transcode_makes_the_output(run, film, folder):
    output = folder / "out.mp4"
    job = answer(run("transcode", film, "-o", output, "--profile", "mobile-480p", "--json"))
    assert job["state"] == "succeeded"
    assert job["artifacts"][0]["path"] == str(output)
    assert output.stat().st_size == job["artifacts"][0]["size_bytes"]


def test_an_output_folder_gets_the_source_s_name(run, film, folder):
    answer(run("transcode", film, "-o", f"{folder}/made/", "--profile", "mobile-480p", "--json"))
    assert [file.stem for file in (folder / "made").iterdir()] == ["sample"]


def test_a_job_that_was_not_watched_can_be(run, film, folder):
    job = answer(run("transcode", film, "-o", folder / "out.mp4", "--no-watch", "--json"))
    events = [json.loads(line) for line in run("jobs", "watch", job["id"], "--json").stdout.splitlines()]
    assert events[-1]["state"] == "succeeded"
    assert answer(run("jobs", "show", job["id"], "--json"))["state"] == "succeeded"


def test_jobs_list_has_the_newest_first(run, film):
    job = answer(run("probe", film, "--json"))
    assert answer(run("jobs", "list", "--limit", "1", "--json"))["jobs"][0]["id"] == job["id"]


def test_renditions_of_a_picture_go_to_the_folder(run, folder):
    picture = folder / "red.png"
    Image.new("RGB", (800, 600), "red").save(picture)
    job = answer(
        run("image-thumbnails", picture, "-o", folder / "made", "--sizes", "square", "--sizes", "100", "--json")
    )
    assert [each["name"] for each in job["artifacts"]] == ["red-square.jpg", "red-100w.jpg"]
    assert Image.open(folder / "made" / "red-100w.jpg").size == (100, 75)


def test_explain_makes_nothing(run, film, folder):
    plan = answer(run("transcode", film, "-o", folder / "out.mp4", "--explain", "--json"))
    assert plan["units"]
    assert list(folder.iterdir()) == []


def test_an_existing_output_is_kept(run, film, folder):
    output = folder / "out.mp4"
    output.write_bytes(b"mine")
    done = run("transcode", film, "-o", output, "--json")
    assert done.returncode == 1
    assert "output_exists" in done.stdout
    assert output.read_bytes() == b"mine"


def test_a_file_that_is_no_media_fails_with_its_code(run, folder):
    text = folder / "text.mp4"
    text.write_text("no film")
    done = run("probe", text, "--json")
    assert done.returncode == 1
    assert "not_media" in done.stdout


@pytest.mark.parametrize("arguments", [("jobs", "list"), ("jobs", "list", "--json"), ("operations",)])
def test_a_full_disk_under_stdout_is_told(server, arguments):
    command = [sys.executable, "-I", "-m", "serve.cli.app", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, env=server.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert "Traceback" not in done.stderr
    assert "can't be written: No space left on device" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--crf", "much"),
        ("--crf", "60"),
        ("--preset", "foo"),
        ("--profile", "nope"),
        ("--hdr", "keep"),
        ("-o", "x.avi"),
    ],
)
def test_wrong_usage_exits_with_2_whoever_finds_it(run, film, folder, arguments):
    options = [folder / each if each == "x.avi" else each for each in arguments]
    done = run("transcode", film, *options, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] != "internal"


def test_a_job_is_named_by_how_its_id_begins(run, film):
    job = answer(run("probe", film, "--json"))
    assert answer(run("jobs", "show", job["id"][:-4], "--json"))["id"] == job["id"]


def test_an_unknown_job_exits_with_1(run):
    done = run("jobs", "show", "00000000-0000-7000-8000-000000000000", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "job_not_found"


def test_without_a_server_exit_3(server, tmp_path):
    command = [sys.executable, "-I", "-m", "serve.cli.app", "jobs", "list"]
    environment = {**server.env, "MEDIARAY_HOME": str(tmp_path / "empty")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "mediaray up" in done.stderr


def test_status_tells_the_url(run, server):
    assert answer(run("status", "--json"))["url"] == server.url


def test_doctor_sees_the_running_server(run):
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    assert next(check for check in checks if check["name"] == "port")["status"] == "ok"


def test_the_demo_leaves_its_results(run, film, folder):
    told = answer(run("demo", film, "--out", folder / "demo", "--json"))
    assert [job["state"] for job in told["jobs"]] == ["succeeded"] * 3
    assert (folder / "demo" / "sample-web.mp4").stat().st_size > 0
    assert len(list((folder / "demo" / "stills").iterdir())) == 6
