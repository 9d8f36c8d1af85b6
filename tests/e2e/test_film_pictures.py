"""What is made of a film for players, over a real server."""

import io
import json

from PIL import Image


def done(server, operation: str, source, **params) -> dict:
    job = server.wait(server.submit(operation, source, **params)["id"])
    assert job["state"] == "succeeded", job["error"]
    return job


def contents(server, job) -> dict[str, bytes]:
    return {artifact["name"]: server.get(artifact["url"]).content for artifact in job["artifacts"]}


def test_a_storyboard_is_sheets_that_its_cues_name(server, clip):
    job = done(server, "storyboard", clip, interval_s=2)
    files = contents(server, job)
    assert sorted(files) == ["sheet-001.jpg", "storyboard.json", "storyboard.vtt"]
    assert job["result"]["count"] == 5
    assert files["storyboard.vtt"].decode().count("sheet-001.jpg#xywh=") == 5
    assert Image.open(io.BytesIO(files["sheet-001.jpg"])).size == (5 * 160, 90)


def test_scenes_go_to_the_output(server, clip):
    output = server.folder / "scenes.json"
    job = done(server, "scenes", clip, output=str(output))
    told = json.loads(output.read_text())
    assert (job["result"]["frames"], job["result"]["count"]) == (250, len(told["boundaries"]))


def test_a_waveform_is_peaks_and_a_picture(server, clip):
    job = done(server, "waveform", clip, width=500, height=100)
    files = contents(server, job)
    peaks = json.loads(files["waveform.json"])
    assert (peaks["version"], peaks["length"], len(peaks["data"])) == (2, 500, 1000)
    assert Image.open(io.BytesIO(files["waveform.png"])).size == (500, 100)


def test_a_preview_goes_to_the_output(server, clip):
    output = server.folder / "clip.webp"
    job = done(server, "preview", clip, output=str(output), segments=2, segment_s=0.5)
    with Image.open(output) as picture:
        assert (picture.format, picture.size, picture.is_animated) == ("WEBP", (480, 270), True)
    assert len(job["result"]["segments"]) == 2


def test_stills_of_a_folder_lie_in_folders_and_a_broken_film_is_told(server, clip):
    films = server.folder / "films"
    films.mkdir()
    (films / "good.mkv").symlink_to(clip)
    (films / "broken.mkv").write_bytes(b"no film")
    job = done(server, "thumbnails", films, count=2, sizes=["64"], format=["jpeg", "avif"])
    assert (job["result"]["count"], job["result"]["failed"], job["result"]["films"][0]["name"]) == (2, 1, "broken")
    assert {artifact["name"] for artifact in job["artifacts"]} == {
        "report.jsonl",
        *(f"good/still-000{number}.{suffix}" for number in (1, 2) for suffix in ("jpg", "avif")),
    }
