"""Jobs from and to object storage, over a real server whose media processes have neither network nor credentials."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from azure_server import AzureServer
from clips import make_clip
from gcs_server import GcsServer
from live_server import LiveServer, live_server, until
from object_server import BUCKET, ObjectServer, object_server
from PIL import Image

IN, OUT = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectServer]:
    with object_server() as running:
        yield running


@pytest.fixture(scope="module")
def gcs() -> Iterator[ObjectServer]:
    with object_server(GcsServer()) as running:
        yield running


@pytest.fixture(scope="module")
def azure() -> Iterator[ObjectServer]:
    with object_server(AzureServer()) as running:
        yield running


@pytest.fixture(scope="module")
def server(s3: ObjectServer, gcs: ObjectServer, azure: ObjectServer) -> Iterator[LiveServer]:
    settings = {
        "MEDIARAY_ROOTS": json.dumps([f"{IN}/", f"{OUT}/", gcs.uri(), azure.uri()]),
        "MEDIARAY_OUTPUT_ROOTS": json.dumps([f"{OUT}/", gcs.uri("out"), azure.uri("out")]),
    }
    for store in (s3, gcs, azure):
        settings |= {**store.settings, **store.environment}
    with live_server(**settings) as running:
        yield running


@pytest.fixture(scope="module")
def film(s3: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds, that lie in the bucket too."""
    made = make_clip(tmp_path_factory.mktemp("films") / "film.mkv", seconds=10)
    s3.put("in/film.mkv", made)
    return made


def done(server: LiveServer, operation: str, source: str, **params: object) -> dict:
    return server.wait(server.submit(operation, source, **params)["id"])


def test_a_probe_tells_of_an_object(server, film):
    job = done(server, "probe", f"{IN}/film.mkv")
    assert job["state"] == "succeeded", job["error"]
    assert job["result"]["size_bytes"] == film.stat().st_size
    assert job["result"]["duration_s"] == pytest.approx(10, abs=0.1)


def test_a_film_in_chunks_is_read_about_once_and_written_whole(server, s3, film, tmp_path):
    with s3.counting() as sent:
        job = done(server, "transcode", f"{IN}/film.mkv", profile="mobile-480p", chunk_s=2, output=f"{OUT}/film.mp4")
        assert job["state"] == "succeeded", job["error"]
        assert sent() < 1.3 * film.stat().st_size
    assert job["result"]["chunks"] > 1
    (artifact,) = job["artifacts"]
    answer = s3.get("out/film.mp4")
    assert artifact["size_bytes"] == len(answer.content)
    (tmp_path / "film.mp4").write_bytes(answer.content)
    with av.open(tmp_path / "film.mp4") as container:
        assert container.duration / av.time_base == pytest.approx(10, abs=0.1)
    refused = server.get(artifact["url"])
    assert refused.status_code == 409
    assert f"{OUT}/film.mp4" in refused.json()["detail"]
    again = server.post(
        "/v1/jobs", {"operation": "transcode", "source": f"{IN}/film.mkv", "params": {"output": f"{OUT}/film.mp4"}}
    )
    assert (again.status_code, again.json()["code"]) == (409, "output_exists")
    assert not server.part_files()


def test_a_folder_of_pictures_becomes_a_tree_of_objects(server, s3, tmp_path):
    for number, key in enumerate(["a.jpg", "2019/b.png", "2019/c.webp"]):
        Image.new("RGB", (400 + number, 300)).save(tmp_path / Path(key).name)
        s3.put(f"in/photos/{key}", tmp_path / Path(key).name)
    s3.put("in/photos/broken.jpg", b"no picture")
    job = done(server, "image-thumbnails", f"{IN}/photos/", sizes=["100"], output=f"{OUT}/small")
    assert job["state"] == "succeeded", job["error"]
    assert (job["result"]["count"], job["result"]["failed"]) == (4, 1)
    assert sorted(s3.keys("out/small")) == [f"out/small/{name}-100w.jpg" for name in ("2019/b", "2019/c", "a")]


