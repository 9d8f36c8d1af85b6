"""Reports progress of many jobs, one event a second each, as workers do: from a Ray task inside the cluster.

python -m tests.bench.reporter RAY_ADDRESS FOLDER SECONDS JOB...
"""

import sys
import time
from pathlib import Path
from urllib.parse import quote

import ray

from pipelines.jobs.live import Reporter
from pipelines.jobs.models import Progress
from pipelines.jobs.orders import NAMESPACE


@ray.remote(num_cpus=0, max_retries=0)
def report(cache_url: str, jobs: list[str], base: float, seconds: int) -> None:
    """``frames`` over an ``elapsed_s`` of 1 carries the time of sending, in microseconds since ``base``, as fps."""
    reporter = Reporter(cache_url)
    began = time.monotonic()
    fence = int(began * 1000)
    for turn in range(seconds):
        for number, job_id in enumerate(jobs):
            due = began + turn + number / len(jobs)
            while (left := due - time.monotonic()) > 0:
                time.sleep(left)
            sent = time.monotonic()
            reporter.report(
                Progress(
                    job_id=job_id,
                    unit="bench",
                    fence=fence,
                    fraction=0.5,
                    frames=int((sent - base) * 1e6),
                    elapsed_s=1.0,
                )
            )


def main() -> None:
    address, root, seconds, *jobs = sys.argv[1:]
    home = Path(root) / "home"
    folder = (home / "run" / "folder").read_text()
    cache_url = f"unix://:{quote((home / 'cache' / 'password').read_text().strip())}@{folder}/cache.sock"
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    watching = Path(root) / "watching"
    while len(watching.read_text() if watching.exists() else "") < len(jobs):
        time.sleep(0.05)
    ray.get(report.remote(cache_url, jobs, float((Path(root) / "base").read_text()), int(seconds)))


if __name__ == "__main__":
    main()
