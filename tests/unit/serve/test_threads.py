"""Threads of a loop that runs for ever, as a replica's does: each request is a task of its own."""

import asyncio
import threading
from collections.abc import Iterator

import anyio.to_thread
import pytest

from serve.threads import keep_threads


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


def test_a_thread_outlives_the_request_that_it_was_started_for(loop):
    async def live() -> None:
        keep_threads()
        ready.set()
        await ended.wait()

    async def request() -> threading.Thread:
        return await anyio.to_thread.run_sync(threading.current_thread)

    ready, ended = threading.Event(), asyncio.Event()
    living = asyncio.run_coroutine_threadsafe(live(), loop)
    assert ready.wait(10)
    first, second = (asyncio.run_coroutine_threadsafe(request(), loop).result(10) for _ in range(2))
    assert first is second
    loop.call_soon_threadsafe(ended.set)
    living.result(10)
