"""A process of many WebSocket clients, each on a job of its own: python -m tests.load.watchers TASK.json NOTES.json.

Says "watching" when all are connected, and stops at the end of its standard input.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from tests.load.sequence import Sequence

_AT_ONCE = 50  # that connect


async def main() -> None:
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    samples: list[tuple[float, float]] = []
    seen = [Sequence() for _ in task["jobs"]]
    broken: list[str] = []
    gate, connected = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(0)

    async def watch(job_id: str, sequence: Sequence) -> None:
        url = f"ws{task['url'].removeprefix('http')}/v1/jobs/{job_id}/events"
        try:
            async with gate:
                socket = await connect(url, additional_headers=task["headers"], open_timeout=60)
            connected.release()
            async for text in socket:
                now = time.monotonic()
                event = json.loads(text)
                sequence.take(event)
                if event["type"] == "progress" and event["fps"]:
                    samples.append((now, now - task["base"] - event["fps"] * 1e-6))
            broken.append(f"closed: {socket.close_code} {socket.close_reason}")
        except Exception as error:
            connected.release()
            broken.append(f"{type(error).__name__}: {error}")

    watching = [asyncio.create_task(watch(*each)) for each in zip(task["jobs"], seen, strict=True)]
    for _ in watching:
        await connected.acquire()
    print("watching", flush=True)
    began_cpu = time.process_time()
    await asyncio.to_thread(sys.stdin.read)
    cpu_s, ended_early = time.process_time() - began_cpu, list(broken)
    for each in watching:
        each.cancel()
    told = {
        "samples": samples,
        "events": sum(each.count for each in seen),
        "lost": sum(each.lost for each in seen),
        "summed_up": sum(each.summed_up for each in seen),
        "silent": sum(each.count == 0 for each in seen),
        "broken": ended_early,
        "cpu_s": cpu_s,
    }
    Path(sys.argv[2]).write_text(json.dumps(told))
    await asyncio.gather(*watching, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
