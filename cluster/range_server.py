"""What a child reads of an object is brought when it asks for it: the host's side of ``pipelines.media.ranges``."""

import contextlib
import socket
import struct
import threading

from cluster.errors import StorageError
from cluster.fetched import BLOCK_BYTES, FetchedObject
from cluster.objects import PART_BYTES

_RANGE = struct.Struct(">QQ")
_FAILED = (0, 0)


class RangeServer:
    """Answers a child's wishes, on a thread of its own, until it is closed; then it closes ``fetched`` too.

    ``number`` is the descriptor of the child's end. A wish is where a part begins and ends, and so is the answer: what
    is there now. Whoever goes on where the last part ended is given more than was asked for, more each time.
    """

    def __init__(self, fetched: FetchedObject) -> None:
        self._fetched = fetched
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._failure: StorageError | None = None
        threading.Thread(target=self._serve, name="range-server", daemon=True).start()

    @property
    def number(self) -> int:
        return self._theirs.fileno()

    @property
    def failure(self) -> StorageError | None:
        """Why a part couldn't be brought: what the child made of the rest isn't worth anything."""
        return self._failure

    def close(self) -> None:
        """Doesn't wait for a part that is on its way, and has no further ones fetched."""
        self._fetched.stop()
        with contextlib.suppress(OSError):  # its thread ended first
            self._ours.shutdown(socket.SHUT_RDWR)
        self._theirs.close()

    def _serve(self) -> None:
        ahead, end = 0, 0
        try:
            while len(wish := self._ours.recv(_RANGE.size + 1)) == _RANGE.size:
                begin, wanted = _RANGE.unpack(wish)
                ahead = min(max(BLOCK_BYTES, 2 * ahead), PART_BYTES) if begin == end else 0
                try:
                    answer = self._fetched.bring(begin, wanted + ahead)
                except StorageError as error:
                    self._failure, answer = error, _FAILED
                end = answer[1]
                self._ours.send(_RANGE.pack(*answer))
        except OSError:  # the child is gone, or this is closed
            pass
        finally:
            self._fetched.close()
            self._ours.close()
