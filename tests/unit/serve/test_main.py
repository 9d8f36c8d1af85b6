import subprocess
import sys

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
