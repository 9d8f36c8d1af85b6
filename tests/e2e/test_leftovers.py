"""What a server leaves on a Ray that goes on, where it was killed or its start failed, and what the next one does."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest
from clips import make_clip
from live_nodes import JOBS_OPTIONS
from live_ray import LIMIT_S, RunningRay, running_ray
from live_server import LiveServer, until
from unit.pipelines.jobs.makers import short_folder

from cluster.redis_server import PrivateRedis

KEPT = ("dispatcher", "registry", "runner", "proxy")
PARTS = ("dispatcher", "registry", "runner", "replica")


@contextlib.contextmanager
def joining(cluster: RunningRay, **environment: str) -> Iterator[LiveServer]:
    """A server for this Ray, still to be started."""
    server = LiveServer(**cluster.joining, **environment)
    try:
        yield server
    finally:
        try:
            server.stop()
        finally:
            server.remove()


def kill(server: LiveServer) -> None:
    """SIGKILL of ``up`` alone: what it has on the cluster stays."""
    assert server.process is not None
    server.process.kill()
    server.process.wait()


def pids(cluster: RunningRay, *kinds: str) -> set[int]:
    return {process.pid for kind in kinds for process in cluster.find(kind)}


def does_a_job(server: LiveServer) -> bool:
    clip = make_clip(server.folder / "clip.mkv", seconds=1)
    return bool(server.wait(server.submit("probe", clip)["id"])["state"] == "succeeded")


def gone(cluster: RunningRay, *kinds: str) -> None:
    until(lambda: not pids(cluster, *kinds), LIMIT_S, lambda: f"still there: {pids(cluster, *kinds)}")


@pytest.mark.timeout(600)
def test_what_a_killed_server_left_gives_way_to_other_settings_and_is_taken_over_by_the_same():
    with contextlib.ExitStack() as held:
        cluster = held.enter_context(running_ray())
        server = held.enter_context(joining(cluster))
        server.start()
        left = pids(cluster, *PARTS)
        kill(server)  # its private Redises end with it, so what is left couldn't do a job
        assert left <= pids(cluster, *PARTS)

        folder = held.enter_context(short_folder())
        url = held.enter_context(PrivateRedis("redis", folder, folder, JOBS_OPTIONS).running())
        server.env |= {"MEDIARAY_REDIS_URL": url, "MEDIARAY_CACHE_URL": url}
        server.start()  # on the port that Serve's proxy still had
        assert does_a_job(server)
        assert not left & pids(cluster, *PARTS)
        left = pids(cluster, *KEPT)
        kill(server)

        server.start()
        assert does_a_job(server)
        assert pids(cluster, *KEPT) == left

        second = held.enter_context(joining(cluster))
        with pytest.raises(AssertionError, match="Another server is on this Ray"):
            second.start()  # it lives, and so it doesn't give way
        assert pids(cluster, *KEPT) == left
        assert server.stop() == 0
        gone(cluster, *PARTS, "proxy")


# An application of somebody else, which has all paths.
_OTHERS = """
import sys
import ray
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Others:
    async def __call__(self, request):
        return "theirs"

ray.init(address=sys.argv[1], log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(Others.bind(), name="others", route_prefix="/", blocking=False)
"""


@pytest.mark.timeout(600)
def test_a_start_that_fails_half_way_leaves_nothing_of_its_own_and_all_of_others():
    with running_ray() as cluster, joining(cluster) as server, joining(cluster) as elsewhere:
        cluster.run(_OTHERS, str(server.port))
        with pytest.raises(AssertionError, match='Prefix / is being used by application "others"'):
            server.start()
        gone(cluster, "dispatcher", "registry", "runner")
        with pytest.raises(AssertionError, match=f"listens at 127.0.0.1:{server.port}"):
            elsewhere.start()
        assert httpx.get(server.url).text == "theirs"
        assert "Traceback" not in server.log()
