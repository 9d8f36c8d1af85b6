"""Follow jobs to their end. Ctrl-C ends the watching, not the jobs."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from serve.cli.display import Display
from serve.cli.render import Screen
from serve.cli.session import Place

if TYPE_CHECKING:
    from serve.client import AsyncClient, JobView

_AT_ONCE = 8  # event streams of one command; the rest wait their turn, as their jobs do
_INTERRUPTED = 130


def watch(place: Place, jobs: Sequence["JobView"], display: Display) -> list["JobView"]:
    """The jobs when they are finished, in the order given."""
    from serve.client import AsyncClient  # slow to import

    with place.client() as known:
        url = known.url

    async def follow_all() -> list["JobView"]:
        gate = asyncio.Semaphore(_AT_ONCE)
        async with AsyncClient(url, place.home.token()) as client:
            return await asyncio.gather(*(_follow(client, job, display, gate) for job in jobs))

    try:
        with display:
            return asyncio.run(follow_all())
    except KeyboardInterrupt:
        _say_how_to_go_on([job.id for job in jobs])
        raise typer.Exit(_INTERRUPTED) from None


async def _follow(client: "AsyncClient", job: "JobView", display: Display, gate: asyncio.Semaphore) -> "JobView":
    async with gate:
        async for event in client.events(job.id):
            display.show(job, event)
        finished = await client.get(job.id)
        display.end(finished)
        return finished


def _say_how_to_go_on(ids: Sequence[str]) -> None:
    screen = Screen(stderr=True)
    which = ids[0] if len(ids) == 1 else "ID"
    screen.say("\nStopped watching; the work goes on.")
    screen.say(f"  watch it again: mediaray jobs watch {which}")
    screen.say(f"  cancel it:      mediaray jobs cancel {which}")
    if len(ids) > 1:
        screen.say("  the ids:        mediaray jobs list")
