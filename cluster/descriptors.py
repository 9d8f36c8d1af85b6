"""Open sources on their way to a child."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceDescriptor:
    """An open source; ``name`` is for messages only.

    With a ``feed``, a socket, its bytes are there only once the child has asked for them (see ``cluster.feed``).
    """

    number: int
    name: str
    feed: int | None = None
