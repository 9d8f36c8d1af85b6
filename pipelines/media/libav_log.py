"""What libav says while it works: evidence of damage that its decoders conceal without an error, and what it dumps."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import av.logging

ERROR, WARNING, INFO = av.logging.ERROR, av.logging.WARNING, av.logging.INFO

_lock = threading.Lock()  # the levels of libav's log are those of the process


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


@contextmanager
def talkative() -> Iterator[None]:
    """Let libav say for a moment what else it keeps to itself, to whoever captures it in this thread."""
    with _lock:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.VERBOSE)  # else lines are dropped before they are captured
        av.logging.set_libav_level(av.logging.VERBOSE)
        try:
            yield
        finally:
            av.logging.set_libav_level(av.logging.INFO)  # what it is when the process starts
            av.logging.set_level(level)
