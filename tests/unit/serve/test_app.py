"""The edge's routes, with a real store; the registry and the lane are in process."""

import json
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect
from unit.pipelines.jobs.makers import short_folder
from unit.serve.edge import WS_BASE, make_edge, problem

from cluster.redis_server import PrivateRedis
from pipelines.jobs.models import Artifact, JobError, State
from pipelines.jobs.served_media import MediaText

# Who comes in


@pytest.mark.parametrize("given", [None, "Bearer wrong"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/operations", "/v1/openapi.json", "/v1/nothing", "/"])
def test_without_the_token_nothing_is_told(edge, path, given):
    edge.client.headers.pop("Authorization")
    answer = edge.client.get(path, headers={"Authorization": given} if given else {})
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_another_host_is_refused(edge):
    assert problem(edge.client.get("/v1/jobs", headers={"Host": "evil.example"})) == (421, "host_refused")


def test_a_foreign_page_is_refused(edge):
    answer = edge.client.get("/v1/jobs", headers={"Origin": "https://evil.example"})
    assert problem(answer) == (403, "origin_refused")


def test_a_body_too_large_is_refused(edge):
    assert problem(edge.client.post("/v1/jobs", content=b"x" * ((1 << 20) + 1))) == (413, "body_too_large")


def test_a_body_too_large_that_hides_its_length_creates_nothing(edge):
    def parts():
        yield b'{"operation": "copy", "source": "'
        for _ in range(20):
            yield b"x" * (1 << 16)

    assert edge.client.post("/v1/jobs", content=parts()).status_code >= 400
    assert edge.client.get("/v1/jobs").json()["jobs"] == []


# Jobs


def test_an_accepted_job_is_told_with_its_links(edge):
    answer = edge.submit(params={"level": 2}, priority="high")
    job = answer.json()
    assert answer.status_code == 202
    assert (job["state"], job["priority"], job["params"], job["progress"]) == ("queued", "high", {"level": 2}, 0.0)
    assert edge.client.get(job["links"]["self"]).json()["id"] == job["id"]


def test_the_same_idempotency_key_is_the_same_job(edge):
    assert edge.job(key="k") == edge.job(key="k")
    assert problem(edge.submit(key="k", priority="low"))[0] in (409, 422)


def test_a_reused_key_is_a_conflict(edge):
    edge.job(key="k")
    assert edge.submit(key="k", params={"level": 5}).json()["code"] == "idempotency_key_reused"


def test_a_key_too_long_is_refused(edge):
    assert problem(edge.submit(key="k" * 201)) == (422, "request_invalid")


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "operation"),
        ({"operation": "copy", "colour": "red"}, "colour"),
        ({"operation": "copy", "source": "/x", "priority": "soon"}, "priority"),
        ({"operation": "copy", "sources": "/x"}, "sources"),
    ],
)
def test_a_request_of_the_wrong_shape_names_what_is_wrong(edge, body, parameter):
    answer = edge.client.post("/v1/jobs", json=body)
    assert problem(answer) == (422, "request_invalid")
    assert [each["parameter"] for each in answer.json()["problems"]] == [parameter]


def test_a_body_that_is_no_json_is_told_as_such(edge):
    answer = edge.client.post("/v1/jobs", content=b"{'a'", headers={"Content-Type": "application/json"})
    assert problem(answer) == (422, "request_invalid")
    assert answer.json()["detail"].startswith("Wrong request: body: no JSON (")
    assert [each["parameter"] for each in answer.json()["problems"]] == [""]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_a_body_that_isn_t_a_job_is_refused(edge, body):
    assert problem(edge.client.post("/v1/jobs", content=body))[0] in (400, 422)


