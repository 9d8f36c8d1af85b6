"""Two films compared over a real server."""

import csv
from pathlib import Path

import media_factory as factory
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def films(server):
    """A film of two seconds, encoded coarsely, and its reference."""
    pictures = factory.whole_pictures(50, step=3)
    reference = factory.write_video(server.folder / "reference.mkv", pictures, gop=12)
    distorted = factory.write_video(
        server.folder / "distorted.mp4", pictures, options={"crf": "38", "preset": "veryfast"}
    )
    return distorted, reference


def submitted(server, films, **params):
    return server.post("/v1/jobs", {"operation": "compare", "sources": list(map(str, films)), "params": params})


def test_scores_curve_and_stills_of_two_films(server, films):
    job = server.wait(submitted(server, films, moments=1).json()["id"])
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert (result["verdict"], result["frames"]["compared"], len(result["curve"])) == ("same", 50, 50)
    assert 0 < result["vmaf"]["min"] <= result["vmaf"]["mean"] < 97
    names = {artifact["name"]: artifact["path"] for artifact in job["artifacts"]}
    assert set(names) == {"frames.csv", "worst-01-reference.jpg", "worst-01-distorted.jpg"}
    assert Image.open(names["worst-01-distorted.jpg"]).size == (96, 64)
    with Path(names["frames.csv"]).open() as lines:
        assert len(list(csv.DictReader(lines))) == 50


def test_artifacts_go_where_the_output_says(server, films):
    job = server.wait(submitted(server, films, moments=0, output=str(server.folder / "compared")).json()["id"])
    assert [artifact["path"] for artifact in job["artifacts"]] == [str(server.folder / "compared" / "frames.csv")]


def test_other_films_are_told_without_scores(server, films):
    other = factory.write_video(server.folder / "other.mkv", factory.moving_pictures(50))
    job = server.wait(submitted(server, (films[0], other)).json()["id"])
    assert (job["state"], job["result"]["verdict"], job["result"]["vmaf"]) == ("succeeded", "different", None)
    assert job["artifacts"] == []


@pytest.mark.parametrize("count", [1, 3])
def test_it_takes_two_films(server, films, count):
    answer = submitted(server, [*films, films[0]][:count])
    assert (answer.status_code, answer.json()["code"]) == (422, "sources_invalid")
    assert "distorted, then reference" in answer.json()["detail"]


def test_a_reference_outside_the_roots_is_refused(server, films):
    answer = submitted(server, (films[0], "/etc/passwd"))
    assert (answer.status_code, answer.json()["code"]) == (403, "source_outside_roots")


def test_a_film_without_pictures_fails_the_job(server, films):
    sound = factory.write_sound(server.folder / "sound.wav", [(0, factory.tone(1, -20))])
    job = server.wait(submitted(server, (sound, films[1])).json()["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "no_video_stream")


def test_the_plan_tells_offset_and_pieces(server, films):
    answer = server.post("/v1/plans", {"operation": "compare", "sources": list(map(str, films)), "params": {}})
    explain = answer.json()["explain"]
    assert (explain["alignment"]["offset_s"], explain["reference_frames"]) == (0.0, 50)
