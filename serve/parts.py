"""Parts of the server that are asked over Ray: one that doesn't answer soon counts as away."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
ASK_S = 2.0


class PartAwayError(Exception):
    """A part of the server isn't there to be asked."""


async def answered(asked: Awaitable[T]) -> T:
    """What a part answers. Raises PartAwayError where it doesn't in 2 s."""
    try:
        return await asyncio.wait_for(asked, ASK_S)
    except TimeoutError as error:
        raise PartAwayError from error
