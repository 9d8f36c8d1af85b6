"""What goes on beside the dispatcher; this module is one that does."""

import asyncio

import pytest

from pipelines.jobs.actors import keep_up
from pipelines.jobs.catalogue import Catalogue

NOTHING = Catalogue({}, {})
_lives: "asyncio.Queue[BaseException | None]" = asyncio.Queue()
_ended = [RuntimeError("wrong"), None]


async def run(_config, _catalogue) -> None:
    """Fails in its first life, ends in its second, and goes on in its third."""
    _lives.put_nowait(None)
    if _ended:
        if error := _ended.pop(0):
            raise error
        return
    await asyncio.Event().wait()


def test_what_fails_or_ends_beside_the_dispatcher_begins_anew():
    async def body() -> None:
        keeping = asyncio.create_task(keep_up(__name__, None, NOTHING, again_s=0.0))
        async with asyncio.timeout(10):
            for _ in range(3):
                await _lives.get()
        assert not keeping.done()
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

    asyncio.run(body())
