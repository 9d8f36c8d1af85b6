"""Have libav tell what it else keeps to itself, where nothing else tells it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av

_lock = threading.Lock()  # the levels of libav's log are those of the process


@contextmanager
def talkative() -> Iterator[None]:
    """For a moment, and to whoever captures it in this thread."""
    with _lock:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.VERBOSE)  # else lines are dropped before they are captured
        av.logging.set_libav_level(av.logging.VERBOSE)
        try:
            yield
        finally:
            av.logging.set_libav_level(av.logging.INFO)  # what it is when the process starts
            av.logging.set_level(level)
