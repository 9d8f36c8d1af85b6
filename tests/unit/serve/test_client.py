import asyncio
from pathlib import Path

import httpx
import pytest
from unit.serve.conftest import TOKEN, FakeServer, event_document, job_document

from cluster.errors import StorageError
from serve.client import AsyncClient, Client, ProblemError, ServerUnreachableError

CLOSED_URL = "http://127.0.0.1:1"


@pytest.fixture
def client(fake_server: FakeServer):
    with Client(fake_server.url, TOKEN) as client:
        yield client


def test_submit_sends_operation_sources_params_and_priority(client, fake_server):
    client.submit("shrink", ["/films/a.mkv"], {"crf": 20}, "high")
    assert fake_server.submitted == [
        {"operation": "shrink", "sources": ["/films/a.mkv"], "params": {"crf": 20}, "priority": "high"}
    ]


def test_each_submit_has_its_own_idempotency_key(client, fake_server):
    client.submit("shrink", ["/films/a.mkv"])
    client.submit("shrink", ["/films/a.mkv"])
    assert len(set(fake_server.keys)) == 2


def test_a_job_of_a_newer_server_is_read(client):
    assert client.get("job-1").artifacts[0].path == "/out/a.mp4"


def test_list_goes_on_over_pages(client, fake_server):
    fake_server.jobs = {f"job-{n}": job_document(f"job-{n}") for n in range(5)}
    assert [job.id for job in client.list(page_size=2)] == [f"job-{n}" for n in (4, 3, 2, 1, 0)]
    assert [job.id for job in client.list(page_size=2, below="job-2")] == ["job-1", "job-0"]


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
def test_a_job_is_steered(client, fake_server, action):
    getattr(client, action)("job-1")
    assert fake_server.actions == [action]


def test_delete_returns_nothing(client):
    assert client.delete("job-1") is None


def test_a_plan_is_read(client):
    assert client.plan("shrink", ["/films/a.mkv"]).explain == {"why": "because"}


def test_a_problem_has_the_server_s_code(client):
    with pytest.raises(ProblemError) as caught:
        client.get("nothing")
    assert (caught.value.status, caught.value.code) == (404, "job_not_found")


def test_a_wrong_token_is_a_problem(fake_server):
    with Client(fake_server.url, "wrong") as client, pytest.raises(ProblemError) as caught:
        client.get("job-1")
    assert caught.value.code == "unauthorized"


def test_no_server_says_how_to_start_one():
    with (
        Client(CLOSED_URL, TOKEN, patience_s=0) as client,
        pytest.raises(ServerUnreachableError, match="mediaray up"),
    ):
        client.get("job-1")


def test_an_address_and_a_token_of_the_home_are_used(tmp_path: Path, fake_server):
    from cluster.home import Home

    home = Home.create(tmp_path / "home")
    home.token_file.write_text(TOKEN)
    home.announce(url=fake_server.url)
    with Client(home=home.path) as client:
        assert client.get("job-1").id == "job-1"


def test_artifacts_are_fetched_page_by_page(client):
    assert [each.name for each in client.artifacts("job-1")] == [f"{number}.mp4" for number in range(5)]


def test_download_gets_the_artifact_under_its_name(client, tmp_path):
    assert client.download("job-1", "a.mp4", tmp_path).read_bytes() == b"0123456789"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", ["rows.csv", f"{'r' * 251}.csv"])
def test_an_export_replaces_no_file_that_came_meanwhile(tmp_path, name):
    def answer(_: httpx.Request) -> httpx.Response:
        (tmp_path / name).write_text("mine")
        return httpx.Response(200, content=b"path\n")

    with Client(CLOSED_URL, TOKEN, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(StorageError, match="exists already"):
            client.export_collection("films", tmp_path / name)
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]
        client.export_collection("films", tmp_path / name, overwrite=True)
    assert (tmp_path / name).read_text() == "path\n"


def test_a_failed_download_leaves_nothing(tmp_path):
    refuse = httpx.MockTransport(lambda _: httpx.Response(404, json={"code": "artifact_not_found"}))
    with Client(CLOSED_URL, TOKEN, transport=refuse) as client, pytest.raises(ProblemError):
        client.download("job-1", "a.mp4", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_events_end_with_the_terminal_one(client, fake_server):
    fake_server.streams = [[event_document(1), event_document(2, "failed"), event_document(3)]]
    assert [event.seq for event in client.events("job-1")] == [1, 2]


def test_wait_returns_the_finished_job(client):
    assert client.wait("job-1").finished


def test_events_of_no_job_are_a_problem(client):
    with pytest.raises(ProblemError) as caught:
        list(client.events("nothing"))
    assert caught.value.code == "job_not_found"


def test_a_lost_stream_goes_on_where_it_was(fake_server):
    fake_server.streams = [
        [event_document(1), event_document(2)],
        [event_document(2), event_document(3), event_document(4, "succeeded")],
    ]

    async def read() -> list[int]:
        async with AsyncClient(fake_server.url, TOKEN) as client:
            return [event.seq async for event in client.events("job-1")]

    assert asyncio.run(read()) == [1, 2, 3, 4]
    assert fake_server.since == [None, "e1:2"]


def test_a_busy_server_is_asked_again_with_the_same_key():
    keys = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return httpx.Response(503, headers={"Retry-After": "0"})
        return httpx.Response(202, json=job_document())

    async def submit() -> str:
        async with AsyncClient(CLOSED_URL, TOKEN, transport=httpx.MockTransport(answer)) as client:
            return (await client.submit("shrink", ["/films/a.mkv"])).id

    assert asyncio.run(submit()) == "job-1"
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_async_wait_gives_up_after_its_time(fake_server):
    fake_server.streams = []

    async def wait() -> None:
        async with AsyncClient(fake_server.url, TOKEN) as client:
            await client.wait("job-1", timeout_s=0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
