"""Metrics and logs of a running server: of all its processes together, whichever answers, and whichever is killed."""

import contextlib
import json
import re
from collections.abc import Iterator

import pytest
from live_server import LiveServer, live_server, until

ASKED = 40


@pytest.fixture(scope="module")
def replicas() -> Iterator[LiveServer]:
    """A server with two replicas of the API, which writes JSON."""
    with live_server(MEDIARAY_API_REPLICAS="2", MEDIARAY_LOG_FORMAT="json", MEDIARAY_SCRAPE_TOKEN="s" * 16) as running:
        yield running


def value(server: LiveServer, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", server.get("/v1/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def asked(server: LiveServer) -> float:
    return value(server, 'mediaray_http_request_seconds_count{method="GET",route="/profiles",status="2xx"}')


def test_requests_to_all_replicas_are_counted_together_and_stay_so_when_one_is_killed(replicas):
    for _ in range(ASKED):
        assert replicas.get("/v1/profiles").status_code == 200
    until(lambda: asked(replicas) == ASKED, 30, lambda: f"{asked(replicas)} of {ASKED}")
    assert {asked(replicas) for _ in range(10)} == {ASKED}  # each replica answers some of these
    victim = replicas.find("replica")[0]
    victim.kill()
    victim.wait(10)
    until(lambda: len(replicas.find("replica")) == 2, 60, lambda: str(replicas.find("replica")))
    replicas.wait_ready()
    assert {asked(replicas) for _ in range(10)} == {ASKED}


def test_a_dispatcher_that_was_killed_is_told_and_the_counts_of_jobs_stay(replicas):
    (replicas.folder / "text.mkv").write_bytes(b"no film at all")
    job = replicas.submit("probe", replicas.folder / "text.mkv")
    replicas.wait(job["id"])
    failed = 'mediaray_jobs_finished_total{operation="probe",state="failed"}'
    assert value(replicas, failed) == 1
    assert replicas.kill("dispatcher")
    until(lambda: value(replicas, 'mediaray_up{part="dispatcher"}') == 1, 60, replicas.log)
    assert value(replicas, failed) == 1


def test_a_sockets_gauge_is_of_all_replicas_and_goes_with_the_sockets(replicas):
    with contextlib.ExitStack() as sockets:
        for _ in range(6):
            sockets.enter_context(replicas.all_events())
        until(lambda: value(replicas, "mediaray_websockets") == 6, 30, lambda: replicas.get("/v1/metrics").text)
    until(lambda: value(replicas, "mediaray_websockets") == 0, 30, lambda: replicas.get("/v1/metrics").text)


def test_the_scrape_token_reads_metrics_alone(replicas):
    headers = {"Authorization": f"Bearer {'s' * 16}"}
    with replicas.client() as client:
        assert client.get("/v1/metrics", headers=headers).status_code == 200
        assert client.get("/v1/jobs", headers=headers).status_code == 401


def test_a_job_can_be_followed_through_the_log_of_all_processes(replicas):
    job = replicas.submit("probe", replicas.folder / "text.mkv", fresh=True)
    replicas.wait(job["id"])

    def lines() -> dict[str, dict[str, str]]:
        text = (replicas.home / "logs" / "up.log").read_text()
        of = [line for line in map(json.loads, text.splitlines()) if line.get("job") == job["id"]]
        return {line["logger"]: line for line in of}

    until(lambda: {"mediaray.worker", "mediaray.dispatcher"} <= lines().keys(), 30, lambda: str(lines()))
    told = lines()
    assert (told["mediaray.worker"]["message"], told["mediaray.worker"]["unit"]) == ("a unit failed", "headers")
    assert told["mediaray.dispatcher"]["operation"] == "probe"
    assert told["mediaray.dispatcher"]["code"] == told["mediaray.worker"]["code"] == job_error(replicas, job["id"])
    assert told["mediaray.worker"]["process"] != told["mediaray.dispatcher"]["process"]


def job_error(server: LiveServer, job_id: str) -> str:
    code: str = server.job(job_id)["error"]["code"]
    return code


def test_no_line_holds_a_secret(replicas):
    text = "".join(file.read_text(errors="replace") for file in (replicas.home / "logs").glob("*.log"))
    passwords = [(replicas.home / name / "password").read_text().strip() for name in ("redis", "cache")]
    assert text
    assert [secret for secret in (*passwords, replicas.token, "s" * 16) if secret in text] == []