def test_a_wrong_parameter_is_named(edge):
    answer = edge.submit(params={"level": 99})
    assert problem(answer) == (422, "parameter_invalid")
    assert [each["parameter"] for each in answer.json()["problems"]] == ["level"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"operation": "melt"}, (422, "operation_unknown")),
        ({"source": "/etc/passwd"}, (403, "source_outside_roots")),
        ({"source": "film.mkv"}, (422, "source_invalid")),
        ({"source": "https://example.org/a"}, (422, "scheme_unsupported")),
        ({"source": "file:///a%00b"}, (422, "source_invalid")),
        ({"params": {"output": "/etc/out.mkv"}}, (403, "output_outside_roots")),
        ({"source": None, "sources": []}, (422, "sources_invalid")),
    ],
)
def test_what_can_t_be_done_says_why(edge, changes, expected):
    assert problem(edge.submit(**changes)) == expected


def test_an_output_that_exists_is_a_conflict(edge):
    output = str(edge.films / "there.mkv")
    Path(output).write_bytes(b"x")
    assert problem(edge.submit(params={"output": output})) == (409, "output_exists")


def test_an_output_in_use_is_a_conflict(edge):
    params = {"output": str(edge.films / "out.mkv")}
    edge.job(params=params)
    assert problem(edge.submit(params=params)) == (409, "output_in_use")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/retry"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/a"),
        ("GET", "/events"),
    ],
)
def test_an_unknown_job_is_not_found(edge, method, path):
    assert problem(edge.client.request(method, f"/v1/jobs/none{path}")) == (404, "job_not_found")


def test_the_priority_of_an_unknown_job_is_not_found(edge):
    assert problem(edge.client.patch("/v1/jobs/none", json={"priority": "low"})) == (404, "job_not_found")


def test_jobs_are_listed_newest_first_in_pages(edge):
    ids = [edge.job() for _ in range(3)]
    first = edge.client.get("/v1/jobs", params={"limit": 2}).json()
    rest = edge.client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == sorted(ids, reverse=True)


def test_jobs_are_listed_by_state_and_operation(edge):
    copy, look = edge.job(), edge.job(operation="look")
    edge.end(copy)
    listed = edge.client.get("/v1/jobs", params={"state": "failed"}).json()["jobs"]
    assert [job["id"] for job in listed] == [copy]
    assert edge.client.get("/v1/jobs", params={"operation": "look"}).json()["jobs"][0]["id"] == look


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"state": "melted"}, {"cursor": "x" * 65}])
def test_a_listing_asked_for_wrongly_is_refused(edge, query):
    assert problem(edge.client.get("/v1/jobs", params=query)) == (422, "request_invalid")


@pytest.mark.parametrize(("action", "want"), [("cancel", "cancel"), ("pause", "pause"), ("resume", "run")])
def test_what_is_wanted_of_a_job_reaches_the_store(edge, action, want):
    job_id = edge.job()
    assert edge.client.post(f"/v1/jobs/{job_id}/{action}").status_code == 202
    assert edge.do(edge.store.get, job_id).want == want


def test_a_finished_job_can_t_be_steered(edge):
    job_id = edge.job()
    edge.end(job_id)
    assert problem(edge.client.post(f"/v1/jobs/{job_id}/cancel")) == (409, "job_finished")


def test_the_priority_can_be_changed(edge):
    answer = edge.client.patch(f"/v1/jobs/{edge.job()}", json={"priority": "urgent"})
    assert answer.json()["priority"] == "urgent"


def test_a_failed_job_is_retried_as_a_new_one(edge):
    job_id = edge.job()
    assert problem(edge.client.post(f"/v1/jobs/{job_id}/retry")) == (409, "job_active")
    edge.end(job_id, error={"code": "encode_failed", "message": "No."})
    retried = edge.client.post(f"/v1/jobs/{job_id}/retry")
    assert (retried.status_code, retried.json()["retry_of"], retried.json()["attempt"]) == (202, job_id, 2)


def test_a_failed_job_tells_its_error(edge):
    job_id = edge.job()
    edge.end(job_id, error={"code": "encode_failed", "message": "No.", "unit": "a"})
    error = edge.client.get(f"/v1/jobs/{job_id}").json()["error"]
    assert (error["code"], error["message"], error["unit"]) == ("encode_failed", "No.", "a")


def test_only_a_finished_job_is_deleted(edge):
    job_id = edge.job()
    assert problem(edge.client.delete(f"/v1/jobs/{job_id}")) == (409, "job_active")
    edge.end(job_id)
    assert edge.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert edge.client.get(f"/v1/jobs/{job_id}").status_code == 404


