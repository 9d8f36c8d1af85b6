"""What can be wrong with a request: each has a stable code and says what to do, and the server goes on."""

import os
import shutil

import httpx
import pytest


def refused(server, status, code, operation="probe", source="", **params):
    answer = server.post("/v1/jobs", {"operation": operation, "source": str(source), "params": params})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return body["detail"]


def failed(server, code, operation, source, **params):
    job = server.wait(server.submit(operation, source, **params)["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", code), job
    return job["error"]["message"]


def test_no_such_source(server):
    assert "no file" in refused(server, 422, "source_not_found", source=server.folder / "none.mkv")


def test_a_source_outside_the_roots(server):
    assert "roots" in refused(server, 403, "source_outside_roots", source="/etc/passwd")


def test_a_link_that_leads_out_of_the_roots(server):
    link = server.folder / "link.mkv"
    link.symlink_to("/etc/passwd")
    refused(server, 403, "source_outside_roots", source=link)


def test_a_path_with_dots_that_leads_out(server):
    refused(server, 403, "source_outside_roots", source=f"{server.folder}/../home/token")


def test_the_token_can_not_be_read_as_a_source(server):
    refused(server, 403, "source_outside_roots", source=server.home / "token")


def test_zero_bytes(server):
    empty = server.folder / "empty.mp4"
    empty.touch()
    assert "empty" in refused(server, 422, "source_empty", source=empty)


def test_a_folder_is_no_source(server):
    refused(server, 422, "source_not_a_file", source=server.folder)


def test_not_media(server):
    text = server.folder / "text.mp4"
    text.write_text("hello " * 1000)
    failed(server, "not_media", "probe", text)


def test_truncated(server, clip):
    from pipelines.media.sample import make_sample

    whole = server.folder / "sample.mp4"
    make_sample(whole, duration_s=3)
    cut = server.folder / "cut.mp4"
    shutil.copy(whole, cut)
    os.truncate(cut, whole.stat().st_size * 2 // 3)
    job = server.wait(server.submit("transcode", cut, profile="mobile-480p", preset="ultrafast")["id"])
    assert job["state"] == "failed", job
    assert job["error"]["code"] in {"source_truncated", "source_unreadable"}


def test_no_video_stream(server, media):
    failed(server, "no_video_stream", "thumbnails", media / "audio" / "opus_stereo.opus")


def test_an_unknown_operation(server, clip):
    assert "probe" in refused(server, 422, "operation_unknown", "paint", clip)


def test_an_unknown_profile(server, clip):
    assert "web-1080p" in refused(server, 422, "profile_unknown", "transcode", clip, profile="nope")


@pytest.mark.parametrize(
    ("params", "name"),
    [({"crf": 99}, "crf"), ({"height": -1}, "height"), ({"colour": "red"}, "colour"), ({"start": "x"}, "start")],
)
def test_a_parameter_that_is_wrong_is_named(server, clip, params, name):
    assert name in refused(server, 422, "parameter_invalid", "transcode", clip, **params)


def test_an_output_that_exists_unless_overwrite(server, clip):
    target = server.folder / "there.mp4"
    target.write_bytes(b"precious")
    assert "overwrite" in refused(server, 409, "output_exists", "transcode", clip, output=str(target))
    assert target.read_bytes() == b"precious"
    job = server.wait(
        server.submit("transcode", clip, output=str(target), overwrite=True, profile="mobile-480p", preset="ultrafast")[
            "id"
        ]
    )
    assert job["state"] == "succeeded"
    assert target.stat().st_size > 1000


def test_an_output_outside_the_roots(server, clip):
    refused(server, 403, "output_outside_roots", "transcode", clip, output="/etc/film.mp4")


def test_an_output_that_is_the_source(server, clip):
    refused(server, 422, "output_is_source", "transcode", clip, output=str(clip), overwrite=True)


def test_an_output_that_another_job_is_writing(server, long_clip):
    target = str(server.folder / "busy.mp4")
    job = server.submit("transcode", long_clip, output=target, profile="mobile-480p")
    refused(server, 409, "output_in_use", "transcode", long_clip, output=target)
    server.post(f"/v1/jobs/{job['id']}/cancel")
    server.wait(job["id"])


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/x", "/v1/media?source=/x", "/v1/operations", "/v1/openapi.json"]
)
def test_no_token(server, path):
    answer = httpx.get(server.url + path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "Bearer" in answer.headers["www-authenticate"]


def test_no_token_on_a_socket(server):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{server.port}/v1/events")


def test_a_page_of_another_origin(server):
    answer = httpx.get(f"{server.url}/v1/jobs", headers={**server.headers, "Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")


def test_another_name_for_this_host(server):
    answer = httpx.get(f"{server.url}/v1/jobs", headers={**server.headers, "Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (421, "host_refused")


def test_a_body_that_is_too_large(server):
    answer = server.post("/v1/jobs", {"operation": "probe", "source": "x" * (2 << 20)})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body", [[], {"operation": "probe"}, {"operation": "probe", "sources": ["/a", "/b"]}, {"x": 1}]
)
def test_a_body_of_the_wrong_shape(server, body):
    answer = server.post("/v1/jobs", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["none.mp4", "..%2F..%2Ftoken", "%2e%2e"])
def test_an_artifact_that_is_not_there(server, clip, name):
    job = server.wait(server.submit("probe", clip)["id"])
    assert server.get(f"/v1/jobs/{job['id']}/artifacts/{name}").status_code == 404


def test_the_server_still_works(server, clip):
    assert server.wait(server.submit("probe", clip)["id"])["state"] == "succeeded"
