"""What ``GET /v1/capacity`` tells, and the metrics that are reckoned alike; the queue's jobs are those of the test."""

from datetime import UTC, datetime

import pytest
from unit.pipelines.jobs.test_backlog import CHUNK, planned, unplanned
from unit.pipelines.jobs.test_starting import FILM
from unit.serve.edge import NO_BACKUP, problem
from unit.serve.test_metrics import value

from serve.views import BackupHealth


def told(edge, **query):
    answer = edge.client.get("/v1/capacity", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_idle_server_has_all_of_it_free(edge):
    found = told(edge)
    assert found["cpus"] == {"total": 2, "in_use": 0, "free": 2}
    assert found["backlog"] | {"done_at": None} == {
        **{"jobs": 0, "paused_jobs": 0, "unknown_jobs": 0, "cpu_s": 0.0, "operations": []},
        **{"eta_s": 0.0, "done_at": None, "bound": "nothing"},
    }
    assert found["nodes"][0] | {"memory_each_bytes": 0, "free_memory_bytes": 0} == {
        **{"nodes": 1, "cpus_each": 2, "gpus_each": 0, "gpu_type": None, "memory_each_bytes": 0},
        **{"free_cpus": 1.0, "free_gpus": 0.0, "free_memory_bytes": 0},
    }


def test_what_is_to_be_done_is_told_by_operation_and_when_it_is(edge):
    edge.waiting += [planned("a", CHUNK, CHUNK), planned("b", CHUNK, CHUNK)]
    found = told(edge)
    (row,) = found["backlog"]["operations"]
    assert (row["operation"], row["jobs"], row["cpu_s"], row["measured"]) == ("copy", 2, 120.0, False)
    assert (found["backlog"]["eta_s"], found["backlog"]["bound"]) == (60.0, "cpus")
    until = datetime.fromisoformat(found["backlog"]["done_at"]) - datetime.fromisoformat(found["at"])
    assert until.total_seconds() == 60.0


def test_more_nodes_of_the_class_that_is_there_bring_it_nearer(edge):
    edge.waiting += [planned("a", *[CHUNK] * 8)]
    rows = told(edge)["more_nodes"]
    assert [(each["nodes"], each["cpus"], each["eta_s"], each["saved_s"]) for each in rows] == [
        (1, 4, 60.0, 60.0),
        (2, 6, 40.0, 80.0),
        (4, 10, 30.0, 90.0),  # as long as its longest unit takes
    ]
    assert rows[-1]["bound"] == "longest_unit"


@pytest.mark.parametrize("asked", ["2", "+2", " 2"])
def test_a_number_of_nodes_may_be_asked_for(edge, asked):
    assert [each["nodes"] for each in told(edge, nodes=asked)["more_nodes"]] == [2]
    plus = edge.client.get("/v1/capacity?nodes=+2").json()  # a plus stands for a space in a URL
    assert [each["nodes"] for each in plus["more_nodes"]] == [2]


@pytest.mark.parametrize("asked", ["0", "-1", "1001", "many", "", "1.5"])
def test_what_is_no_number_of_nodes_is_refused(edge, asked):
    answer = edge.client.get("/v1/capacity", params={"nodes": asked})
    assert problem(answer) == (422, "request_invalid")
    assert [each["parameter"] for each in answer.json()["problems"]] == ["nodes"]


def test_a_film_in_one_pass_gets_no_sooner_by_more_nodes(edge):
    edge.waiting += [planned("film", FILM)]
    assert {each["saved_s"] for each in told(edge)["more_nodes"]} == {0.0}


def test_jobs_of_which_nothing_is_known_are_told(edge):
    edge.waiting += [unplanned("a")]
    assert told(edge)["backlog"]["unknown_jobs"] == 1
    assert value(edge, "mediaray_backlog_unknown_jobs") == 1


@pytest.mark.parametrize("how", ["away", "silent"])
def test_without_the_dispatcher_it_says_so(edge, how):
    edge.checks["dispatcher"] = how
    answer = edge.client.get("/v1/capacity")
    assert problem(answer) == (503, "dispatcher_unavailable")
    assert answer.headers["retry-after"]


def test_metrics_tell_the_same(edge):
    edge.waiting += [planned("a", CHUNK, CHUNK)]
    assert value(edge, "mediaray_backlog_cpu_seconds", operation="copy") == 60
    assert value(edge, "mediaray_backlog_cpu_seconds", operation="look") == 0
    done_s = [value(edge, "mediaray_backlog_done_seconds", more_nodes=str(nodes)) for nodes in (0, 1, 2, 4)]
    assert done_s == [each["eta_s"] for each in [told(edge)["backlog"], *told(edge)["more_nodes"]]]


def test_the_age_of_backups_is_a_metric_where_the_clock_makes_them(edge):
    assert value(edge, "mediaray_backup_last_timestamp_seconds") is None
    none_yet = BackupHealth.model_validate(NO_BACKUP)
    edge.backups.append(none_yet)
    assert value(edge, "mediaray_backup_last_timestamp_seconds") == 0
    edge.backups.append(none_yet.model_copy(update={"last_at": "2026-03-04T05:06:07Z"}))
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()
    assert value(edge, "mediaray_backup_last_timestamp_seconds") == at
    assert value(edge, "mediaray_backup_interval_seconds") == 6 * 3600


def test_each_figure_is_described_with_its_unit(edge):
    schemas = edge.client.get("/v1/openapi.json").json()["components"]["schemas"]
    bare = {
        f"{name}.{field}"
        for name in ("Capacity", "NodeClassView", "OperationBacklog", "BacklogView", "MoreNodes", "Running")
        for field, each in schemas[name]["properties"].items()
        if not each.get("description")
    }
    assert bare <= {
        *("Capacity.running", "Capacity.backlog", "OperationBacklog.operation", "BacklogView.jobs"),
        "BacklogView.paused_jobs",
    }
