"""What libav says while it works: evidence of damage that its decoders conceal without an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import av.logging

ERROR, WARNING, INFO = av.logging.ERROR, av.logging.WARNING, av.logging.INFO


class Message(NamedTuple):
    """``level`` falls as it gets worse; ``name`` is the codec's or the container's."""

    level: int
    name: str
    text: str


@contextmanager
def captured_messages(level: int = INFO) -> Iterator[list[Message]]:
    """Yield a list that fills with what libav says, on any of its threads. For one work of the process at a time.

    Drain decoders within: a decoder that is freed waits for its threads, and those wait to tell.
    """
    before, skipped = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(level)
    av.logging.set_skip_repeated(False)  # the same fault may come again in the next frame
    try:
        with av.logging.Capture(local=False) as messages:
            yield cast("list[Message]", messages)  # plain tuples of the same three
    finally:
        av.logging.set_skip_repeated(skipped)
        av.logging.set_level(before)
