"""That pictures which are worked on at once in a process hold no more memory together than there is for them."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from pydantic import BaseModel

from pipelines.media.errors import LimitError
from pipelines.media.images.info import ImageInfo

# Of a pixel, with what is in the way to an array of 8 bits: copies, alpha, inks or deep levels on the way to sRGB.
_DECODED_BYTES, _JPEG_BYTES = 24, 12
_COEFFICIENTS_BYTES = 6  # of a pixel of a progressive JPEG, which is held as such until its last scan
_JPEG_PIXELS = 4_000_000  # decoded at least, of a JPEG that has them, to be made four times smaller


class _Gate:
    """What is held in this process. Who waits is let in in turn: what is large isn't passed by for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._held_bytes = 0

    @contextmanager
    def holding(self, size_bytes: int, most_bytes: int) -> Iterator[None]:
        """Wait until at most ``most_bytes`` are held with these, or none but these."""
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            self._changed.wait_for(
                lambda: self._waiting[0] is turn and self._held_bytes + size_bytes <= max(most_bytes, size_bytes)
            )
            self._waiting.popleft()
            self._held_bytes += size_bytes
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held_bytes -= size_bytes
                self._changed.notify_all()


_GATE = _Gate()


class Room(BaseModel, frozen=True, extra="forbid"):
    """Memory for pictures. What needs more than all of it is worked on alone; where ``alone`` is False it's refused."""

    size_bytes: int
    alone: bool = True

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """A place for one picture: called with the bytes that it needs, once, it waits until they are free.

        They are held until the place is left.

        Raises:
            LimitError: they aren't to be had here; its field ``needed_bytes`` tells how many they are.
        """
        with ExitStack() as held:

            def take(needed_bytes: int) -> None:
                if needed_bytes > self.size_bytes and not self.alone:
                    raise LimitError(
                        f"It takes {needed_bytes >> 20} MiB of memory; {self.size_bytes >> 20} are there at once.",
                        needed_bytes=needed_bytes,
                    )
                held.enter_context(_GATE.holding(needed_bytes, self.size_bytes))

            yield take


ROOM = Room(size_bytes=1 << 30)


def decoded_bytes(info: ImageInfo, made: int) -> int:
    """What decoding an image holds at most, to make ``made`` pixels of it: a JPEG is decoded at a part of its size."""
    pixels = info.width * info.height
    if info.format != "jpeg" or info.colour == "cmyk":
        return _DECODED_BYTES * pixels
    decoded = min(pixels, 4 * made + _JPEG_PIXELS)
    return _JPEG_BYTES * decoded + (_COEFFICIENTS_BYTES * pixels if info.progressive else 0)
