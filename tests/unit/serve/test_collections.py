"""The routes of collections, on one that is there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pyarrow.parquet as pq
import pytest
from unit.pipelines.bulk.shelves import PROBE, shelf
from unit.pipelines.jobs.makers import submission
from unit.serve.edge import problem

import serve.collections
from pipelines.bulk.collection import all_collections
from pipelines.bulk.watch_notes import note_imported, watch_of


@pytest.fixture
def home(edge):
    return edge.films.parent / "home"


@pytest.fixture
def collection(home):
    return shelf(home)


def rows(edge, **query):
    answer = edge.client.get("/v1/collections/shelf/files", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_collections_are_listed_with_what_they_hold(edge, collection):
    (found,) = edge.client.get("/v1/collections").json()["collections"]
    assert (found["name"], found["files"], found["kinds"]) == ("shelf", 5, {"video": 2, "image": 2, "audio": 1})
    assert [(task["operation"], task["done"], task["failed"]) for task in found["tasks"]] == [
        *(("image-analyze", 1, 1), ("probe", 2, 1))
    ]


def test_there_may_be_none(edge):
    assert edge.client.get("/v1/collections").json() == {"collections": []}


def test_one_is_told_by_its_name(edge, collection):
    assert edge.client.get("/v1/collections/shelf").json()["size_bytes"] == 26_000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/collections/nothing"),
        ("DELETE", "/v1/collections/nothing"),
        ("GET", "/v1/collections/nothing/files"),
        ("GET", "/v1/collections/nothing/files.csv"),
    ],
)
def test_one_that_isn_t_there_is_not_found(edge, collection, method, path):
    assert problem(edge.client.request(method, path)) == (404, "collection_not_found")


@pytest.mark.parametrize("name", ["..", "UPPER", "a%20b", ".hidden"])
def test_what_can_t_be_a_name_is_refused(edge, name):
    assert problem(edge.client.get(f"/v1/collections/{name}"))[0] in (404, 422)


def test_rows_meet_the_condition(edge, collection):
    found = rows(edge, where="kind = 'video' AND height >= 1080")
    assert [row["path"] for row in found["rows"]] == ["a.mkv"]
    assert found["rows"][0]["modified_at"] == "2026-01-01T12:00:00Z"
    assert found["next_cursor"] is None


def test_pages_follow_each_other(edge, collection):
    query = {"columns": "path", "limit": 2}
    first = rows(edge, **query)
    second = rows(edge, **query, cursor=first["next_cursor"])
    third = rows(edge, **query, cursor=second["next_cursor"])
    assert [len(page["rows"]) for page in (first, second, third)] == [2, 2, 1]
    assert third["next_cursor"] is None
    assert [row["path"] for row in second["rows"]] == ["c.jpg", "d.jpg"]


def test_counts_and_sums_are_numbers(edge, collection):
    found = rows(edge, columns="kind, count(*) AS files, sum(size_bytes) AS bytes, avg(size_bytes) AS mean")
    assert found["rows"][0] == {"kind": "audio", "files": 1, "bytes": 6000, "mean": 6000.0}


def test_values_of_every_kind_are_told(edge, collection):
    columns = (
        "modified_at::DATE AS day, modified_at::TIMESTAMP::TIME AS hour, INTERVAL 3 DAY AS span, size_bytes / 0 AS rate"
    )
    found = rows(edge, columns=columns, limit=1)
    assert found["rows"] == [{"day": "2026-01-01", "hour": "12:00:00", "span": "P0M3DT0S", "rate": None}]


@pytest.mark.parametrize(
    "query",
    [
        {"where": "uri IN (SELECT content FROM read_text('/etc/passwd'))"},
        {"where": "true; ATTACH '/tmp/x.db'"},
        {"where": "hight > 3"},
        {"where": "width ="},
        {"columns": "path FROM read_csv('/etc/passwd')"},
        {"order_by": "path; DROP VIEW files"},
    ],
)
def test_a_wrong_query_is_refused(edge, collection, query):
    assert problem(edge.client.get("/v1/collections/shelf/files", params=query)) == (422, "parameter_invalid")
    assert problem(edge.client.get("/v1/collections/shelf/files.csv", params=query)) == (422, "parameter_invalid")


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1001}, {"cursor": "-1"}, {"colour": "red"}, {"where": "x" * 4001}]
)
def test_a_request_of_the_wrong_shape_is_refused(edge, collection, query):
    assert problem(edge.client.get("/v1/collections/shelf/files", params=query)) == (422, "request_invalid")


@pytest.mark.parametrize("format_", ["parquet", "csv", "jsonl"])
def test_exports_are_whole_files(edge, home, collection, format_):
    answer = edge.client.get(f"/v1/collections/shelf/files.{format_}", params={"where": "kind = 'image'"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="shelf.{format_}"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    lines = {
        "parquet": lambda: len(pq.read_table(BytesIO(answer.content))) + 1,
        "jsonl": lambda: answer.text.count("\n") + 1,
    }
    assert lines.get(format_, lambda: len(answer.text.splitlines()))() == 3
    assert list((home / "scratch").iterdir()) == []


PATIENCE_S = 60


def test_exports_that_take_long_hold_up_no_query(edge, collection, monkeypatch):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def long(*arguments):
        begun.release()
        assert go_on.wait(PATIENCE_S)
        return exported(*arguments)

    exported = serve.collections._exported
    monkeypatch.setattr(serve.collections, "_exported", long)
    with ThreadPoolExecutor(3) as pool:
        try:
            exports = [pool.submit(edge.client.get, "/v1/collections/shelf/files.csv") for _ in range(2)]
            assert all(begun.acquire(timeout=PATIENCE_S) for _ in exports)
            listed = pool.submit(edge.client.get, "/v1/collections").result(PATIENCE_S)
        finally:
            go_on.set()
    assert listed.status_code == 200
    assert [export.result().status_code for export in exports] == [200, 200]


def test_another_format_is_refused(edge, collection):
    assert problem(edge.client.get("/v1/collections/shelf/files.exe"))[0] == 422


def test_what_is_removed_is_gone(edge, home, collection):
    assert edge.client.delete("/v1/collections/shelf").status_code == 204
    assert all_collections(home) == []
    assert problem(edge.client.get("/v1/collections/shelf")) == (404, "collection_not_found")


@pytest.mark.parametrize(
    "wanted", [{"params": {"into": "shelf"}}, {"sources": ("collection:shelf",)}], ids=["fills it", "reads it"]
)
def test_one_that_a_job_is_at_isn_t_removed(edge, home, collection, wanted):
    job_id, _ = edge.do(edge.store.submit, submission(**wanted))
    answer = edge.client.delete("/v1/collections/shelf")
    assert problem(answer) == (409, "job_active")
    assert job_id in answer.json()["detail"]
    edge.end(job_id)
    assert edge.client.delete("/v1/collections/shelf").status_code == 204


def test_one_that_is_written_to_isn_t_removed(edge, home, collection):
    with collection.alone(PROBE.key):
        assert problem(edge.client.delete("/v1/collections/shelf")) == (409, "collection_busy")
    assert len(all_collections(home)) == 1


def test_no_token_no_collections(edge, collection):
    answer = edge.client.get("/v1/collections", headers={"Authorization": "Bearer wrong"})
    assert problem(answer) == (401, "unauthorized")


def test_a_watch_is_shown_until_it_ends(edge, collection):
    note_imported(collection, [str(edge.films)], ("video",))
    assert edge.client.get("/v1/collections/shelf").json()["watched"] is None
    begun = edge.client.put("/v1/collections/shelf/watch")
    assert (begun.status_code, begun.json()["folders"]) == (200, [str(edge.films)])
    assert edge.client.get("/v1/collections/shelf").json()["watched"] == begun.json()
    assert watch_of(collection).owner == "local"
    assert edge.client.delete("/v1/collections/shelf/watch").status_code == 204
    assert edge.client.get("/v1/collections").json()["collections"][0]["watched"] is None
    assert edge.client.delete("/v1/collections/shelf/watch").status_code == 204


def test_a_share_that_hangs_is_told_and_takes_no_turn_of_others(edge, collection, monkeypatch):
    back = threading.Event()
    monkeypatch.setattr(serve.collections, "begin_watch", lambda *_: back.wait(20))
    monkeypatch.setattr(serve.collections, "_LIMIT_S", 0.05)
    try:
        for _ in range(serve.collections._AT_ONCE):
            assert problem(edge.client.put("/v1/collections/shelf/watch")) == (503, "storage_unavailable")
        assert edge.client.get("/v1/collections/shelf").json()["watched"] is None
    finally:
        back.set()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("shelf", (422, "collection_without_folders")), ("nothing", (404, "collection_not_found"))],
)
def test_what_can_t_be_watched_is_refused(edge, collection, name, answer):
    assert problem(edge.client.put(f"/v1/collections/{name}/watch")) == answer
