"""The identity of actors; and what goes on beside the dispatcher, which this module does, too."""

import asyncio

import pytest

from cluster.settings import Settings
from pipelines.jobs.actors import identity_of, keep_up
from pipelines.jobs.catalogue import Catalogue
from pipelines.jobs.orders import WorkerConfig

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


def identity(
    version: str = "1", jobs: str = "redis://:a@jobs", cache: str = "redis://cache", **settings: object
) -> str:
    return identity_of(WorkerConfig(Settings(home="/home", **settings), jobs, cache), version)


@pytest.mark.parametrize(
    "other",
    [
        {"version": "2"},
        {"jobs": "redis://:b@jobs"},
        {"cache": "redis://elsewhere"},
        {"max_attempts": 5},
        {"roots": ("/films",)},
        {"scrape_token": "b" * 16},
    ],
)
def test_whatever_actors_are_started_with_makes_their_identity(other):
    usual = {"scrape_token": "a" * 16}
    assert identity(**usual) == identity(**usual)
    assert identity(**usual | other) != identity(**usual)


def test_an_identity_shows_no_secret():
    assert "geheim" not in identity(jobs="redis://:geheim@jobs")
