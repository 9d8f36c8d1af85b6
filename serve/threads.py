"""Threads for what blocks, which AnyIO starts for Starlette: kept from one request to the next."""

import asyncio

from anyio._backends._asyncio import _root_task


def keep_threads() -> None:
    """Bind the threads of this event loop to the task that calls, which lives as long as the application.

    AnyIO binds them to the task that was given to ``run_until_complete``. A replica's loop runs for ever and has none:
    then all tasks are looked through for it, of which each socket has several, and a thread ends with its request.
    There is no other way to tell AnyIO.
    """
    _root_task.set(asyncio.current_task())
