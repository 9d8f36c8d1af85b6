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
