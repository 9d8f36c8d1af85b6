"""``make load``: many users at once on a running server while it encodes: submit, look, list, ask for media.

python -m tests.load [--users N] [--seconds S]
"""

import argparse
import sys

import gevent
from locust import HttpUser, between, task
from locust.env import Environment

from tests.clips import make_clip
from tests.live_server import live_server

BAR_MS = 250


class Viewer(HttpUser):
    """Somebody with the console open."""

    wait_time = between(0.5, 2.0)
    clip = ""

    @task(3)
    def look(self) -> None:
        self.client.get("/v1/jobs?limit=20", name="GET /v1/jobs")

    @task(2)
    def media(self) -> None:
        self.client.get("/v1/media", params={"source": self.clip}, name="GET /v1/media")

    @task(1)
    def submit(self) -> None:
        self.client.post("/v1/jobs", json={"operation": "probe", "source": self.clip}, name="POST /v1/jobs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make load")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--path", choices=("proxy", "haproxy"), default=None)
    given = parser.parse_args()
    chosen = {"MEDIARAY_SERVE_PATH": given.path} if given.path else {}
    with live_server(**chosen) as server:
        clip = make_clip(server.folder / "clip.mkv", seconds=60)
        Viewer.clip, Viewer.host = str(clip), server.url
        headers = server.headers
        Viewer.on_start = lambda user: user.client.headers.update(headers)
        for number in range(2):
            server.submit("transcode", clip, profile="mobile-480p", output=str(server.folder / f"{number}.mp4"))
        environment = Environment(user_classes=[Viewer])
        runner = environment.create_local_runner()
        runner.start(given.users, spawn_rate=max(1, given.users / 5))
        gevent.sleep(given.seconds)
        runner.quit()
    total = environment.stats.total
    for entry in [*environment.stats.entries.values(), total]:
        typical_ms, slow_ms = (entry.get_response_time_percentile(part) for part in (0.5, 0.95))
        counts = f"{entry.num_requests:7} requests {entry.num_failures:4} failed"
        print(f"{entry.name:20} {counts} p50 {typical_ms:.0f} ms p95 {slow_ms:.0f} ms")
    slow_ms = total.get_response_time_percentile(0.95)
    print(f"{given.users} users, {total.total_rps:.0f} requests/s, p95 {slow_ms:.0f} ms (bar {BAR_MS} ms)")
    return 1 if total.num_failures or slow_ms > BAR_MS else 0


if __name__ == "__main__":
    sys.exit(main())
