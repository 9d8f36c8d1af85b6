"""How soon Ray's own autoscaler brings machines to a backlog, and lets go of them; machines are processes here."""

import sys
import time
from pathlib import Path

from tests.bench.figures import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))  # what is shared by tests imports its like by bare names

from clips import make_clip
from live_nodes import LIMIT_S, live_nodes, machines
from live_server import until

MOST = 3
JOBS = 4
IDLE_S = 10
INTERVAL_S = 5  # Ray's default, which the shipped files leave as it is


def autoscale() -> list[Figure]:
    """From one machine to three and back, told how much there can be, and not."""
    return [*_scaled("told the most", MEDIARAY_MOST_CPUS=str(MOST)), *_scaled("not told")]


def _scaled(how: str, **environment: str) -> list[Figure]:
    with live_nodes(**environment) as (server, nodes):
        nodes.start_scaling_head(machines(nodes, MOST, IDLE_S), INTERVAL_S)
        with nodes.watched() as watch:
            until(lambda: watch.counts()[-1:] == [1], LIMIT_S, lambda: str(watch.seen()))
            server.start()
            clip = make_clip(server.folder / "clip.mkv", seconds=60, width=480, height=270)
            params = {"profile": "mobile-480p", "preset": "slower", "chunk_s": 2, "fresh": True}
            began = time.time()
            targets = [str(server.folder / f"{number}.mp4") for number in range(JOBS)]
            jobs = [server.submit("transcode", clip, output=target, **params)["id"] for target in targets]
            until(lambda: watch.counts()[-1] == MOST, LIMIT_S, lambda: str(watch.seen()))
            states = [server.wait(job, 600)["state"] for job in jobs]
            ended = time.time()
            until(lambda: watch.counts()[-1] == 1, 2 * LIMIT_S, lambda: str(watch.seen()))
            seen = watch.seen()
    assert states == ["succeeded"] * JOBS
    how = f"{how}; the autoscaler looks every {INTERVAL_S} s, the machine has both cores at work"
    return [
        Figure("a backlog has its second machine after", _reached(seen, 2) - began, "s", 15, how),
        Figure(f"a backlog has all {MOST} machines after", _reached(seen, MOST) - began, "s", 15, how),
        Figure("one machine is left, after the last job", seen[-1][0] - ended, "s", how="60 and 10 s of rest"),
    ]


def _reached(seen: list[tuple[float, list[str]]], count: int) -> float:
    return next(at for at, types in seen if len(types) >= count)
