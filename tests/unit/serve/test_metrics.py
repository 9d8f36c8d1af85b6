import asyncio
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from unit.serve.edge import AT, NO_BACKUP, Edge

from cluster.metrics import REGISTRY
from pipelines.jobs.models import State, rfc3339
from serve.metrics import Timed, note_push
from serve.views import BackupHealth


def told(edge: Edge) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = edge.client.get("/v1/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(edge: Edge, name: str, **labels: str) -> float | None:
    return told(edge).get((name, frozenset(labels.items())))


def requests(route: str, status: str, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("mediaray_http_request_seconds_count", labels) or 0.0


def test_jobs_are_counted_as_they_are_accepted_and_end(edge):
    job_id = edge.job()
    edge.job(source=str(edge.films / "film.mkv"))
    edge.end(job_id, State.FAILED)
    found = told(edge)

    def of(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert of("mediaray_jobs_submitted_total", operation="copy") == 2
    assert of("mediaray_jobs_finished_total", operation="copy", state="failed") == 1
    assert of("mediaray_jobs_finished_total", operation="copy", state="succeeded") == 0


def test_an_end_of_each_operation_is_told_before_the_first(edge):
    assert value(edge, "mediaray_jobs_finished_total", operation="look", state="failed") == 0


def test_all_parts_are_up(edge):
    assert [value(edge, "mediaray_up", part=part) for part in ("store", "dispatcher", "registry", "cache")] == [1] * 4


def test_a_dispatcher_that_is_away_is_told_and_the_rest_with_it(edge):
    edge.checks["dispatcher"] = "away"
    assert value(edge, "mediaray_up", part="dispatcher") == 0
    assert value(edge, "mediaray_cpus") is None
    assert value(edge, "mediaray_jobs_quarantined") == 0


def test_how_long_the_queue_is_comes_from_the_dispatcher(edge):
    assert value(edge, "mediaray_queue_oldest_seconds", priority="urgent") == 0
    assert value(edge, "mediaray_cpus") == 2


def test_a_request_is_timed_by_the_template_of_its_route(edge):
    before = requests("/jobs/{job_id}", "4xx")
    edge.client.get("/v1/jobs/01a204e4-a2ed-706a-b185-8e8af06e28c9")
    edge.client.get("/v1/jobs/01a204e4-a2ed-706a-b185-8e8af06e28c8")
    assert requests("/jobs/{job_id}", "4xx") == before + 2


def test_what_no_route_takes_has_no_route(edge):
    before = requests("none", "4xx")
    edge.client.get("/v1/made/up/by/somebody")
    edge.client.get("/v1/metrics", headers={"Authorization": "Bearer wrong"})
    assert requests("none", "4xx") == before + 2


def test_a_bug_is_an_error_of_the_server_s(edge, monkeypatch):
    async def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(edge.lane, "plan", fail)
    before = requests("/plans", "5xx", "POST")
    body = {"operation": "copy", "source": str(edge.films / "film.mkv")}
    assert edge.client.post("/v1/plans", json=body).status_code == 500
    assert requests("/plans", "5xx", "POST") == before + 1


def test_a_method_that_somebody_makes_up_is_no_label(edge):
    before = requests("none", "4xx", "other")
    edge.client.request("BREW", "/v1/coffee")
    assert requests("none", "4xx", "other") == before + 1


def test_no_label_holds_what_a_client_sent(edge):
    secret = "somebodys-film"
    (edge.films / f"{secret}.mkv").write_bytes(b"film")
    job_id = edge.job(source=str(edge.films / f"{secret}.mkv"))
    edge.client.get(f"/v1/jobs/{job_id}?{secret}={secret}")
    edge.client.get(f"/v1/jobs?operation={secret}")
    text = edge.client.get("/v1/metrics").text
    assert secret not in text
    assert job_id not in text


def test_open_sockets_are_counted(edge):
    job_id = edge.job()
    edge.tell(job_id, "running")
    with edge.watch(job_id) as socket:
        socket.receive_json()
        assert REGISTRY.get_sample_value("mediaray_websockets") == 1


def test_a_socket_that_was_refused_isn_t_counted():
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1008})

    async def send(_message: Any) -> None:
        assert (REGISTRY.get_sample_value("mediaray_websockets") or 0) == 0

    asyncio.run(Timed(refuse)({"type": "websocket"}, send, send))


def test_a_socket_that_broke_isn_t_open():
    before = REGISTRY.get_sample_value("mediaray_websockets")

    async def breaks(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise OSError("gone")

    async def send(_message: Any) -> None: ...

    with pytest.raises(OSError, match="gone"):
        asyncio.run(Timed(breaks)({"type": "websocket"}, send, send))
    assert REGISTRY.get_sample_value("mediaray_websockets") == before


def pushes(kind: str) -> float:
    return REGISTRY.get_sample_value("mediaray_push_seconds_count", {"type": kind}) or 0.0


def test_an_event_that_is_sent_is_timed_from_its_report(edge):
    before = pushes("state")
    job_id = edge.job()
    with edge.watch(job_id) as socket:
        socket.receive_json()
        edge.tell(job_id, "running")
        socket.receive_json()
        edge.tell(job_id, "verifying")
        socket.receive_json()
    assert pushes("state") > before


def test_progress_is_timed_by_the_report_and_only_where_that_is_known():
    before = pushes("progress")
    note_push({"type": "progress", "at": rfc3339(AT)})
    assert pushes("progress") == before
    note_push({"type": "progress", "at": rfc3339(AT), "reported_at": rfc3339(AT)})
    assert pushes("progress") == before + 1


def test_a_snapshot_stands_for_what_was_and_isn_t_timed():
    before = pushes("state") + pushes("progress")
    note_push({"type": "snapshot", "at": rfc3339(AT)})
    assert pushes("state") + pushes("progress") == before


def test_a_clock_that_is_ahead_counts_as_no_time(edge):
    before = REGISTRY.get_sample_value("mediaray_push_seconds_sum", {"type": "progress"}) or 0.0
    note_push({"type": "progress", "reported_at": rfc3339(4_000_000_000_000)})
    assert REGISTRY.get_sample_value("mediaray_push_seconds_sum", {"type": "progress"}) == before


def test_the_scrape_token_is_good_for_metrics_alone(edge):
    headers = {"Authorization": "Bearer scrape-token"}
    assert edge.client.get("/v1/metrics", headers=headers).status_code == 200
    assert edge.client.get("/v1/jobs", headers=headers).status_code == 401


def test_metrics_need_a_token(edge):
    assert edge.client.get("/v1/metrics", headers={"Authorization": ""}).status_code == 401


def test_the_page_on_monitoring_lists_each_family(edge):
    importlib.import_module("serve.actors")  # with it comes all that is counted elsewhere
    edge.job()
    edge.backups.append(BackupHealth.model_validate(NO_BACKUP))
    text = edge.client.get("/v1/metrics").text
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()
    assert {name for name in families if f"`{name}`" not in page} == set()
    listed = set(re.findall(r"`(mediaray_[a-z_]+)`", page.partition("### Restarts")[0]))
    assert listed - families == set()
