"""A real Prometheus scrapes a running server with the configuration that is shipped, and is asked all that is asked.

Of each query of the dashboards and the rules the answer is no error, and not empty once jobs have run.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from clips import make_clip
from live_server import LiveServer, free_port, settled, until
from PIL import Image

CONFIGS = Path(__file__).parents[2] / "configs"
LIMIT_S = 60.0


def panels() -> list[tuple[str, str]]:
    """Title and query of each panel."""
    found = []
    for file in sorted((CONFIGS / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            found += [(f"{file.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


def rules(kind: str) -> list[dict[str, str]]:
    groups = yaml.safe_load((CONFIGS / "prometheus" / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        return body["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=query.replace("$__rate_interval", "1m"))["result"]
        return found

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def values(self, query: str) -> list[float]:
        return [float(each["value"][1]) for each in self.query(query)]


@pytest.fixture(scope="module")
def prometheus(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus isn't installed; .ci/run installs Debian's")
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(CONFIGS / "prometheus" / "rules.yml", folder)
    (folder / "scrape-token").write_text(server.token)
    settings = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{server.port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    running = Prometheus(f"http://127.0.0.1:{port}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(running.answers, LIMIT_S, lambda: (folder / "log").read_text()[-2000:])
        until(lambda: running.values('up{job="mediaray"}') == [1.0], LIMIT_S, lambda: str(running.get("targets")))
        yield running
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def busy(server: LiveServer, prometheus: Prometheus) -> Prometheus:
    """Prometheus, after the server has done something of all kinds while it was watched."""
    folder = server.folder / "watched"
    folder.mkdir()
    film = settled(make_clip(folder / "film.mkv", seconds=10))
    Image.new("RGB", (640, 480), "teal").save(folder / "picture.png")
    picture = settled(folder / "picture.png")
    (folder / "text.mkv").write_bytes(b"no film at all")
    text = settled(folder / "text.mkv")
    job = server.submit("transcode", film, profile="mobile-480p")
    with server.events(job["id"]) as socket:
        for message in socket:
            if json.loads(message)["state"] in ("succeeded", "failed", "cancelled"):
                break
    assert server.wait(job["id"])["state"] == "succeeded"
    for _ in range(2):
        assert server.wait(server.submit("probe", film)["id"])["state"] == "succeeded"
        assert server.get("/v1/media", params={"source": str(film)}).status_code == 200
        assert server.get("/v1/images", params={"source": str(picture), "w": 64}).status_code == 200
    assert server.wait(server.submit("image-thumbnails", picture, sizes=["64"])["id"])["state"] == "succeeded"
    assert server.wait(server.submit("probe", text)["id"])["state"] == "failed"
    # Counters reach the page with a delay of some seconds, and a rate takes two scrapes.
    for counter in ("media_seconds_total", "pictures_total", "push_seconds_count", "child_ends_total", "storage_bytes"):
        until(
            lambda counter=counter: bool(prometheus.values(f"rate(mediaray_{counter}[1m])")),
            LIMIT_S,
            lambda counter=counter: f"no mediaray_{counter} in\n{server.get('/v1/metrics').text}",
        )
    return prometheus


def empty(prometheus: Prometheus, queries: list[tuple[str, str]]) -> list[str]:
    """The names of those with nothing in their answers."""
    return [f"{name}: {query}" for name, query in queries if not prometheus.query(query)]


def test_all_panels_show_something(busy):
    until(lambda: not empty(busy, panels()), LIMIT_S, lambda: "\n".join(empty(busy, panels())))


def test_all_that_is_recorded_is_there(busy):
    queries = [(rule["record"], rule["expr"]) for rule in rules("record")]
    until(lambda: not empty(busy, queries), LIMIT_S, lambda: "\n".join(empty(busy, queries)))


def test_what_alerts_are_about_is_there_and_asked_without_an_error(busy):
    about = set()
    for rule in rules("alert"):
        busy.query(rule["expr"])
        if rule["alert"] != "MediarayBackupOld":  # this server's clock makes none
            about |= {(rule["alert"], name) for name in re.findall(r"\bmediaray[:_][a-z_0-9:]+", rule["expr"])}
    assert len(about) > 20
    assert empty(busy, sorted(about)) == []


def test_no_alert_fires_on_a_server_that_is_well(busy):
    well = busy.query('ALERTS{alertstate="firing", alertname!~"MediarayDisk.*|MediarayMemoryLow"}')  # of this machine
    assert well == []


def test_what_was_done_is_counted(busy, server):
    def of(query: str) -> float:
        return sum(busy.values(query))

    assert of('mediaray_jobs_finished_total{operation="image-thumbnails", state="succeeded"}') >= 1
    assert of('mediaray_jobs_finished_total{operation="probe", state="failed"}') >= 1
    assert of('mediaray_pictures_total{operation="image-thumbnails"}') >= 1
    assert of('mediaray_media_seconds_total{operation="transcode"}') >= 9.5  # other tests' films count, too
    assert of('mediaray_cpu_seconds_total{operation="transcode"}') > 0
    assert of('mediaray_unit_seconds_count{operation="transcode", stage="plan"}') >= 1
    assert of('mediaray_cache_looks_total{use="result", outcome="hits"}') >= 1
    assert of("mediaray_cache_near_hits_total") >= 1
    assert of("mediaray_children_memory_bytes") > 0
    assert of('mediaray_http_request_seconds_count{route="/jobs", method="POST", status="2xx"}') >= 5


def test_there_are_as_many_series_after_more_jobs(busy, server):
    """What a job is called, and what it is of, adds none."""
    film = server.folder / "watched" / "film.mkv"

    def series() -> set[str]:
        lines = server.get("/v1/metrics").text.splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    before = series()
    for number in range(5):
        other = settled(Path(shutil.copy(film, film.with_name(f"other-{number}.mkv"))))
        server.wait(server.submit("probe", other)["id"])
    accepted = 'mediaray_jobs_submitted_total{operation="probe"}'
    assert accepted in before
    assert not [line for line in series() - before if "other" in line or "job_id" in line]
    assert len(series() - before) < 40
