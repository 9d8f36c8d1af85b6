"""A process of Locust's users, whose requests it notes one by one: python -m tests.load.swarm TASK.json NOTES.json.

A process of its own, since Locust patches sockets and threads.
"""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from tests.load.people import KINDS, Notes, Task


def main() -> None:
    task = Task(**json.loads(Path(sys.argv[1]).read_text()))
    random.seed(task.seed)  # Locust's: the times of thought, and the order of tasks
    notes = Notes()
    body = {"given": task, "notes": notes, "host": task.url, "abstract": False}
    environment = Environment(user_classes=[type(task.kind.title(), (KINDS[task.kind],), body)])

    @environment.events.request.add_listener
    def _note(start_time: float, request_type: str, name: str, response_time: float, **more: Any) -> None:
        notes.take(start_time, name, response_time, more.get("response"), more.get("exception"))

    runner = environment.create_local_runner()
    runner.start(task.users, spawn_rate=max(1.0, task.users / max(1.0, task.ramp_s)))
    runner.spawning_greenlet.join()
    began, began_cpu = time.time(), time.process_time()
    gevent.sleep(task.seconds)
    ended, cpu_s = time.time(), time.process_time() - began_cpu
    waiting = [(at, name, (ended - at) * 1000) for at, name in notes.asked.values()]
    told = {
        "began": began,
        "ended": ended,
        "cpu_s": cpu_s,
        "samples": [each for each in notes.samples if each[0] + each[2] / 1000 <= ended],
        "waiting": waiting,
        "accepted": notes.accepted,
        "lost_events": notes.lost_events,
    }
    part = Path(f"{sys.argv[2]}.part")
    part.write_text(json.dumps(told))
    part.rename(sys.argv[2])
    runner.quit()


if __name__ == "__main__":
    main()