def test_a_collection_of_objects_is_imported_and_worked_on(server, s3, tmp_path):
    for number in range(3):
        Image.new("RGB", (400 + number, 300)).save(tmp_path / "a.png")
        s3.put(f"in/album/{number}.png", tmp_path / "a.png")
    job = done(server, "collection-import", f"{IN}/album/", into="album")
    assert job["state"] == "succeeded", job["error"]
    assert (job["result"]["files"], job["result"]["unreadable"]) == (3, 0)
    job = done(server, "collection-process", "collection:album", task="checksum")
    assert job["state"] == "succeeded", job["error"]
    assert (job["result"]["done"], job["result"]["failed"]) == (3, 0)
    job = done(server, "collection-export", "collection:album", output=f"{OUT}/album/", template="{name}")
    assert job["state"] == "succeeded", job["error"]
    assert (job["result"]["copied"], job["result"]["failed"]) == (3, 0)
    assert s3.get("out/album/2.png").content == (tmp_path / "a.png").read_bytes()


def test_other_stores_are_read_and_written(server, gcs, azure, film, tmp_path):
    gcs.put("film.mkv", film)
    job = done(server, "transcode", gcs.uri("film.mkv"), profile="mobile-480p", output=azure.uri("out/film.mp4"))
    assert job["state"] == "succeeded", job["error"]
    (tmp_path / "film.mp4").write_bytes(azure.get("out/film.mp4").content)
    with av.open(tmp_path / "film.mp4") as container:
        assert container.duration / av.time_base == pytest.approx(10, abs=0.1)
    job = done(server, "thumbnails", azure.uri("out/film.mp4"), count=2, output=gcs.uri("out/stills/"))
    assert job["state"] == "succeeded", job["error"]
    assert len(gcs.keys("out/stills")) == 2


def test_pages_are_told_of_objects_and_shown_them(server, s3, film, tmp_path):
    told = server.get("/v1/media", params={"source": f"{IN}/film.mkv"})
    assert told.json()["duration_s"] == pytest.approx(10, abs=0.1)
    Image.new("RGB", (400, 300), (200, 30, 30)).save(tmp_path / "red.png")
    s3.put("in/red.png", tmp_path / "red.png")
    shown = server.get("/v1/images", params={"source": f"{IN}/red.png", "w": 80})
    assert shown.status_code == 200, shown.text
    with Image.open(io.BytesIO(shown.content)) as picture:
        assert picture.width == 80
    refused = server.get("/v1/media", params={"source": f"s3://{BUCKET}/secret.mkv"})
    assert (refused.status_code, refused.json()["code"]) == (403, "source_outside_roots")


def test_what_isn_t_there_or_may_not_be_read_is_refused_at_once(server, s3):
    s3.put("secret.mkv", b"secret")
    for source, status, code in [
        (f"{IN}/gone.mkv", 422, "source_not_found"),
        (f"s3://{BUCKET}/secret.mkv", 403, "source_outside_roots"),
        (f"{IN}/../secret.mkv", 422, "source_invalid"),
        ("https://example.org/a.mkv", 422, "scheme_unsupported"),
    ]:
        answer = server.post("/v1/jobs", {"operation": "probe", "source": source})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    answer = server.post(
        "/v1/jobs", {"operation": "transcode", "source": f"{IN}/film.mkv", "params": {"output": f"{IN}/x.mp4"}}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "output_outside_roots")


def test_an_object_that_changes_after_the_plan_ends_the_job(server, s3, tmp_path):
    """Its chunks are of one film, or of none."""
    before = make_clip(tmp_path / "before.mkv", seconds=20)
    s3.put("in/changes.mkv", before)
    job = server.submit("transcode", f"{IN}/changes.mkv", profile="mobile-480p", chunk_s=2, output=f"{OUT}/changes.mp4")
    until(lambda: server.job(job["id"])["state"] in {"running", "succeeded", "failed"}, 60, lambda: "it isn't planned")
    s3.put("in/changes.mkv", before.read_bytes() + b"\xec\x84junk")
    ended = server.wait(job["id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "source_changed")
    assert s3.keys("out/changes") == []


def test_media_processes_have_no_credentials(server, film):
    done(server, "probe", f"{IN}/film.mkv")
    children = [each for each in server.tree() if "pipelines.media.child" in " ".join(each.cmdline())]
    assert children
    for each in children:
        assert not [name for name in each.environ() if name.startswith(("AWS_", "AZURE_", "MEDIARAY_"))]
        assert not each.net_connections("inet")


def test_the_command_line_takes_uris(server, s3, film):
    command = [
        sys.executable,
        "-m",
        "serve.cli.app",
        "thumbnails",
        f"{IN}/film.mkv",
        "-o",
        f"{OUT}/stills/",
        "--count",
        "2",
    ]
    ran = subprocess.run([*command, "--json"], env=server.env, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(s3.keys("out/stills")) == 2
