import subprocess
import sys
from pathlib import Path

# In a process of its own: Serve warns when it is imported.
_LATE = """
import sys
from pathlib import Path
from ray.exceptions import RayActorError
from cluster.errors import StartupError
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from serve import main

def late(*_, **__):
    raise RayActorError(error_msg="a traceback from elsewhere")

main.ray_serve.start = main.start_registry = late
try:
    main.start(Settings(home=Path(sys.argv[1])), RedisUrls("redis://jobs", "redis://cache"), "token")
except StartupError as error:
    print(error)
"""


def test_a_part_that_doesn_t_get_ready_is_told_in_words(tmp_path):
    command = [sys.executable, "-I", "-c", _LATE, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "didn't get ready (RayActorError)" in told
    assert "traceback" not in told


_REPLICAS = """
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from serve.main import edge_application

for most in (None, 2, 5):
    settings = Settings(api_replicas=2, api_replicas_max=most, api_target_requests=300, api_rest_s=60)
    edge = edge_application(settings, RedisUrls("redis://jobs", "redis://cache"), "token")._bound_deployment
    scaling = edge._deployment_config.autoscaling_config
    bounds = scaling and (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests)
    print(bounds or edge.num_replicas, scaling and scaling.downscale_delay_s)
"""


def test_replicas_scale_between_the_least_and_the_most_and_are_fixed_where_these_are_one():
    told = subprocess.run(
        [sys.executable, "-I", "-c", _REPLICAS], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert told.splitlines() == ["2 None", "2 None", "(2, 5, 300.0) 60.0"]


# What is called, where Ray and Serve are pretended.
_CALLS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from cluster.errors import StartupError
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
from serve import main

called = []
def does(name, returns=None, raises=None):
    def call(*_, **__):
        called.append(name)
        if raises:
            raise raises
        return returns
    return call

main.holds = main.as_started = lambda *_: False
main.other_drivers = lambda _: 0
main.end_dispatcher, main.end_all = does("dispatcher"), does("actors")
main.ray_serve.delete, main.ray_serve.shutdown = does("delete"), does("shutdown")
serving = SimpleNamespace(host="127.0.0.1", port=9)
main._get_global_client = lambda **_: SimpleNamespace(http_config=serving)

def has(*applications):
    main.ray_serve.status = lambda: SimpleNamespace(applications=dict.fromkeys(applications))

def make_way(*actors):
    main.named_actors = lambda: list(actors)
    settings = Settings(home=Path(sys.argv[1]), port=9)
    return main.make_way(settings, RedisUrls("redis://jobs", "redis://cache"))

"""


def calls(tmp_path: Path, script: str) -> list[str]:
    """What it prints."""
    command = [sys.executable, "-I", "-c", _CALLS + script, str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()


_OTHERS_SERVE = """
has()
print(make_way(), called)
has(main.APPLICATION)
print(make_way(), called)
called.clear()
has()
print(make_way("registry"), called)
"""


def test_a_serve_that_idles_is_left_to_whoever_started_it_unless_something_of_ours_is_there(tmp_path):
    assert calls(tmp_path, _OTHERS_SERVE) == [
        "True []",
        "True ['dispatcher', 'delete', 'actors']",
        "True ['dispatcher', 'shutdown', 'actors']",
    ]


_INTERRUPTED = """
has(main.APPLICATION)
for error in (TimeoutError(), KeyboardInterrupt()):
    main.ray_serve.delete = does("delete", raises=error)
    try:
        main.leave()
    except KeyboardInterrupt:
        called.append("interrupted")
    print(*called)
    called.clear()
"""


def test_the_dispatcher_is_ended_first_and_the_other_actors_whatever_serve_does(tmp_path):
    assert calls(tmp_path, _INTERRUPTED) == ["dispatcher delete actors", "dispatcher delete actors interrupted"]