def test_a_succeeded_job_is_whole(edge):
    job = edge.client.get(f"/v1/jobs/{edge.done()}").json()
    assert (job["progress"], job["result"], job["eta_s"]) == (1.0, {"text": "done"}, None)
    assert job["finished_at"].endswith("Z")


def test_a_plan_is_told_without_a_job(edge):
    body = {"operation": "copy", "source": str(edge.films / "film.mkv")}
    plan = edge.client.post("/v1/plans", json=body).json()
    assert (plan["operation"], plan["explain"]) == ("copy", {"why": "because"})
    assert edge.client.get("/v1/jobs").json()["jobs"] == []


def test_a_source_the_lane_refuses_is_told(edge):
    edge.lane.answer = JobError(code="not_media", message="No media.")
    answer = edge.client.get("/v1/media", params={"source": str(edge.films / "film.mkv")})
    assert problem(answer) == (422, "not_media")


def test_media_is_told_as_the_lane_has_it(edge):
    edge.lane.answer = MediaText('{"duration_s": 1.5}', "")
    answer = edge.client.get("/v1/media", params={"source": str(edge.films / "film.mkv")})
    assert (answer.json(), answer.headers["content-type"]) == ({"duration_s": 1.5}, "application/json")


def test_the_cache_forgets_what_is_named(edge):
    for named in ({"source": str(edge.films / "film.mkv")}, {"operation": "copy"}):
        assert edge.client.delete("/v1/cache", params=named).status_code == 204
    assert problem(edge.client.delete("/v1/cache")) == (422, "parameter_invalid")
    assert problem(edge.client.delete("/v1/cache", params={"operation": "cpoy"})) == (422, "operation_unknown")
    assert problem(edge.client.delete("/v1/cache", params={"collection": "none"})) == (404, "collection_not_found")
    assert problem(edge.client.delete("/v1/cache", params={"source": "/etc/passwd"})) == (403, "source_outside_roots")


def test_health_tells_how_the_cache_is(edge):
    assert {"hits", "misses", "size_bytes"} <= edge.client.get("/v1/health").json()["cache"].keys()


def test_no_source_is_refused(edge):
    assert problem(edge.client.get("/v1/media", params={"source": ""})) == (422, "source_invalid")


def test_the_catalogue_has_schemas(edge):
    operations = {each["name"]: each for each in edge.client.get("/v1/operations").json()["operations"]}
    assert set(operations) == {"copy", "look", "pair", "split"}
    assert "level" in operations["copy"]["params_schema"]["properties"]
    assert "web-1080p" in [each["name"] for each in edge.client.get("/v1/profiles").json()["profiles"]]


def test_an_unknown_path_and_a_wrong_method_are_problems(edge):
    assert problem(edge.client.get("/v1/nothing")) == (404, "not_found")
    assert problem(edge.client.put("/v1/jobs")) == (405, "method_not_allowed")


# Health


def test_liveness_needs_no_token(edge):
    edge.client.headers.pop("Authorization")
    assert edge.client.get("/v1/health/live").json() == {"status": "ok"}


