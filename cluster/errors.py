"""What goes wrong below the jobs: places, processes, storage, stores.

ClusterError
├── ChildError              the media child
│   ├── ChildCrashedError   it died by itself: the work is retried in a fresh one
│   ├── ChildKilledError    we ended it: cancelled, fenced off, paused
│   ├── ChildLimitError     it ran past its time or memory
│   └── ChildFailedError    the media function raised: carries its code
├── StorageError            a path is outside the roots, missing, in the way, or the disk is full
├── StartupError            something of ours can't start; the message says what to do
└── RayLostError            the Ray that this process belongs to is gone, and this process has to go, too
"""

import signal
from typing import Any

_FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
)


class ClusterError(Exception):
    """Base of this layer's errors."""


class ChildError(ClusterError):
    """Base of what happens to a call into the media child."""


class ChildCrashedError(ChildError):
    """The child died (signal, out of memory, exit), by ``signal_number`` if by one; a fresh one may succeed."""

    def __init__(self, message: str, signal_number: int | None = None) -> None:
        super().__init__(message, signal_number)
        self.message = message
        self.signal_number = signal_number

    def __str__(self) -> str:
        return self.message

    @property
    def by_fault(self) -> bool:
        """Whether its own code was at fault: nobody else sends these signals, and want of memory doesn't either."""
        return self.signal_number in _FAULTS


class ChildKilledError(ChildError):
    """The child was ended on purpose while it worked."""


class ChildLimitError(ChildError):
    """The child was ended because it ran past its wall-clock limit."""


class ChildFailedError(ChildError):
    """The media function raised; ``code`` and ``fields`` are those of its error."""

    def __init__(self, code: str, message: str, fields: dict[str, Any]) -> None:
        super().__init__(code, message, fields)
        self.code = code
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        return self.message


class StorageError(ClusterError):
    """A source or a target can't be used; ``code`` is stable and reaches the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class StartupError(ClusterError):
    """Something of ours can't start; the message says what to do."""


class RayLostError(ClusterError):
    """The Ray that this process belongs to is gone: it can ask it for nothing more, nor join another."""
