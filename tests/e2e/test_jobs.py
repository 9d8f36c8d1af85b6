"""Jobs over real HTTP, from the request to the published file."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from clips import frames_and_duration
from live_server import until


def test_a_probe_tells_what_is_in_the_file(server, clip):
    job = server.wait(server.submit("probe", clip)["id"])
    assert job["state"] == "succeeded"
    video = next(stream for stream in job["result"]["streams"] if stream["kind"] == "video")
    assert (video["width"], video["height"], video["codec"], video["frame_rate"]) == (640, 360, "mpeg4", "25")


def test_a_transcode_publishes_a_whole_file_of_all_frames(server, clip):
    target = server.folder / "whole.mp4"
    job = server.wait(server.submit("transcode", clip, profile="mobile-480p", output=str(target))["id"])
    assert job["state"] == "succeeded", job["error"]
    assert frames_and_duration(target) == (250, 9.96)
    assert [artifact["path"] for artifact in job["artifacts"]] == [str(target)]


def test_thumbnails_are_pictures_of_the_asked_size(server, clip):
    from PIL import Image

    job = server.wait(server.submit("thumbnails", clip, count=3, sizes=["160"])["id"])
    assert job["state"] == "succeeded", job["error"]
    sizes = [Image.open(artifact["path"]).size for artifact in job["artifacts"]]
    assert sizes == [(160, 90)] * 3


def test_without_output_the_artifact_is_kept_with_the_job_and_goes_with_it(server, clip):
    job = server.wait(server.submit("thumbnails", clip, count=1)["id"])
    path = Path(job["artifacts"][0]["path"])
    assert path.is_relative_to(server.home)
    assert httpx.delete(f"{server.url}/v1/jobs/{job['id']}", headers=server.headers).status_code == 204
    assert not path.exists()
    assert server.get(f"/v1/jobs/{job['id']}").status_code == 404


def test_the_same_key_is_the_same_job_and_another_body_is_refused(server, clip):
    key = str(uuid.uuid4())
    first = server.submit("probe", clip, key=key)
    again = server.submit("probe", clip, key=key)
    other = server.post("/v1/jobs", {"operation": "thumbnails", "source": str(clip)}, headers={"Idempotency-Key": key})
    assert again["id"] == first["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_twenty_requests_with_one_key_at_once_make_one_job(server, clip):
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: server.submit("probe", clip, key=key)["id"], range(20)))
    assert len(ids) == 1


def test_cancel_ends_a_running_transcode_with_its_processes_and_leaves_nothing(server, long_clip):
    target = server.folder / "cancelled.mp4"
    job = server.submit("transcode", long_clip, profile="mobile-480p", preset="slow", output=str(target))
    server.wait(job["id"], states={"running"})
    until(lambda: bool(busy_children(server)), 30, lambda: "no child encodes")
    server.post(f"/v1/jobs/{job['id']}/cancel")
    assert server.wait(job["id"])["state"] == "cancelled"
    assert not target.exists()
    assert server.part_files() == []
    assert busy_children(server) == []


def busy_children(server):
    """Children that hold a scratch file open: those that write a film."""
    return [child for child in server.find("child") if any("/scratch/" in opened.path for opened in child.open_files())]


def test_pause_gives_the_cpus_back_and_resume_finishes(server, long_clip):
    target = server.folder / "paused.mp4"
    job = server.submit("transcode", long_clip, profile="mobile-480p", preset="veryfast", output=str(target))
    server.wait(job["id"], states={"running"})
    server.post(f"/v1/jobs/{job['id']}/pause")
    server.wait(job["id"], states={"paused", "succeeded"})
    assert busy_children(server) == []
    server.post(f"/v1/jobs/{job['id']}/resume")
    assert server.wait(job["id"])["state"] == "succeeded"


def test_a_failed_job_is_retried_as_a_new_one(server):
    source = server.folder / "late.mkv"
    source.write_bytes(b"this is no film" * 100)
    job = server.wait(server.submit("probe", source)["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "not_media")
    again = server.post(f"/v1/jobs/{job['id']}/retry").json()
    assert (again["retry_of"], again["attempt"]) == (job["id"], 2)
    assert server.wait(again["id"])["state"] == "failed"


def test_a_finished_job_takes_no_more_orders(server, clip):
    job = server.wait(server.submit("probe", clip)["id"])
    for order in ("cancel", "pause", "resume"):
        answer = server.post(f"/v1/jobs/{job['id']}/{order}")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_finished")


def test_jobs_are_listed_newest_first_in_pages(server, clip):
    ids = [server.submit("probe", clip)["id"] for _ in range(5)]
    listed, cursor = [], ""
    while len(listed) < 5:
        page = server.get(f"/v1/jobs?operation=probe&limit=2&cursor={cursor}").json()
        listed += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert listed[:5] == ids[::-1]


def test_an_explained_job_tells_its_units_and_does_nothing(server, clip):
    target = server.folder / "explained.mp4"
    answer = server.post(
        "/v1/plans",
        {"operation": "transcode", "source": str(clip), "params": {"profile": "web-720p", "output": str(target)}},
    )
    assert answer.status_code == 200, answer.text
    assert [stream["action"] for stream in answer.json()["explain"]["streams"]] == ["encode", "encode"]
    assert not target.exists()


def test_a_film_can_be_fetched_in_ranges_and_is_not_sent_twice(server, clip):
    job = server.wait(server.submit("transcode", clip, profile="mobile-480p", preset="ultrafast")["id"])
    url = job["artifacts"][0]["url"]
    whole = server.get(url)
    part = httpx.get(server.url + url, headers={**server.headers, "Range": "bytes=100-199"})
    same = httpx.get(server.url + url, headers={**server.headers, "If-None-Match": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert (same.status_code, same.content) == (304, b"")


def test_events_are_numbered_without_holes_and_end_with_the_job(server, clip):
    job = server.submit("transcode", clip, profile="mobile-480p", output=str(server.folder / "ev.mp4"))
    with server.events(job["id"]) as socket:
        events = [json.loads(text) for text in socket]
    assert events[-1]["state"] == "succeeded"
    assert events[0]["type"] == "snapshot"
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)


def test_a_reconnect_goes_on_where_it_left(server, clip):
    job = server.submit("transcode", clip, profile="mobile-480p", output=str(server.folder / "re.mp4"))
    with server.events(job["id"]) as socket:
        first = [json.loads(socket.recv()) for _ in range(4)]
    last = first[-1]
    with server.events(job["id"], since=f"{last['epoch']}:{last['seq']}") as socket:
        rest = [json.loads(text) for text in socket]
    assert rest[0]["seq"] == last["seq"] + 1 or rest[0]["type"] == "snapshot"
    assert rest[-1]["state"] == "succeeded"


def test_the_same_events_come_as_server_sent_events(server, clip):
    job = server.submit("probe", clip)
    with httpx.stream("GET", f"{server.url}/v1/jobs/{job['id']}/events", headers=server.headers) as answer:
        lines = list(answer.iter_lines())
    last = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")][-1]
    assert last["state"] == "succeeded"
    assert any(line.startswith("id: ") for line in lines)


def test_the_feed_of_all_jobs_tells_each_change_of_state(server, clip):
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/v1/events", additional_headers=server.headers) as socket:
        found = []
        reader = threading.Thread(target=lambda: found.extend(_states(socket, job_id)), daemon=True)
        job_id = server.submit("probe", clip)["id"]
        reader.start()
        reader.join(30)
    assert found[0] == "queued"
    assert found[-1] == "succeeded"


def _states(socket, job_id):
    for text in socket:
        event = json.loads(text)
        if event["job_id"] == job_id:
            yield event["state"]
            if event["state"] == "succeeded":
                return


def test_media_is_told_from_the_cache_the_second_time(server, clip):
    first = server.get("/v1/media", params={"source": str(clip)})
    second = server.get("/v1/media", params={"source": str(clip)})
    assert first.status_code == 200, first.text
    assert second.json() == first.json()


@pytest.mark.parametrize("operation", ["probe", "transcode", "thumbnails"])
def test_the_catalogue_has_the_schemas_of_every_operation(server, operation):
    found = {each["name"]: each for each in server.get("/v1/operations").json()["operations"]}
    assert found[operation]["params_schema"]["type"] == "object"
    assert found[operation]["result_schema"]["properties"]
