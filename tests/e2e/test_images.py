"""Pictures over a real server: folders as one job, and pictures for pages."""

import io
import json
import tempfile
from pathlib import Path

import httpx
import pytest
from PIL import Image


@pytest.fixture
def folder(server) -> Path:
    return Path(tempfile.mkdtemp(dir=server.folder))


@pytest.fixture
def photos(folder) -> Path:
    """Five pictures in two folders, and one that is broken."""
    photos = folder / "photos"
    (photos / "2019").mkdir(parents=True)
    for number, name in enumerate(["a.jpg", "b.png", "c.webp", "2019/a.jpg", "2019/d.tif"]):
        Image.new("RGB", (400 + number, 300), ("red", "green", "blue")[number % 3]).save(photos / name)
    (photos / "broken.png").write_bytes((photos / "b.png").read_bytes()[:200])
    return photos


def submitted(server, operation: str, source: Path, **params) -> dict:
    return server.wait(server.submit(operation, source, **params)["id"])


def test_a_folder_is_one_job_and_its_tree_is_mirrored(server, photos, folder):
    job = submitted(server, "image-thumbnails", photos, sizes=["100"], output=str(folder / "made"))
    assert job["state"] == "succeeded"
    made = sorted(str(path.relative_to(folder / "made")) for path in (folder / "made").rglob("*.jpg"))
    assert made == ["2019/a-100w.jpg", "2019/d-100w.jpg", "a-100w.jpg", "b-100w.jpg", "c-100w.jpg"]
    assert (job["result"]["count"], job["result"]["failed"]) == (6, 1)
    assert "broken.png" in job["warnings"][0]
    (report,) = [each for each in job["artifacts"] if each["name"] == "report.jsonl"]
    rows = [json.loads(line) for line in server.get(report["url"]).text.splitlines()]
    assert [row["error"]["code"] for row in rows if row["error"]] == ["source_unreadable"]


def test_an_artifact_in_a_folder_is_sent(server, photos):
    job = submitted(server, "image-thumbnails", photos, sizes=["100"])
    (one,) = [each for each in job["artifacts"] if each["name"] == "2019/d-100w.jpg"]
    answer = server.get(one["url"])
    assert Image.open(io.BytesIO(answer.content)).size == (100, 74)


def test_a_picture_for_a_page_is_made_once_and_then_found(server, photos):
    query = {"source": str(photos / "a.jpg"), "w": "120"}
    first, second = (server.get("/v1/images", params=query) for _ in range(2))
    assert first.status_code == 200, first.text
    assert Image.open(io.BytesIO(first.content)).size == (120, 90)
    assert first.headers["etag"] == second.headers["etag"]
    again = server.get("/v1/images", params=query | {"w": "121"})
    assert again.headers["etag"] != first.headers["etag"]


def test_a_signed_link_works_without_the_token_and_a_changed_one_doesn_t(server, photos):
    made = server.post("/v1/images/links", {"source": str(photos / "b.png"), "w": 50, "h": 50, "fit": "cover"}).json()
    answer = httpx.get(server.url + made["url"], headers={"Accept": "image/webp"})
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (50, 50)
    assert answer.headers["content-type"] == "image/webp"
    changed = httpx.get(server.url + made["url"].replace("w=50", "w=60"))
    assert (changed.status_code, changed.json()["code"]) == (403, "signature_refused")


def test_what_is_no_picture_is_a_problem(server, photos):
    answer = server.get("/v1/images", params={"source": str(photos / "broken.png")})
    assert (answer.status_code, answer.json()["code"]) == (422, "source_unreadable")
    answer = server.get("/v1/images", params={"source": "/etc/passwd"})
    assert (answer.status_code, answer.json()["code"]) == (403, "source_outside_roots")