@pytest.mark.parametrize("name", ["store", "registry"])
def test_readiness_needs_store_and_registry(edge, name):
    assert edge.client.get("/v1/health/ready").status_code == 200
    edge.checks[name] = "away"
    answer = edge.client.get("/v1/health/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_health_counts_jobs(edge):
    edge.job()
    assert edge.client.get("/v1/health").json()["jobs"]["queued"] == 1


# A store that is away


def test_a_store_that_is_away_is_not_available_for_now_and_back_when_it_is(tmp_path):
    with short_folder() as folder:
        server = PrivateRedis("redis", folder, folder, ["appendonly yes", "appendfsync always"])
        server.spawn()
        server.wait_ready()
        edge = make_edge(server.url, tmp_path)
        with edge.client:
            job_id = edge.job()
            server.stop()
            for answer in (edge.submit(), edge.client.get("/v1/jobs"), edge.client.get(f"/v1/jobs/{job_id}")):
                assert problem(answer) == (503, "store_unavailable")
                assert answer.headers["retry-after"] == "1"
            server.spawn()
            server.wait_ready()
            assert edge.client.get(f"/v1/jobs/{job_id}").status_code == 200
            edge.do(edge.store.close)
        server.stop()


# Artifacts


def test_an_artifact_is_sent_with_its_type(edge):
    job_id = edge.done()
    (listed,) = edge.client.get(f"/v1/jobs/{job_id}/artifacts").json()["artifacts"]
    answer = edge.client.get(listed["url"])
    assert (answer.content, answer.headers["content-type"]) == (b"0123456789", "video/mp4")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"


def test_artifacts_are_listed_a_page_at_a_time(edge):
    made = [Artifact(name=f"{number:03d}.jpg", path=f"/{number}", size_bytes=1) for number in range(120)]
    job_id = edge.job()
    edge.end(job_id, State.SUCCEEDED, artifacts=made)
    job = edge.client.get(f"/v1/jobs/{job_id}").json()
    assert (len(job["artifacts"]), job["artifact_count"]) == (50, 120)
    page = edge.client.get(f"/v1/jobs/{job_id}/artifacts", params={"limit": 100}).json()
    rest = edge.client.get(f"/v1/jobs/{job_id}/artifacts", params={"cursor": page["next_cursor"]}).json()
    assert [each["name"] for each in page["artifacts"] + rest["artifacts"]] == [each.name for each in made]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("name", ["a b.mp4", "é.mp4", "50%.mp4", "a?b#c.mp4"])
def test_an_artifact_of_any_name_is_found_by_its_link(edge, name):
    job_id = edge.done(name=name)
    (listed,) = edge.client.get(f"/v1/jobs/{job_id}/artifacts").json()["artifacts"]
    assert edge.client.get(listed["url"]).content == b"0123456789"


@pytest.mark.parametrize(
    ("asked", "content", "told"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_a_range_of_an_artifact(edge, asked, content, told):
    answer = edge.client.get(f"/v1/jobs/{edge.done()}/artifacts/film.mp4", headers={"Range": asked})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, content, told)


def test_a_range_beyond_the_end_can_t_be_satisfied(edge):
    answer = edge.client.get(f"/v1/jobs/{edge.done()}/artifacts/film.mp4", headers={"Range": "bytes=10-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"].endswith("*/10")


def test_an_artifact_a_client_has_already_is_not_sent_again(edge):
    url = f"/v1/jobs/{edge.done()}/artifacts/film.mp4"
    etag = edge.client.get(url).headers["etag"]
    again = edge.client.get(url, headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert edge.client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_changed_artifact_has_another_etag(edge):
    url = f"/v1/jobs/{edge.done()}/artifacts/film.mp4"
    before = edge.client.get(url).headers["etag"]
    (edge.films / "film.mp4").write_bytes(b"another film")
    assert edge.client.get(url).headers["etag"] != before


def test_a_range_of_another_version_is_answered_with_the_whole(edge):
    headers = {"Range": "bytes=0-1", "If-Range": '"other"'}
    answer = edge.client.get(f"/v1/jobs/{edge.done()}/artifacts/film.mp4", headers=headers)
    assert (answer.status_code, len(answer.content)) == (200, 10)


def test_an_artifact_that_isn_t_there_is_told(edge):
    job_id = edge.done()
    (edge.films / "film.mp4").unlink()
    assert problem(edge.client.get(f"/v1/jobs/{job_id}/artifacts/none")) == (404, "artifact_not_found")
    assert problem(edge.client.get(f"/v1/jobs/{job_id}/artifacts/film.mp4")) == (410, "artifact_gone")


# Events


def test_a_web_socket_gets_a_snapshot_then_events_and_is_closed_at_the_end(edge):
    job_id = edge.job()
    edge.tell(job_id, "queued")
    with edge.watch(job_id) as socket:
        assert socket.receive_json()["type"] == "snapshot"
        edge.tell(job_id, "running")
        edge.do(edge.registry.progress, job_id, 0.5)
        edge.tell(job_id, "succeeded")
        events = [socket.receive_json() for _ in range(3)]
        assert [(e["type"], e["seq"], e["state"], e["progress"]) for e in events] == [
            ("state", 2, "running", 0.0),
            ("progress", 3, "running", 0.5),
            ("state", 4, "succeeded", 1.0),
        ]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1000


def test_a_web_socket_that_comes_back_misses_nothing(edge):
    job_id = edge.job()
    edge.tell(job_id, "queued")
    with edge.watch(job_id) as socket:
        seen = socket.receive_json()
    for state in ("running", "verifying"):
        edge.tell(job_id, state)
    with edge.watch(job_id, f"{seen['epoch']}:{seen['seq']}") as socket:
        assert [socket.receive_json()["seq"] for _ in range(2)] == [2, 3]


@pytest.mark.parametrize("since", ["5:999", "4:1", "nonsense"])
def test_a_web_socket_with_a_position_nobody_knows_gets_a_snapshot(edge, since):
    job_id = edge.job()
    edge.tell(job_id, "queued")
    with edge.watch(job_id, since) as socket:
        assert socket.receive_json()["type"] == "snapshot"


def test_a_web_socket_for_a_finished_job_gets_its_end(edge):
    job_id = edge.done()
    with edge.watch(job_id) as socket:
        assert socket.receive_json()["state"] == "succeeded"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1000


def test_a_web_socket_for_an_unknown_job_is_closed_with_a_reason(edge):
    with edge.watch("none") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    assert (closed.value.code, closed.value.reason) == (4404, "There is no job none.")


def test_what_a_client_says_is_ignored(edge):
    job_id = edge.job()
    edge.tell(job_id, "queued")
    with edge.watch(job_id) as socket:
        socket.receive_json()
        socket.send_text("hello")
        socket.send_bytes(b"\x00")
        edge.tell(job_id, "running")
        assert socket.receive_json()["state"] == "running"


def test_a_web_socket_without_the_token_is_refused(edge):
    edge.client.headers.pop("Authorization")
    with pytest.raises(WebSocketDisconnect) as closed, edge.watch("any"):
        pass
    assert closed.value.code == 1008


def test_all_jobs_states_are_told_on_one_socket_and_it_can_go_on(edge):
    first = edge.job()
    with edge.client.websocket_connect(f"{WS_BASE}/v1/events?since=0-0") as socket:
        told = socket.receive_json()
        assert (told["job_id"], told["state"]) == (first, "queued")
    second = edge.job()
    with edge.client.websocket_connect(f"{WS_BASE}/v1/events?since={told['cursor']}") as socket:
        assert socket.receive_json()["job_id"] == second


def test_a_socket_with_a_cursor_that_is_none_is_refused(edge):
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        edge.client.websocket_connect(f"{WS_BASE}/v1/events?since=nonsense"),
    ):
        pass
    assert closed.value.code == 1008


def test_server_sent_events_have_ids_to_go_on_from(edge):
    job_id = edge.job()
    for state in ("queued", "running", "succeeded"):
        edge.tell(job_id, state)
    answer = edge.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "5:1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    assert [block[0] for block in blocks] == ["id: 5:2", "id: 5:3"]
    assert [block[1] for block in blocks] == ["event: state", "event: state"]
    assert json.loads(blocks[-1][2].removeprefix("data: "))["state"] == "succeeded"


def test_a_job_tells_its_live_progress(edge):
    job_id = edge.job()
    edge.tell(job_id, "running")
    edge.do(edge.registry.progress, job_id, 0.5)
    with edge.watch(job_id) as socket:  # its snapshot tells that the feed has heard of it
        assert socket.receive_json()["progress"] == 0.5
        edge.do(edge.registry.progress, job_id, 0.6)
        assert socket.receive_json()["progress"] == 0.6
    assert edge.client.get(f"/v1/jobs/{job_id}").json()["progress"] == 0.6


def test_a_cursor_that_is_none_is_told(edge):
    answer = edge.client.get("/v1/jobs?cursor=garbage")
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
