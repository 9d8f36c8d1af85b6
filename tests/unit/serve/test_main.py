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
